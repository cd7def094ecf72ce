"""One restore test: takes a view, chooses, reads, compares, and keeps nothing of what it read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import select

from services.backup.catalogue.store import file_of
from services.backup.drills.choose import CORRUPT, GONE, sampled
from services.backup.drills.earlier import held_against_earlier
from services.backup.drills.read import ArchiveTested, Reading, broken
from services.backup.drills.source import SourceCompared, compare_source
from services.backup.node.views import through_view
from shared.db.tables.storage import Archive
from shared.domain.proofs import Findings
from shared.errors import Permanent
from shared.runtime.crashpoint import crashpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from services.backup.drills.plan import DrillPlan
    from services.backup.node.views import View
    from services.backup.ports import Storage
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context
    from shared.ssh.port import Ssh


@dataclass
class Outcome:
    """What a test found."""

    archives: list[ArchiveTested] = field(default_factory=list[ArchiveTested])
    source: SourceCompared = field(default_factory=SourceCompared)
    listed: int = 0
    """Archives that borg listed, since the catalogue does not know them."""

    @property
    def tested(self) -> Findings:
        """The sum of all archives."""
        total = Findings()
        for one in self.archives:
            total.add(one.tested)
        return total


async def run_test(
    plan: DrillPlan, _grant: object, ctx: Context, storage: Storage, *, ssh: Ssh, directory: Path
) -> Outcome:
    """Test; what a view shows as damaged is looked at in a second one before anybody is told."""
    file = file_of(directory, plan.repository.id)

    async def work(view: View) -> Outcome:
        crashpoint("test_in_view")
        return await _read(plan, ctx, storage, view, file)

    ctx.progress("making the view")
    outcome = await _through(plan, ctx, storage, work) if plan.archives else Outcome()
    if any(one.hurt for one in outcome.archives):
        ctx.log("warning", "borg", "not all can be read: it is read again from a new view", code="view_again")
        outcome = await _through(plan, ctx, storage, work)
    await _without_deleted(ctx, outcome)
    await held_against_earlier(ctx, outcome.archives, file)
    outcome.source = await compare_source(plan, ctx, ssh, outcome.archives)
    return outcome


async def _through(
    plan: DrillPlan, ctx: Context, storage: Storage, work: Callable[[View], Awaitable[Outcome]]
) -> Outcome:
    """Read; where two views show damage alone, every archive is hit; what a view may be to blame for is none."""
    try:
        return await through_view(ctx, storage, plan.repository, work)
    except Permanent as error:
        why = error.__cause__ if error.code == "view_unreadable" else error
        if not isinstance(why, Permanent) or why.code not in CORRUPT:
            raise
        return Outcome([broken(one, why) for one in plan.archives])


async def _read(plan: DrillPlan, ctx: Context, storage: Storage, view: View, file: Path) -> Outcome:
    if plan.asked.kind != "sample":
        reading = Reading(plan, ctx, storage, view, None)
        return Outcome([await reading.whole(one, plan.asked.named) for one in plan.archives])
    chosen = await sampled(plan, ctx, storage, view, file)
    size = sum(one.size for some in chosen.files.values() for one in some)
    reading = Reading(plan, ctx, storage, view, size)
    outcome = Outcome(listed=chosen.listed)
    for archive in plan.archives:
        if (error := chosen.broken.get(archive.borg_id)) is not None:
            outcome.archives.append(broken(archive, error))
        elif files := chosen.files.get(archive.borg_id):
            outcome.archives.append(await reading.files(archive, files))
    return outcome


async def _without_deleted(ctx: Context, outcome: Outcome) -> None:
    """Leave out what our own prune or deletion took away after the test had begun: that is no loss."""
    lost = [one for one in outcome.archives if one.tested.missing]
    if not lost:
        return

    async def gone(tx: UnitOfWork) -> set[str]:
        ids = [one.archive.id for one in lost]
        query = select(Archive.borg_id).where(Archive.id.in_(ids), Archive.deleting.is_(False))
        return {one.archive.borg_id for one in lost} - {one for one in await tx.session.scalars(query) if one}

    deleted = await ctx.run(gone)
    for one in [one for one in lost if one.archive.borg_id in deleted]:
        ctx.log("info", "kernel", f"{one.archive.name} was deleted meanwhile: it is left out", code=GONE)
        outcome.archives.remove(one)
