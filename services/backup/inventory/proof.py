"""Proves that the fence held: between and in sessions nobody but us wrote, and nothing that was there before went."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from services.backup.inventory.fence import HOSTILE
from services.backup.inventory.past import catch_up, remember_standing
from services.backup.inventory.reconcile import is_noted, quarantine
from services.backup.inventory.verified import DAMAGED, NODE
from services.backup.inventory.verify import queue_verify
from services.backup.node.pools import require_place
from shared.borg.exit_codes import ROLLED_BACK
from shared.borg.segments import History
from shared.db.stores.secrets import repository_key
from shared.db.tables.base import db_now
from shared.db.tables.storage import Repository
from shared.domain.messages import borg_causes as causes
from shared.domain.messages import frozen as say
from shared.domain.messages.counts import OBJECTS, number
from shared.errors import AppError, LeaseLost, Permanent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from services.backup.inventory.reconcile import Inventory
    from services.backup.ports import RepositoryPlace, Storage
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.message import Said
    from shared.runtime.context import Context

REWRITTEN = say.HISTORY_REWRITTEN.code
WRITTEN_OUTSIDE = say.WRITTEN_OUTSIDE.code
KEY_CHANGED = say.KEY_CHANGED.code
_NO_COPY = (causes.NODE_FULL.code, causes.NODE_DISK.code)
SERVER = "server"


@dataclass(slots=True)
class Manner:
    """How a kind of work is held against what the repository should be, and what was found damaged."""

    told: bool = True
    """The job says what it found."""
    examines: bool = False
    """It is to find out, or to mend: an older copy, or a damage, does not keep it from running."""
    anew: bool = False
    """It puts the repository back: what it leaves is the new starting point, wherever it ends."""
    damage: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where the last proof ended, and whose session has been open since."""

    transaction: int | None
    session: str
    known: bool = True
    """The node's journal knows of this mark, and of none that is later: the database was not restored since."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was written since a mark, and what keeps it from being read."""

    history: History
    damage: Said | None = None
    rolled_back: Said | None = None


@contextlib.asynccontextmanager
async def proven(
    ctx: Context, storage: Storage, place: RepositoryPlace, manner: Manner | None = None
) -> AsyncGenerator[None]:
    """Look at what was written since the last session, and at the end at what this one wrote.

    A session that breaks off stays open in the records: what it still commits is judged as its own by the next one.
    """
    manner = manner or Manner()
    known = await catch_up(ctx, storage, place)
    before = await ctx.run(lambda tx: _read_mark(tx, place, known=known))
    ours = SERVER if place.to_server else NODE
    opening = replace(manner, anew=False, damage=manner.damage)
    mark = _Mark(await _prove(ctx, storage, place, before, session=ours, manner=opening), ours)
    await remember_standing(ctx, storage, place)
    try:
        yield
    except AppError:
        with contextlib.suppress(AppError):  # what failed is told; that it was an attack as well, by the next session
            await _prove(ctx, storage, place, mark, session=ours, manner=opening)
        raise
    await _prove(ctx, storage, place, mark, session="", manner=manner)


@contextlib.asynccontextmanager
async def told_of_its_pool(ctx: Context, storage: Storage, place: RepositoryPlace) -> AsyncGenerator[None]:
    """Name the pool where it went, or hangs, while something worked on it: whatever failed, failed because of that.

    What a hostile server did stays the cause: it is no pool's.
    """
    try:
        yield
    except LeaseLost:
        raise
    except AppError as error:
        if error.code not in (HOSTILE, ROLLED_BACK):
            await _require_pool(ctx, storage, place, error)
        raise


async def _require_pool(ctx: Context, storage: Storage, place: RepositoryPlace, error: AppError) -> None:
    try:
        await require_place(ctx, storage, place)
    except AppError as cause:
        if cause.code != error.code:
            ctx.log("error", "kernel", f"before that: {error.message}", code=error.code)
        raise cause from error


async def remember_key(ctx: Context, storage: Storage, place: RepositoryPlace) -> None:
    """Keep the key of a repository that was just made, before its server writes to it for the first time."""
    key = await storage.key(place)
    if key:
        await ctx.run(lambda tx: tx.secrets.ensure(repository_key(place.id), lambda: key))


async def remember_inventory(
    ctx: Context, storage: Storage, place: RepositoryPlace, inventory: Inventory | None
) -> None:
    """Keep a copy of the manifest of a repository that holds every archive on record."""
    if inventory is None:
        return
    try:
        upto = await storage.keep_manifest(place)
    except AppError as error:
        if error.code not in _NO_COPY:
            raise
        ctx.warn(error.code, error.message)  # the archive is whole and is recorded; people hear what has to be done
        return
    if upto is None:
        return

    async def note(tx: UnitOfWork) -> None:
        await ctx.fence(tx)
        repository = await tx.session.get_one(Repository, place.id)
        repository.manifest_transaction = upto
        repository.manifest_kept_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - a SQL expression is assignable

    await ctx.run(note)


async def _read_mark(tx: UnitOfWork, place: RepositoryPlace, *, known: bool) -> _Mark:
    repository = await tx.session.get_one(Repository, place.id)
    return _Mark(repository.proven_transaction, repository.session, known)


async def _prove(
    ctx: Context, storage: Storage, place: RepositoryPlace, mark: _Mark, *, session: str, manner: Manner
) -> int | None:
    """Judge what was written since a mark, keep what was found, and set the starting point anew."""
    seen = await _seen(ctx, storage, place, mark, manner)
    key = await storage.key(place)
    fresh = key or ""
    recorded = await ctx.run(lambda tx: tx.secrets.find(repository_key(place.id)))
    found = [*_judged(mark, seen), *_judged_key(recorded, key)]
    for one in found if manner.told else ():
        ctx.warn(one.code, one)
    if seen.damage:
        ctx.warn(DAMAGED, seen.damage)

    async def note(tx: UnitOfWork) -> None:
        await ctx.fence(tx)
        repository = await tx.session.get_one(Repository, place.id)
        for one in found:
            if ctx.job is not None and not is_noted(repository, one.code, one.text):
                await quarantine(tx, ctx.job, place.id, one, code=one.code)
        repository.segments_damage = seen.damage.text if seen.damage else repository.segments_damage
        if any(one.code == REWRITTEN for one in found) and repository.rewritten_after is None:
            repository.rewritten_after = mark.transaction
        await _note_marks(tx, ctx, repository, mark, seen.history, session=session)
        if fresh and recorded is None:
            await tx.secrets.ensure(repository_key(place.id), lambda: fresh)

    await ctx.run(note)
    damage = [one.text for one in (seen.damage, seen.rolled_back) if one]
    manner.damage += [one for one in damage if one not in manner.damage]
    return seen.history.upto


async def _seen(ctx: Context, storage: Storage, place: RepositoryPlace, mark: _Mark, manner: Manner) -> _Seen:
    """Return what was written. Whatever keeps it from being read, the mark never falls by itself."""
    upto = await storage.last_transaction(place)
    if mark.transaction is None:
        return _Seen(History(upto))  # nothing was there before that could have been rewritten, or that we know of
    if upto is None or upto < mark.transaction:
        return await _fallen(ctx, storage, place, mark, manner, upto)
    if mark.session == NODE:
        return _Seen(History(upto))  # our own maintenance deletes and moves
    try:
        return _Seen(await storage.history(place, mark.transaction))
    except Permanent as error:
        return _Seen(History(upto), error.said)


async def _fallen(
    ctx: Context, storage: Storage, place: RepositoryPlace, mark: _Mark, manner: Manner, upto: int | None
) -> _Seen:
    """Tell why a repository ends before its mark: its disk is away, its last commit is damaged, or it is an older copy.

    Only what is to find out or to mend goes on: a borg that writes here would throw away what follows the last commit
    that it can read.
    """
    await require_place(ctx, storage, place)
    if manner.anew and upto is not None:
        return _Seen(History(upto))
    before = mark.transaction
    if upto is None:
        damage = say.SEGMENTS_GONE(before=before)
    elif await storage.has_segments(place, upto, before or 0):
        damage = say.END_UNREADABLE(upto=upto, before=before)
    else:
        damage = None
    rolled_back = None if damage else say.OLDER_COPY(upto=upto, before=before)
    if manner.examines:
        return _Seen(History(before), damage, rolled_back)
    if damage:
        await ctx.run(lambda tx: _note_damage(tx, ctx, place, damage.text))
    raise Permanent(damage or say.OLDER_COPY(upto=upto, before=before))


async def _note_damage(tx: UnitOfWork, ctx: Context, place: RepositoryPlace, damage: str) -> None:
    await ctx.fence(tx)
    (await tx.session.get_one(Repository, place.id)).segments_damage = damage


async def _note_marks(
    tx: UnitOfWork, ctx: Context, repository: Repository, mark: _Mark, history: History, *, session: str
) -> None:
    """Keep where the proof ended, where this run began, and that what a server's session added is to be verified."""
    upto = history.upto
    _note_verified(repository, mark, history)
    if mark.session == NODE and upto is not None:
        repository.compacted_segment = max(upto, repository.compacted_segment or 0)
    if ctx.job is not None and session == SERVER and repository.session_job != ctx.job.id:
        # A later attempt of the same job may find the archive that an earlier one made: the job's first session counts.
        repository.session_job, repository.session_began = ctx.job.id, -1 if upto is None else upto
    repository.proven_transaction, repository.session = upto, session
    if mark.session == SERVER and upto is not None and upto > (-1 if mark.transaction is None else mark.transaction):
        await queue_verify(tx, repository)  # whether or not the run makes an archive of it


def _judged(mark: _Mark, seen: _Seen) -> list[Said]:
    history = seen.history
    if mark.transaction is None or history.upto is None:
        return []
    found = [seen.rolled_back] if seen.rolled_back else []
    if not mark.session and history.upto > mark.transaction:
        written = say.WRITTEN_OUTSIDE if mark.known else say.WRITTEN_OR_RESTORED
        found.append(written(transaction=mark.transaction))
    if history.rewritten:
        objects = number(len(history.rewritten), OBJECTS)
        found.append(say.HISTORY_REWRITTEN(objects=objects, transaction=mark.transaction))
    return found


def _judged_key(recorded: str | None, key: str | None) -> list[Said]:
    if recorded is None or key is None or key.split() == recorded.split():
        return []
    return [say.KEY_CHANGED()]


def _note_verified(repository: Repository, mark: _Mark, history: History) -> None:
    """What was there before proofs were made counts as verified; so does what our own maintenance moved."""
    if repository.verified_segment is None and history.upto is not None:
        repository.verified_segment = -1 if mark.session == SERVER else history.upto
    elif mark.session == NODE and repository.verified_segment == mark.transaction:
        repository.verified_segment = history.upto
    elif repository.verified_segment is not None and history.upto is not None:
        # A recovery may end below what was verified before: what is written from here on is new.
        repository.verified_segment = min(repository.verified_segment, history.upto)
