"""One backup run: the repository, the archive, and the truth gate."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.backup.create.adopt import Found, find_made, hostile_for, on_record, unrecorded_archives
from services.backup.create.ledger import Ledger
from services.backup.create.making import cut_by_cancel, make
from services.backup.create.shielded import to_its_end
from services.backup.inventory.proof import remember_key
from services.backup.inventory.reconcile import (
    FORGED,
    HOSTILE,
    Inventory,
    MissingArchives,
    last_inventory,
    list_repository,
    missing_archives,
    missing_ids,
    recorded_archives,
    refuse_lie,
)
from services.backup.node.pools import prepare_repository
from services.backup.truth.evidence import ArchiveEvidence, Given, RunEvidence
from services.backup.truth.gate import Evidence, Verdict, judge
from services.backup.truth.source_reasons import why_none
from shared.domain.backup_state import doubt
from shared.domain.job import JobState
from shared.domain.messages.frozen import FORGED_ARCHIVE
from shared.errors import AppError, LeaseLost, Permanent
from shared.runtime.context import Abort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.backup.ports import BackupPlan, Servers, Storage
    from shared.borg.node import Grant
    from shared.borg.output import Listed
    from shared.domain.archive import ArchiveFigures, RepositoryFigures
    from shared.runtime.context import Context


@dataclass(frozen=True, slots=True)
class Outcome:
    """An archive that is in the repository, and what the truth gate says of it."""

    archive: ArchiveFigures
    repository: RepositoryFigures | None
    verdict: Verdict
    inventory: Inventory | None
    """None if anything is missing."""
    missing: MissingArchives | None
    """What is missing of the archives that were made before."""
    evidence: ArchiveEvidence
    """What is kept with the archive."""
    found: Sequence[Found] = ()
    """Archives of earlier runs of ours that are on no record."""


async def run_backup(plan: BackupPlan, grant: Grant, ctx: Context, storage: Storage, servers: Servers) -> Outcome:
    """Make the archive, or find the one an earlier attempt of this run made, and judge it.

    From the moment borg has made it, it is judged and recorded: a cancellation is then a reason for doubt.
    """
    ctx.progress("preparing the repository")
    await prepare_repository(ctx, storage, plan.repository, grant)
    await remember_key(ctx, storage, plan.repository)
    ledger = await Ledger.open(plan, ctx)

    def goes_on_elsewhere() -> bool:  # a cancelled run does not: what it made is recorded by nobody else
        return ctx.abort is not Abort.CANCELLED

    adopting = find_made(plan, grant, ctx, storage, servers, ledger)
    archive, cut = await to_its_end(adopting, give_up=goes_on_elsewhere)
    repository: RepositoryFigures | None = None
    adopted = archive is not None
    if archive is None:
        if cut:
            raise asyncio.CancelledError
        made = await make(plan, grant, ctx, servers, ledger)
        archive, repository = made.archive, made.repository

    conclusion = _conclude(plan, grant, ctx, storage, ledger, archive, repository, adopted=adopted)
    (evidence, outcome), cut_now = await to_its_end(conclusion, give_up=goes_on_elsewhere)
    if cut or cut_now:
        await cut_by_cancel(ctx, ledger)
        if outcome.verdict.error is None:
            outcome = replace(outcome, verdict=judge(replace(evidence, run=ledger.evidence)))
    return outcome


async def _conclude(
    plan: BackupPlan,
    grant: Grant,
    ctx: Context,
    storage: Storage,
    ledger: Ledger,
    archive: ArchiveFigures | None,
    repository: RepositoryFigures | None,
    *,
    adopted: bool,
) -> tuple[Evidence, Outcome]:
    await storage.shut_out(plan.repository, grant)  # what is looked at from here on does not change any more
    recorded = await ctx.run(lambda tx: recorded_archives(tx, plan.repository.id))
    # The session that made it may have been judged by another job, which had the repository since.
    hostile = await ctx.run(lambda tx: hostile_for(tx, plan.repository.id)) if adopted else ""
    own = {archive.borg_id} if archive else set[str]()
    if archive and own & await ctx.run(lambda tx: on_record(tx, plan.repository.id)):  # which would be overwritten
        lie = FORGED_ARCHIVE(repository=plan.repository.label, archive=archive.name)
        raise await refuse_lie(ctx, plan.repository, lie)
    # Before borg measures anything: it remembers the time of a manifest that it has measured.
    try:
        inventory, listed = await list_repository(ctx, plan.repository, grant, storage, recorded, own=own)
    except Permanent as error:
        if error.code not in (HOSTILE, FORGED) or archive is None or archive.name not in ledger.evidence.archives:
            raise
        return _forged(plan, ledger, archive, error)
    if archive is None:  # what borg answered cannot be read; the gate says so
        archive = await storage.archive(plan.repository, grant, ledger.evidence.archives[-1])
    repository = repository or await storage.figures(plan.repository, grant)
    ctx.progress("verifying", files=archive.files, original_size=archive.original_size)
    given = await _given(plan, ctx, storage, grant, archive, ledger.evidence)
    ledger.evidence = ledger.evidence.but(given=given)
    evidence = Evidence(
        archive,
        listed,
        ledger.evidence,
        plan.options,
        plan.reference,
        pre_hook=bool(plan.hooks.before),
        post_hook=bool(plan.hooks.after),
        hostile=hostile,
    )
    verdict = judge(evidence)
    ctx.log("info", "kernel", f"the repository lists {archive.borg_id[:12]} as {archive.name}: {verdict.state}")
    found = await unrecorded_archives(plan, grant, ctx, storage, listed)
    missing = await _missing(plan, recorded, listed, ctx)
    since = plan.reference.since if plan.reference else None
    kept = ArchiveEvidence.of(ledger.evidence, since, why_none(evidence))
    return evidence, Outcome(archive, repository, verdict, None if missing else inventory, missing, kept, found)


def _forged(plan: BackupPlan, ledger: Ledger, archive: ArchiveFigures, error: Permanent) -> tuple[Evidence, Outcome]:
    """Keep what the run made with why nobody may trust it: what is on record, a recovery brings back."""
    evidence = Evidence(archive, (), ledger.evidence, plan.options, plan.reference)
    verdict = Verdict(JobState.FAILED, (doubt(error.said),), error)
    return evidence, Outcome(archive, None, verdict, None, None, ArchiveEvidence.of(ledger.evidence))


async def _given(
    plan: BackupPlan, ctx: Context, storage: Storage, grant: Grant, archive: ArchiveFigures, run: RunEvidence
) -> tuple[Given, ...] | None:
    """Count what each source gave, and each mount below one, in the archive's own listing.

    borg's sums are no count: the servers' borg 1.2 adds the sizes of its own records, and small files hide in them.
    """
    mounts = {mount.path for source in run.looked or () for mount in source.mounts} - {*plan.options.sources}
    try:
        return await storage.given(plan.repository, grant, archive.name, [*plan.options.sources, *sorted(mounts)])
    except LeaseLost:
        raise
    except AppError as error:  # the gate says that nobody counted
        ctx.log("warning", "kernel", f"the archive's files could not be counted: {error.message}", code=error.code)
        return None


async def _missing(
    plan: BackupPlan, recorded: dict[str, str], listed: Sequence[Listed], ctx: Context
) -> MissingArchives | None:
    gone = missing_ids(recorded, listed)
    if not gone:
        return None
    before = await ctx.run(lambda tx: last_inventory(tx, plan.repository.id))
    missing = missing_archives({borg_id: recorded[borg_id] for borg_id in gone}, before)
    ctx.log("error", "kernel", missing.reason, code="archives_missing")
    return missing
