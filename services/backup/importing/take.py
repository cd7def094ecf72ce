"""Takes in a repository that plain borg made, or looks again at one that is read only; nothing of it is changed.

All that is found is recorded in one transaction with the job's end: an import that is refused or killed leaves nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import ValidationError
from sqlalchemy import select, update

from services.backup.importing.rows import take_in, told_of
from services.backup.node.pools import pools_of
from services.backup.node.views import through_view
from services.backup.plan import load_repository
from services.backup.ports import RepositoryPlace
from shared.db.stores.secrets import import_key, import_passphrase, repository_key, repository_passphrase
from shared.db.tables.base import db_now
from shared.db.tables.job import Job
from shared.db.tables.server import Server
from shared.db.tables.storage import Repository
from shared.domain.ids import new_id
from shared.domain.importing import KEYFILES, READ_ONLY, ImportAsked
from shared.domain.job import JobState
from shared.domain.messages import importing as say
from shared.domain.messages.files import REPOSITORY_FORGOTTEN
from shared.domain.messages.jobs import JOB_PARAMS_INVALID
from shared.errors import AppError, Permanent
from shared.events.repository import RepositoryImported
from shared.runtime.crashpoint import crashpoint

if TYPE_CHECKING:
    import uuid

    from services.backup.node.imports import Imports
    from services.backup.node.views import View
    from services.backup.ports import Storage
    from shared.borg.importing import FoundRepository
    from shared.db.unit_of_work import UnitOfWork
    from shared.events.repository import RepositoryImport
    from shared.runtime.context import Context

_LEASE = "repository:import"
_LEASE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What is to be taken in; `asked` of a new one, else one that is known is looked at again."""

    place: RepositoryPlace
    asked: ImportAsked | None
    known: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found, and as of which transaction; the size in bytes."""

    found: FoundRepository
    borg_id: str
    transaction: int | None
    size: int


async def import_repository(event: RepositoryImport, ctx: Context, *, storage: Storage, imports: Imports) -> None:
    """Claim the job, read the repository through a view, record it; a second delivery finds no claim."""
    if event.job_id is None:
        raise Permanent(say.JOB_MISSING())
    job = await ctx.claim(event.job_id)
    if job is None:
        return

    plan = await ctx.run(lambda tx: load_import(tx, job))
    if plan is None:
        await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED, result={"managed": True}))
        return
    ctx.progress("looking")
    place = replace(plan.place, path=await imports.look(plan.place))
    plan = replace(plan, place=place)
    # Of two imports of one path the second one waits, and finds it known.
    await ctx.hold(f"import:{hashlib.sha256(place.path.encode()).hexdigest()[:40]}", place.label, on_beat=_nothing)
    look = await _looked(plan, ctx, storage, imports)
    crashpoint("after_import_before_commit")
    await ctx.run(lambda tx: record_import(tx, ctx, plan, look))


async def load_import(tx: UnitOfWork, job: Job) -> ImportPlan | None:
    """Read what is asked for; None where the repository is ours by now: then proofs look at it, and not this."""
    if job.repository_id is not None:
        repository = await tx.session.get(Repository, job.repository_id)
        if repository is None:
            raise Permanent(REPOSITORY_FORGOTTEN())
        place = replace(await load_repository(tx, repository.id), to_server=False)
        return ImportPlan(place, None) if repository.read_only else None
    try:
        asked = ImportAsked.model_validate(job.params)
    except ValidationError as error:
        raise Permanent(JOB_PARAMS_INVALID(wrong=error.errors()[0]["msg"])) from error
    server, pools = await tx.session.get(Server, asked.server_id), await pools_of(tx.session, asked.pool_id)
    if server is None or not pools:
        raise Permanent(say.IMPORT_ORPHANED())
    place = RepositoryPlace(
        id=job.id, server_id=server.id, path=asked.path, encryption="", label=f"{server.name}/{asked.name}",
        passphrase=await tx.secrets.find(import_passphrase(job.id)) or "",
        key=await tx.secrets.find(import_key(job.id)) or "",
        to_server=False, pool=pools[0], imported=True, read_only=True,
    )  # fmt: skip
    return ImportPlan(place, asked)


async def _looked(plan: ImportPlan, ctx: Context, storage: Storage, imports: Imports) -> Look:
    place = plan.place
    borg_id = await storage.borg_id_of(place) or ""
    if plan.asked is not None:
        await ctx.run(lambda tx: _refuse_known(tx, plan, borg_id))
    transaction = await storage.last_transaction(place)
    ctx.progress("making the view")

    async def read(view: View) -> FoundRepository:
        ctx.progress("reading archive")
        return await imports.found(view.place, view.grant)

    try:
        found = await through_view(ctx, storage, place, read)
    except Permanent as error:
        raise _told(error, place, borg_id) from error
    if found.upgrade:
        raise Permanent(say.UPGRADE_NEEDED(path=place.path))
    if plan.asked is not None and not found.hidden and not plan.asked.unencrypted:
        raise Permanent(say.REPOSITORY_UNENCRYPTED(path=place.path))
    return Look(found, borg_id, transaction, await imports.size(place))


def _told(error: Permanent, place: RepositoryPlace, borg_id: str) -> Permanent:
    """Return what an error of borg's means to who imports: he chose path, passphrase and key."""
    wrong_key = say.KEYFILE_WRONG(path=place.path, id=borg_id)
    said = {
        "passphrase_wrong": say.PASSPHRASE_WRONG(path=place.path),
        "key_missing": say.KEY_NEEDED(path=place.path),
        "key_invalid": wrong_key if place.key else say.KEY_NEEDED(path=place.path),
    }.get(error.code)
    return Permanent(said) if said is not None else error


async def _refuse_known(tx: UnitOfWork, plan: ImportPlan, borg_id: str) -> None:
    """Raise where the repository is on record, by its id or its place, or its name is taken."""
    asked, place = plan.asked, plan.place
    query = select(Server.name, Repository.name).join(Server, Server.id == Repository.server_id)
    known = (await tx.session.execute(query.where((Repository.borg_id == borg_id) | (Repository.path == place.path))
                                      .limit(1))).first()  # fmt: skip
    if known is not None:
        raise Permanent(say.REPOSITORY_KNOWN(repository=f"{known[0]}/{known[1]}"))
    if asked is None:
        return
    taken = query.where(Repository.server_id == asked.server_id, Repository.name == asked.name)
    if (row := (await tx.session.execute(taken)).first()) is not None:
        raise Permanent(say.REPOSITORY_KNOWN_NAME(server=row[0], name=row[1]))


async def record_import(tx: UnitOfWork, ctx: Context, plan: ImportPlan, look: Look) -> None:
    """Keep the repository, what opens it and its archives, and end the job: all of it or nothing."""
    await ctx.fence(tx)
    if plan.asked is None:
        repository = await tx.session.get(Repository, plan.place.id, with_for_update=True)
        if repository is None or not repository.read_only:
            await ctx.finish(tx, JobState.SUCCEEDED, result={"managed": True})
            return
    else:
        # Of two imports of copies of one repository, at once, the second one waits here for the first one's commit.
        await tx.leases.acquire(_LEASE, ctx.lease, _LEASE_SECONDS)
        await _refuse_known(tx, plan, look.borg_id)
        repository = await _made(tx, ctx, plan, plan.asked, look)
    repository.looked_transaction, repository.deduplicated_size = look.transaction, look.size
    taken = await take_in(tx, repository, look.found)
    warnings = list(told_of(look.found, taken.added))
    result = {"repository_id": str(repository.id), "archives": taken.archives, "added": taken.added, "gone": taken.gone}
    if not await ctx.finish(tx, JobState.WARNING if warnings else JobState.SUCCEEDED, warnings=warnings, result=result):
        return
    await tx.leases.release(_LEASE, ctx.lease)
    if ctx.job is not None:
        tx.emit(
            RepositoryImported(
                job_id=ctx.job.id, correlation_id=ctx.correlation_id, repository_id=repository.id,
                archives=taken.archives, added=taken.added, gone=taken.gone,
            )
        )  # fmt: skip


async def _made(tx: UnitOfWork, ctx: Context, plan: ImportPlan, asked: ImportAsked, look: Look) -> Repository:
    place, encryption = plan.place, look.found.encryption
    repository = Repository(
        id=new_id(), name=asked.name, server_id=asked.server_id, pool_id=asked.pool_id, path=place.path,
        encryption=encryption, borg_id=look.borg_id, mode=READ_ONLY, imported_at=db_now(),
    )  # fmt: skip
    tx.session.add(repository)
    await tx.session.flush()
    await tx.secrets.put(repository_passphrase(repository.id), place.passphrase)
    if encryption in KEYFILES:
        await tx.secrets.put(repository_key(repository.id), place.key)
    if ctx.job is not None:
        await _forget_secrets(tx, ctx.job.id)
        await tx.session.execute(update(Job).where(Job.id == ctx.job.id).values(repository_id=repository.id))
    return repository


async def forget_import(tx: UnitOfWork, job: Job, _error: AppError) -> None:
    """Forget what was to open a repository that could not be imported: whoever tries again gives it again."""
    await _forget_secrets(tx, job.id)


async def _forget_secrets(tx: UnitOfWork, job_id: uuid.UUID) -> None:
    for name in (import_passphrase(job_id), import_key(job_id)):
        await tx.secrets.delete(name)


def _nothing(_epoch: int) -> None:
    """Renew nothing outside: what reads has a lease of its own."""
