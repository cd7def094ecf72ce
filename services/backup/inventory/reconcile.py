"""The repository's own list against the recorded one: what is missing without our doing, and what nobody made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import or_, select, update

from services.backup.inventory.forgery import forgeries
from services.backup.inventory.past import record_deletions
from shared.borg.journal import Entry
from shared.db.clock import read_now
from shared.db.tables.base import db_now
from shared.db.tables.storage import Archive, Repository, is_held
from shared.domain.messages import borg_causes as causes
from shared.domain.messages import frozen as say
from shared.domain.messages import stored
from shared.errors import Conflict, Incident, Permanent
from shared.events.repository import RepositoryFrozen

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Mapping, Sequence

    from services.backup.ports import RepositoryPlace, Storage
    from shared.borg.node import Grant
    from shared.borg.output import Listed
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.message import Said
    from shared.runtime.context import Context

ARCHIVES_MISSING = "archives_missing"
HOSTILE = "hostile_client"
FORGED = causes.FORGED.code
RECOVERY = "recovery"
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Inventory:
    """When a repository was seen to hold every archive on record, and its highest segment just before."""

    at: datetime
    segment: int | None
    ids: frozenset[str] = frozenset()
    """What it lists, while that is at hand: borg ids."""
    checkpoints: tuple[Listed, ...] = ()
    """What interrupted runs left behind, while that is at hand."""


@dataclass(frozen=True, slots=True)
class MissingArchives:
    """Recorded archives that a repository lists no longer."""

    ids: tuple[str, ...]
    said: Said

    @property
    def reason(self) -> str:
        """What is missing, as a sentence."""
        return self.said.text


async def recorded_archives(tx: UnitOfWork, repository_id: uuid.UUID) -> dict[str, str]:
    """Return what a repository must hold now: borg id -> name. Ask only while its lease is held."""
    query = select(Archive.borg_id, Archive.name).where(
        Archive.repository_id == repository_id, Archive.missing.is_(False), Archive.deleting.is_(False)
    )
    return {borg_id: name for borg_id, name in await tx.session.execute(query) if borg_id}


async def intend(
    tx: UnitOfWork, ctx: Context, repository_id: uuid.UUID, ids: Collection[uuid.UUID]
) -> frozenset[uuid.UUID]:
    """Note what is about to be deleted, before it is, and return it: what a person has held since is left out.

    Whoever looks after a crash must not take it for a loss. What follows may compact, and then the repository cannot be
    taken back to where it was seen whole before. Conflict where it was frozen, or found damaged, since the job began.
    """
    repository = await _sound(tx, ctx, repository_id)
    rows = await tx.session.scalars(select(Archive).where(Archive.id.in_(ids)).with_for_update())
    now = await read_now(tx.session)
    going = [row for row in rows if not is_held(row, now)]
    for row in going:
        row.deleting = True
    repository.verified_complete_at = repository.verified_complete_segment = None
    return frozenset(row.id for row in going)


async def _sound(tx: UnitOfWork, ctx: Context, repository_id: uuid.UUID) -> Repository:
    """Return a repository's row, locked; Conflict if nothing may be deleted or compacted there any more.

    A verification reads beside us, without the lease: what it finds must end what is under way, and not the next job.
    """
    await ctx.fence(tx)
    repository = await tx.session.get_one(Repository, repository_id, with_for_update=True)
    refuse_unsound(repository)
    return repository


async def last_inventory(tx: UnitOfWork, repository_id: uuid.UUID) -> Inventory | None:
    """Return when a repository was last seen to hold every archive on record."""
    repository = await tx.session.get_one(Repository, repository_id)
    return (
        Inventory(repository.verified_complete_at, repository.verified_complete_segment)
        if repository.verified_complete_at
        else None
    )


def missing_ids(recorded: Collection[str], listed: Sequence[Listed]) -> frozenset[str]:
    """Return the ids of recorded archives that are not listed; an empty list means that all of them are missing."""
    return frozenset(recorded) - {archive.borg_id for archive in listed}


def unknown(recorded: Collection[str], listed: Sequence[Listed]) -> list[Listed]:
    """Return what is listed and was made by no run of ours."""
    return [archive for archive in listed if archive.borg_id not in recorded]


def missing_archives(gone: Mapping[str, str], inventory: Inventory | None) -> MissingArchives:
    """Say what is missing (borg id -> name), and to which transaction the repository can be taken back.

    Not the last transaction of borg's append-only log: our own compactions stand in no log, and what they wrote has
    higher numbers than that. Taken back to it, the repository would lose what was compacted.
    """
    names = sorted(gone.values())
    more = max(0, len(names) - _NAMED) or None
    at, segment = None, None
    if inventory is not None and inventory.segment is not None:
        at, segment = inventory.at, inventory.segment
    said = say.ARCHIVES_MISSING(count=len(names), names=names[:_NAMED], more=more, at=at, segment=segment)
    return MissingArchives(tuple(gone), said)


async def list_repository(
    ctx: Context,
    place: RepositoryPlace,
    grant: Grant,
    storage: Storage,
    recorded: Mapping[str, str],
    *,
    own: Collection[str] = (),
) -> tuple[Inventory, list[Listed]]:
    """List a repository, and freeze it and raise where its manifest lies; nothing is done that believes it.

    The segment is read first, so that what is written meanwhile counts as later. `own`: archives that this run just
    made; that their data is not there is for the truth gate to say.
    """
    at, segment = datetime.now(UTC), await storage.segment(place)
    listing = await storage.listing(place, grant, recorded)
    there = [archive for archive in listing.archives if archive.there]
    if found := forgeries(listing, recorded, own):
        gone = missing_ids(recorded, there) if listing.readable else ()
        raise await refuse_forged(ctx, place, found, {borg_id: recorded[borg_id] for borg_id in gone})
    await record_deletions(ctx, storage, place, frozenset(archive.borg_id for archive in there))
    listed = [archive for archive in there if not archive.is_checkpoint]
    checkpoints = tuple(archive for archive in there if archive.is_checkpoint)
    return Inventory(at, segment, frozenset(archive.borg_id for archive in listed), checkpoints), listed


async def delete_meant(ctx: Context, place: RepositoryPlace, grant: Grant, storage: Storage, archive: Listed) -> None:
    """Delete an archive; freeze the repository where its name leads to another one by now.

    Conflict where it was frozen, or found damaged, meanwhile: a prune may be at it for hours. The node notes it before,
    so that it is known as ours even if the database is restored to a time before it.
    """
    await ctx.run(lambda tx: _sound(tx, ctx, place.id))
    await storage.remember(place, Entry(deleting={archive.borg_id: archive.name}))
    try:
        await storage.delete(place, grant, archive.name, archive.borg_id)
    except Permanent as error:
        if error.code != FORGED:
            raise
        raise await refuse_forged(ctx, place, [error.said]) from error


async def compact_sound(ctx: Context, place: RepositoryPlace, grant: Grant, storage: Storage) -> None:
    """Free what deleted archives held; Conflict where the repository was frozen, or found damaged, meanwhile.

    What an attacker deleted or replaced is brought back from segments that a compaction takes away.
    """
    await ctx.run(lambda tx: intend(tx, ctx, place.id, ()))
    await storage.compact(place, grant)


async def refuse_forged(
    ctx: Context, place: RepositoryPlace, found: Sequence[Said], gone: Mapping[str, str] | None = None
) -> Permanent:
    """Freeze a repository whose manifest lies, and return the error that ends the job; `gone`: what it lacks."""

    async def note(tx: UnitOfWork) -> None:
        await freeze(tx, ctx, place.id, missing_archives(gone or {}, await last_inventory(tx, place.id)))

    if gone:
        await ctx.run(note)
    return await refuse_lie(ctx, place, say.FORGED_LIST(repository=place.label, lies=say.all_of(found)))


async def refuse_lie(ctx: Context, place: RepositoryPlace, said: Said) -> Permanent:
    """Freeze a repository for what no honest client says, and return the error that ends the job.

    What was found in the run of a server for the first time is laid at its door; what lies there since is not.
    """
    job = ctx.job

    async def note(tx: UnitOfWork) -> str:
        repository = await tx.session.get_one(Repository, place.id)
        known = any(one["reason"] == said.text for one in repository.frozen_for)
        code = HOSTILE if place.to_server and not known else FORGED
        if job is not None and not known:
            # Not fenced by the lease: whoever learns of an attack keeps it, and twice is no harm.
            await quarantine(tx, job, place.id, said, code=code, curable=True)
        return code

    code = await ctx.run(note)
    ctx.warn(code, said)
    return Incident(say.HOSTILE_CLIENT(reason=said) if code == HOSTILE else said)


def is_sound(repository: Repository) -> bool:
    """Tell whether anything may be deleted or compacted here."""
    return not (repository.frozen_reason or repository.segments_damage or repository.archives_damage)


def refuse_unsound(repository: Repository) -> None:
    """Raise if nothing may be deleted or compacted here: it is frozen, or damaged."""
    if repository.frozen_reason:
        message = f"the repository is frozen: {repository.frozen_reason}"
        remedy = (
            "find out who did it; GET /api/repositories/{id}/recover says what can be brought back, POST does it; "
            "or POST /api/repositories/{id}/unfreeze: both are recorded"
        )
        raise Conflict(message, code="repository_frozen", remedy=remedy)
    if damage := repository.segments_damage or repository.archives_damage:
        message = f"the repository is damaged: {damage}"
        remedy = "repair it by hand, see docs/operations/verification.md; a check that finds it sound lets it go"
        raise Conflict(message, code="repository_damaged", remedy=remedy)


async def record_inventory(tx: UnitOfWork, repository_id: uuid.UUID, inventory: Inventory) -> None:
    """Keep that a repository was seen whole; what is there again, or still, is guarded again.

    While it is frozen the way back stays where it was: since then somebody has deleted.
    """
    repository = await tx.session.get_one(Repository, repository_id, with_for_update=True)
    _let_go_recovered(repository)
    if not repository.frozen_reason:
        repository.verified_complete_at, repository.verified_complete_segment = inventory.at, inventory.segment
    await record_present(tx, repository_id, inventory)


def _let_go_recovered(repository: Repository) -> None:
    """Take away that the database was recovered: it was compared now. Every other cause stays."""
    over = {one["reason"] for one in repository.frozen_for if one["code"] == say.DATABASE_RECOVERED.code}
    if not over:
        return
    repository.frozen_for = [one for one in repository.frozen_for if one["reason"] not in over]
    left = [reason for reason in repository.frozen_reason.split("; then ") if reason not in over]
    repository.frozen_reason = "; then ".join(left)
    if not left:
        repository.frozen_at = None


async def record_present(tx: UnitOfWork, repository_id: uuid.UUID, inventory: Inventory) -> None:
    """Guard again what is there again, or still."""
    doubtful = or_(Archive.deleting.is_(True), Archive.missing.is_(True))
    for archive in await tx.session.scalars(select(Archive).where(Archive.repository_id == repository_id, doubtful)):
        if archive.borg_id in inventory.ids:
            archive.deleting = archive.missing = False


async def freeze(tx: UnitOfWork, ctx: Context, repository_id: uuid.UUID, found: MissingArchives) -> None:
    """Mark what is lost, and let nothing be pruned or compacted from now on."""
    ours = (Archive.repository_id == repository_id, Archive.borg_id.in_(found.ids))
    await tx.session.execute(update(Archive).where(*ours).values(missing=True))
    if ctx.job is not None:
        await quarantine(tx, ctx.job, repository_id, found.said, code=ARCHIVES_MISSING, missing=len(found.ids))


async def quarantine(
    tx: UnitOfWork,
    job: Job,
    repository_id: uuid.UUID,
    said: Said,
    *,
    code: str,
    missing: int = 0,
    curable: bool = False,
) -> None:
    """Let nothing be pruned or compacted from now on, and tell the world; a reason is noted once.

    The code says what happened: a recovery takes away those causes that it cured, and leaves the others. Of a code that
    stands for both, `curable` says that a recovery cures this one.
    """
    repository, reason = await tx.session.get_one(Repository, repository_id, with_for_update=True), said.text
    if not repository.frozen_reason:
        repository.frozen_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - a SQL expression is assignable
    cured = {"cured_by": RECOVERY} if curable else {}
    if not is_noted(repository, code, reason):
        cause = {"code": code, "reason": reason, "message": stored(said)} | cured
        repository.frozen_for = [*repository.frozen_for, cause]
        repository.frozen_reason = "; then ".join(filter(None, (repository.frozen_reason, reason)))
    tx.emit(
        RepositoryFrozen(
            job_id=job.id,
            correlation_id=job.correlation_id,
            repository_id=repository_id,
            missing=missing,
            reason=reason,
            code=code,
        )
    )


def is_noted(repository: Repository, code: str, reason: str) -> bool:
    """Tell whether a repository is frozen for this very cause; what was frozen before causes had codes has its text."""
    if repository.frozen_for:
        return any((one["code"], one["reason"]) == (code, reason) for one in repository.frozen_for)
    return reason in repository.frozen_reason.split("; then ")
