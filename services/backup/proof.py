"""Proves that the fence held: between and in sessions nobody but us wrote, and nothing that was there before went."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.backup.reconcile import quarantine
from shared.borg.exit_codes import ROLLED_BACK
from shared.borg.segments import History
from shared.db.repositories.secrets import repository_key
from shared.db.tables.base import db_now
from shared.db.tables.storage import Repository
from shared.errors import AppError, Permanent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from services.backup.ports import RepositoryPlace, Storage
    from services.backup.reconcile import Whole
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context

REWRITTEN = "history_rewritten"
WRITTEN_OUTSIDE = "written_outside"
KEY_CHANGED = "repository_key_changed"
SERVER, NODE = "server", "node"


@dataclass(frozen=True, slots=True)
class Found:
    """Why a repository is frozen."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where the last proof ended, and whose session has been open since."""

    transaction: int | None
    session: str


@contextlib.asynccontextmanager
async def proven(ctx: Context, storage: Storage, place: RepositoryPlace, *, told: bool = True) -> AsyncGenerator[None]:
    """Look at what was written since the last session, and at the end at what this one wrote; `told`: the job says it.

    A session that breaks off stays open in the records: what it still commits is judged as its own by the next one.
    """
    before = await ctx.run(lambda tx: _read_mark(tx, place))
    ours = SERVER if place.to_server else NODE
    mark = _Mark(await _prove(ctx, storage, place, before, session=ours, told=told), ours)
    try:
        yield
    except AppError:
        with contextlib.suppress(AppError):  # what failed is told; that it was an attack as well, by the next session
            await _prove(ctx, storage, place, mark, session=ours)
        raise
    await _prove(ctx, storage, place, mark, session="")


async def remember_key(ctx: Context, storage: Storage, place: RepositoryPlace) -> None:
    """Keep the key of a repository that was just made, before its server writes to it for the first time."""
    key = await storage.key(place)
    if key:
        await ctx.run(lambda tx: tx.secrets.ensure(repository_key(place.id), lambda: key))


async def remember_whole(ctx: Context, storage: Storage, place: RepositoryPlace, whole: Whole | None) -> None:
    """Keep a copy of the manifest of a repository that holds every archive on record."""
    if whole is None:
        return
    upto = await storage.keep_manifest(place)
    if upto is None:
        return

    async def note(tx: UnitOfWork) -> None:
        await ctx.fence(tx)
        repository = await tx.session.get_one(Repository, place.id)
        repository.manifest_transaction = upto
        repository.manifest_kept_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - a SQL expression is assignable

    await ctx.run(note)


async def _read_mark(tx: UnitOfWork, place: RepositoryPlace) -> _Mark:
    repository = await tx.session.get_one(Repository, place.id)
    return _Mark(repository.proven_transaction, repository.session)


async def _prove(
    ctx: Context, storage: Storage, place: RepositoryPlace, mark: _Mark, *, session: str, told: bool = True
) -> int | None:
    """Judge what was written since a mark, keep what was found, and set the starting point anew."""
    history, damage = await _history(storage, place, mark)
    key = await storage.key(place)
    fresh = key or ""
    recorded = await ctx.run(lambda tx: tx.secrets.find(repository_key(place.id)))
    found = [*_judged(mark, history), *_judged_key(recorded, key)]
    for one in found if told else ():
        ctx.warn(one.code, one.reason)
    if damage:
        ctx.warn("segments_damaged", damage)

    async def note(tx: UnitOfWork) -> None:
        await ctx.fence(tx)
        repository = await tx.session.get_one(Repository, place.id)
        for one in found:
            if ctx.job is not None and one.reason not in repository.frozen_reason:
                await quarantine(tx, ctx.job, place.id, one.reason, code=one.code)
        repository.segments_damage = damage or repository.segments_damage
        if any(one.code == REWRITTEN for one in found) and repository.rewritten_after is None:
            repository.rewritten_after = mark.transaction
        _note_verified(repository, mark, history)
        repository.proven_transaction, repository.session = history.upto, session
        if fresh and recorded is None:
            await tx.secrets.ensure(repository_key(place.id), lambda: fresh)

    await ctx.run(note)
    return history.upto


async def _history(storage: Storage, place: RepositoryPlace, mark: _Mark) -> tuple[History, str]:
    """Return what was written, and what is damaged of it."""
    upto = await storage.last_transaction(place)
    if upto is None or mark.transaction is None:
        return History(upto), ""  # nothing was there before that could have been rewritten, or that we know of
    if upto < mark.transaction:
        message = f"the repository ends at transaction {upto}; it ended at {mark.transaction} when we left it"
        remedy = "an incident: somebody put an older copy in its place; see docs/operations/running.md"
        raise Permanent(message, code=ROLLED_BACK, remedy=remedy)
    if mark.session == NODE:
        return History(upto), ""  # our own maintenance deletes and moves
    try:
        return await storage.history(place, mark.transaction), ""
    except Permanent as error:
        return History(upto), error.message


def _judged(mark: _Mark, history: History) -> list[Found]:
    if mark.transaction is None or history.upto is None:
        return []
    found: list[Found] = []
    if not mark.session and history.upto > mark.transaction:
        wrote = f"something was written to the repository outside of any run, after transaction {mark.transaction}"
        found.append(Found(WRITTEN_OUTSIDE, wrote))
    if history.rewritten:
        count = f"{len(history.rewritten)} objects that were there before were deleted or replaced by the server"
        found.append(Found(REWRITTEN, f"{count}, after transaction {mark.transaction}"))
    return found


def _judged_key(recorded: str | None, key: str | None) -> list[Found]:
    if recorded is None or key is None or key.split() == recorded.split():
        return []
    reason = "the repository's key was changed without our doing: its passphrase and recovery kit may open nothing"
    return [Found(KEY_CHANGED, reason)]


def _note_verified(repository: Repository, mark: _Mark, history: History) -> None:
    """What was there before proofs were made counts as verified; so does what our own maintenance moved."""
    if repository.verified_segment is None and history.upto is not None:
        repository.verified_segment = -1 if mark.session == SERVER else history.upto
    elif mark.session == NODE and repository.verified_segment == mark.transaction:
        repository.verified_segment = history.upto
