"""Checking: segments, archives, data; what is damaged is marked, and never repaired by itself."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from services.backup.inventory.reconcile import (
    freeze,
    last_inventory,
    list_repository,
    missing_archives,
    missing_ids,
    record_inventory,
    recorded_archives,
)
from services.backup.plan import load_repository
from services.backup.window import window_of
from shared.borg.exit_codes import ROLLED_BACK
from shared.borg.output import LogLine
from shared.db.tables.base import db_now
from shared.db.tables.storage import Archive, Repository
from shared.domain.job import JobState
from shared.domain.scheduled import asked_for
from shared.domain.verification import SHORTEST_BUDGET, CheckOptions, Depth
from shared.errors import Permanent
from shared.events.repository import RepositoryChecked
from shared.runtime.crashpoint import crashpoint

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from services.backup.inventory.reconcile import Inventory, MissingArchives
    from services.backup.ports import RepositoryPlace, Segments, Storage
    from services.backup.window import Window
    from shared.borg.node import Grant
    from shared.borg.output import Listed, Phase, Progress
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context

_SHOWN = 10
_STEPS = 3


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """A repository, what it must hold, and what to look at."""

    repository: RepositoryPlace
    recorded: dict[str, str]
    """What must be there: borg id -> name."""
    unread: dict[str, tuple[uuid.UUID, datetime | None]]
    """Every archive on record: borg id -> its row, and when it was last read."""
    options: CheckOptions
    inventory: Inventory | None
    """As it was last seen."""
    suspicion: str = ""
    """What is known to be wrong with archives: which of them it hits, only reading them tells."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found."""

    segments: Segments
    archives_damage: tuple[str, ...] | None
    """None: not looked at."""
    read: int = 0
    damaged: int = 0
    left: int = 0
    """Archives that the budget left unread."""
    inventory: Inventory | None = None
    missing: MissingArchives | None = None
    warnings: tuple[str, ...] = ()

    def and_damaged(self, damage: Sequence[str]) -> Checked:
        """Return the same with what else was found damaged: what borg cannot see of its segments."""
        more = tuple(one for one in damage if one not in self.segments.damage)
        return replace(self, segments=replace(self.segments, damage=(*self.segments.damage, *more))) if more else self


@dataclass(slots=True)
class _Budget:
    """What is left of the time that a check may take."""

    seconds: int | None
    began: float = field(default_factory=time.monotonic)

    def left(self, share: float = 1.0) -> float | None:
        if self.seconds is None:
            return None
        return self.seconds * share - (time.monotonic() - self.began)

    @property
    def spent(self) -> bool:
        left = self.left()
        return left is not None and left <= 0


async def place_to_check(tx: UnitOfWork, job: Job) -> RepositoryPlace:
    """Return where the repository lies; a frozen one is checked too: nothing of it is changed."""
    repository = await tx.session.get(Repository, job.repository_id)
    if repository is None:
        message = "the repository was forgotten while this check was queued"
        raise Permanent(message, code="repository_missing", remedy="nothing to do")
    return replace(await load_repository(tx, repository.id), to_server=False)


async def load_check(tx: UnitOfWork, job: Job, place: RepositoryPlace) -> CheckPlan:
    """Read what a repository should hold; once it is ours, so that this does not change any more."""
    window = await window_of(tx, job)
    window.refuse_late()
    query = select(Archive.borg_id, Archive.id, Archive.verified_at).where(Archive.repository_id == place.id)
    return CheckPlan(
        repository=place,
        recorded=await recorded_archives(tx, place.id),
        unread={borg_id: (row_id, at) for borg_id, row_id, at in await tx.session.execute(query) if borg_id},
        options=_within(CheckOptions.model_validate(asked_for(job.params)), window),
        inventory=await last_inventory(tx, place.id),
        suspicion=(await tx.session.get_one(Repository, place.id)).archives_damage,
    )


def _within(options: CheckOptions, window: Window) -> CheckOptions:
    """Let the window's end be the budget's end as well: what is not done by then is done by the next check."""
    if window.seconds_left is None:
        return options
    left = max(SHORTEST_BUDGET, int(window.seconds_left))
    return options.model_copy(update={"budget_seconds": min(left, options.budget_seconds or left)})


async def run_check(plan: CheckPlan, grant: Grant, ctx: Context, storage: Storage) -> Checked:
    """Compare, check the segments, then the archives; read data if asked to, or to find out what a damage hits."""
    budget, depth = _Budget(plan.options.budget_seconds), plan.options.depth
    inventory, listed = await _list_repository(plan, grant, ctx, storage)
    gone = missing_ids(plan.recorded, listed) if inventory else None
    missing = missing_archives({borg_id: plan.recorded[borg_id] for borg_id in gone}, plan.inventory) if gone else None

    share = 1.0 if depth is Depth.SEGMENTS else 0.5
    left = budget.left(share)
    hear = _Hearing(ctx)
    ctx.progress("checking segments", step=1, steps=_STEPS)
    segments = await storage.check_segments(plan.repository, grant, None if left is None else max(1, int(left)), hear)
    found, warnings = None, ()
    if depth is not Depth.SEGMENTS:
        ctx.progress("checking archives", step=2, steps=_STEPS)
        found, warnings = await _check_archives(plan, grant, hear, storage, budget)
    checked = Checked(segments, found, inventory=None if missing else inventory, missing=missing, warnings=warnings)
    suspected = bool(plan.suspicion) and depth is not Depth.SEGMENTS
    if depth is Depth.DATA or segments.damage or found or suspected:
        return await _read_archives(plan, listed, grant, ctx, storage, budget, checked)
    return checked


async def _list_repository(
    plan: CheckPlan, grant: Grant, ctx: Context, storage: Storage
) -> tuple[Inventory | None, Sequence[Listed]]:
    """List what is there; None where borg refuses an older state: what is sound of it is found out all the same."""
    try:
        return await list_repository(ctx, plan.repository, grant, storage, plan.recorded)
    except Permanent as error:
        if error.code != ROLLED_BACK:
            raise
        return None, ()


async def _check_archives(
    plan: CheckPlan, grant: Grant, hear: _Hearing, storage: Storage, budget: _Budget
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Return what is damaged, None if there was no time to find out, and what to say of that."""
    try:
        async with asyncio.timeout(budget.left()):
            return await storage.check_archives(plan.repository, grant, hear), ()
    except TimeoutError:
        return None, ("the budget was spent before the archives were checked: this check needs a larger one",)


async def _read_archives(
    plan: CheckPlan, listed: Sequence[Listed], grant: Grant, ctx: Context, storage: Storage, budget: _Budget,
    checked: Checked,
) -> Checked:  # fmt: skip
    """Read those first that were not read for the longest time; each one's result is kept at once."""
    never = datetime.min.replace(tzinfo=UTC)
    waiting = [archive for archive in reversed(listed) if archive.borg_id in plan.unread]
    waiting.sort(key=lambda archive: plan.unread[archive.borg_id][1] or never)
    read, damaged, warnings = 0, 0, checked.warnings
    for number, archive in enumerate(waiting, 1):
        if budget.spent:
            break
        ctx.progress(f"reading archive {number} of {len(waiting)}", step=3, steps=_STEPS, current_path=archive.name)
        try:
            async with asyncio.timeout(budget.left()):
                damage = await storage.read(plan.repository, grant, archive.name)
        except TimeoutError:
            if not read:
                warnings += (f"{archive.name} could not be read within the budget: it needs a larger one",)
            break
        await _note_read(plan, archive, damage, ctx)
        crashpoint("after_an_archive_was_read")
        read, damaged = read + 1, damaged + bool(damage)
    # Where borg refuses to list, an older state lies there: nothing of it tells about the archives on record.
    unlisted = checked.inventory is None and checked.missing is None
    left = len(plan.unread) if unlisted else len(waiting) - read
    return replace(checked, read=read, damaged=damaged, left=left, warnings=warnings)


async def _note_read(plan: CheckPlan, archive: Listed, damage: Sequence[str], ctx: Context) -> None:
    row_id = plan.unread[archive.borg_id][0]
    values = {"damage": _shortened(damage), "proven_at": None} if damage else {"damage": "", "verified_at": db_now()}

    async def note(tx: UnitOfWork) -> None:
        await ctx.fence(tx)
        await tx.session.execute(update(Archive).where(Archive.id == row_id).values(**values))

    await ctx.run(note)
    ctx.log(
        "error" if damage else "info", "kernel", f"{archive.name}: {_shortened(damage) or 'all data read, all sound'}"
    )


class _Hearing:
    """Passes what borg says on to the job's log and progress."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def __call__(self, line: LogLine | Progress | Phase) -> None:
        if isinstance(line, LogLine):
            self._ctx.log(line.level, "borg", line.message, code=line.code)
        else:
            self._ctx.progress(getattr(line, "message", "checking"))


async def record_check(tx: UnitOfWork, ctx: Context, plan: CheckPlan, checked: Checked) -> None:
    """Keep what was found and the job's end: red if anything is damaged; a loss freezes the repository."""
    warnings = (*checked.warnings, checked.missing.said) if checked.missing else checked.warnings
    found = (*checked.segments.damage, *(checked.archives_damage or ()))
    finished = checked.segments.finished and not checked.left and not checked.warnings
    result = {"finished": finished, "read": checked.read, "damaged": checked.damaged, "left": checked.left}
    error = _error(found, checked.damaged)
    state = JobState.FAILED if error else JobState.WARNING if warnings else JobState.SUCCEEDED
    if not await ctx.finish(tx, state, error=error, warnings=warnings, result=result):
        return
    repository = await tx.session.get_one(Repository, plan.repository.id, with_for_update=True)
    _note_segments(repository, checked.segments)
    _note_archives(repository, plan, checked)
    if checked.inventory is not None:
        await record_inventory(tx, repository.id, checked.inventory)
    if checked.missing is not None:
        await freeze(tx, ctx, repository.id, checked.missing)
    damaged = select(func.count()).where(Archive.repository_id == repository.id, Archive.damage != "")
    if ctx.job is not None:
        tx.emit(
            RepositoryChecked(
                job_id=ctx.job.id,
                correlation_id=ctx.correlation_id,
                repository_id=repository.id,
                depth=plan.options.depth.value,
                finished=finished,
                damage=_shortened(found),
                damaged_archives=await tx.session.scalar(damaged) or 0,
            )
        )


def _note_segments(repository: Repository, found: Segments) -> None:
    """A damage is forgotten only when a whole check, in one go or in parts, has not found it again."""
    before = repository.unfinished_damage if found.continued else ""
    damage = "; ".join(filter(None, (before, _shortened(found.damage))))
    if found.finished:
        repository.segments_damage, repository.unfinished_damage = damage, ""
        repository.checked_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - a SQL expression is assignable
    else:
        repository.segments_damage = damage or repository.segments_damage
        repository.unfinished_damage = damage


def _note_archives(repository: Repository, plan: CheckPlan, checked: Checked) -> None:
    """Forget what was wrong with archives only when all of them were read since: borg looks whether an object is there.

    What is in it may be garbage all the same, and what a verification found meanwhile this check did not look for.
    While garbage waits for a recovery, an archive that it hit keeps from compaction what would bring it back.
    """
    waits = checked.damaged and repository.rewritten_after is not None
    if checked.archives_damage:
        repository.archives_damage = _shortened(checked.archives_damage)
    elif checked.archives_damage is None or checked.left or waits:
        return
    elif repository.archives_damage == plan.suspicion:
        repository.archives_damage = ""


def _error(found: Sequence[str], damaged: int) -> Permanent | None:
    if not found and not damaged:
        return None
    hit = f"{damaged} archives cannot be read whole" if damaged else "no archive was found that it hits"
    message = f"the repository is damaged, {hit}" + (f": {_shortened(found)}" if found else "")
    remedy = "nothing was repaired: look at the disk, then at docs/operations/verification.md"
    return Permanent(message, code="repository_damaged", remedy=remedy)


def _shortened(found: Sequence[str]) -> str:
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more
