"""Takes over a repository that was imported: from then on it is written to, and guarded as any of ours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.backup.importing.rows import take_in
from services.backup.inventory.proof import remember_inventory
from services.backup.inventory.reconcile import list_repository, record_inventory
from services.backup.plan import load_repository
from shared.db.stores.requests import request_maintenance
from shared.db.tables.base import db_now
from shared.db.tables.storage import Repository
from shared.domain.importing import KEYFILES, MANAGED
from shared.domain.job import JobState, JobType
from shared.domain.messages import importing as say
from shared.domain.messages.files import REPOSITORY_FORGOTTEN
from shared.domain.names import check_pool_path
from shared.domain.scheduled import asked_for
from shared.domain.verification import CheckOptions
from shared.errors import Permanent
from shared.events.repository import RepositoryManaged

if TYPE_CHECKING:
    from services.backup.inventory.reconcile import Inventory
    from services.backup.node.imports import Imports
    from services.backup.ports import RepositoryPlace, Storage
    from shared.borg.importing import FoundRepository
    from shared.borg.node import Grant
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.message import Said
    from shared.events.repository import RepositoryManage
    from shared.runtime.context import Context


@dataclass(frozen=True, slots=True)
class ManagePlan:
    """The repository that becomes ours."""

    repository: RepositoryPlace


@dataclass(frozen=True, slots=True)
class TakenOver:
    """What it held when it became ours."""

    found: FoundRepository
    inventory: Inventory
    size: int


async def place_to_manage(tx: UnitOfWork, job: Job) -> RepositoryPlace | None:
    """Return where it lies; None where it is ours already, Permanent where it cannot be."""
    repository = await tx.session.get(Repository, job.repository_id)
    if repository is None:
        raise Permanent(REPOSITORY_FORGOTTEN())
    if not repository.read_only:
        return None
    place = await load_repository(tx, repository.id)
    if (said := why_not(repository.encryption, place.path, place.label)) is not None:
        raise Permanent(said)
    # Nobody else may reach it meanwhile, and that borg knows it by another place is what is expected here.
    return replace(place, to_server=False, read_only=False, relocated=True)


def why_not(encryption: str, path: str, label: str) -> Said | None:
    """Say why a repository cannot be taken over as it is; None where it can."""
    if encryption in KEYFILES:
        return say.MANAGE_KEYFILE(repository=label)
    try:
        check_pool_path(path)
    except ValueError:
        return say.MANAGE_PATH(path=path)
    return None


async def load_manage(_tx: UnitOfWork, _job: Job, place: RepositoryPlace) -> ManagePlan:
    """Return what is to be taken over."""
    return ManagePlan(place)


async def run_manage(plan: ManagePlan, grant: Grant, ctx: Context, storage: Storage, *, imports: Imports) -> TakenOver:
    """Remove what the dead left, list, and keep a copy of the manifest; the proof around it keeps the key."""
    place = plan.repository
    ctx.progress("looking")
    for holder in await imports.ready(place):
        ctx.log("warning", "kernel", f"the lock of {holder} was removed: nothing works on the repository")
    # Its owner may have deleted until now: nothing on record is missing, whatever is listed is what is there.
    inventory, _ = await list_repository(ctx, place, grant, storage, {})
    ctx.progress("reading archive")
    found = await imports.found(place, grant)
    if found.upgrade:
        raise Permanent(say.UPGRADE_NEEDED(path=place.path))
    await remember_inventory(ctx, storage, place, inventory)
    return TakenOver(found, inventory, await imports.size(place))


async def record_manage(tx: UnitOfWork, ctx: Context, plan: ManagePlan, taken: TakenOver) -> None:
    """Keep that it is ours, with all its archives, end the job, and ask for a check."""
    repository = await tx.session.get_one(Repository, plan.repository.id, with_for_update=True)
    done = await take_in(tx, repository, taken.found)
    asked = asked_for(ctx.job.params) if ctx.job is not None else {}
    if not await ctx.finish(tx, JobState.SUCCEEDED, result={"archives": done.archives, "added": done.added}):
        return
    repository.mode, repository.managed_at = MANAGED, db_now()  # pyright: ignore[reportAttributeAccessIssue] - a SQL expression is assignable
    repository.managed_by = str(asked.get("by", ""))[:63]
    repository.managed_reason = str(asked.get("reason", ""))
    repository.deduplicated_size = taken.size
    repository.version += 1
    await tx.session.flush()
    await record_inventory(tx, repository.id, taken.inventory)
    await request_maintenance(tx, JobType.REPOSITORY_CHECK, repository.id, **CheckOptions().model_dump(mode="json"))
    if ctx.job is not None:
        tx.emit(
            RepositoryManaged(
                job_id=ctx.job.id, correlation_id=ctx.correlation_id, repository_id=repository.id,
                archives=done.archives,
            )
        )  # fmt: skip


async def refuse_from_outside(_event: RepositoryManage, _ctx: Context) -> None:
    """Refuse what was published: who takes a repository over proves who he is, and that is recorded."""
    raise Permanent(say.MANAGE_BY_PERSON())
