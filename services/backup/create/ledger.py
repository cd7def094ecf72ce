"""Keeps a run's evidence in the database, each part as soon as it is known, fenced by the run's lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, select, update

from services.backup.truth.evidence import RunEvidence
from shared.db.tables.evidence import RunEvidenceRow
from shared.db.tables.job import Job
from shared.errors import Transient

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable
    from datetime import datetime

    from sqlalchemy import ColumnElement

    from services.backup.ports import BackupPlan
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context


class Ledger:
    """What is known of one run, and whether a post-hook is owed; every change is written before the run goes on."""

    def __init__(self, plan: BackupPlan, ctx: Context, found: RunEvidence | None, *, owed: bool) -> None:
        """Take what earlier attempts of this run left."""
        self._plan = plan
        self._ctx = ctx
        self.found = found
        """As an earlier attempt left it; None if there was none, or if it cannot be read any more."""
        self.evidence = found or RunEvidence()
        self.owed = owed
        """A post-hook, of this run or of an earlier one of the same backup job: none has succeeded since."""
        self._unwritten = False

    @classmethod
    async def open(cls, plan: BackupPlan, ctx: Context) -> Ledger:
        """Read what there is. Ask only while the repository's lease is held: no other run is at work then."""

        async def read(tx: UnitOfWork) -> tuple[RunEvidence | None, bool]:
            row = await tx.session.get(RunEvidenceRow, plan.job_id)
            debts = select(RunEvidenceRow.job_id).where(_debts_of(plan.backup_job_id)).limit(1)
            owed = await tx.session.scalar(debts) is not None
            return RunEvidence.read(row.data) if row is not None and row.run == plan.run else None, owed

        found, owed = await ctx.run(read)
        return cls(plan, ctx, found, owed=owed)

    def begin(self, name: str) -> None:
        """Begin an attempt that makes an archive of this name: what an earlier one saw says nothing of it.

        It is written with what comes next: the post-hook that is owed, or what the sources are.
        """
        self.evidence = RunEvidence(archives=(*self.evidence.archives, name), late_hook=self.evidence.late_hook)

    async def note(self, **known: object) -> None:
        """Write down what is known now."""
        self.evidence = self.evidence.but(**known)
        await self._write()

    async def if_possible(self, writing: Awaitable[None]) -> None:
        """Write now, or, while the database does not answer, with what is written next: no hook waits for it."""
        try:
            await writing
        except Transient as error:
            self._ctx.log("warning", "kernel", f"what is known of this run is written down later: {error.message}")

    async def write_pending(self) -> None:
        """Write what could not be written when it became known."""
        if self._unwritten:
            await self._write()

    async def owe(self) -> None:
        """Write down, before the pre-hook begins, that from now on the post-hook has to run, whatever comes."""
        self.owed = True
        await self._write()

    async def paid(self, **known: object) -> None:
        """Write down that nothing is owed any more: the post-hook succeeded, or there is none now."""
        self.owed = False
        self.evidence = self.evidence.but(**known)
        await self._write()

    async def _write(self) -> None:
        self._unwritten = True
        await self._ctx.run(self._upsert)
        self._unwritten = False

    async def _upsert(self, tx: UnitOfWork) -> None:
        await self._ctx.fence(tx)
        plan = self._plan
        if not self.owed:
            debts = update(RunEvidenceRow).where(_debts_of(plan.backup_job_id)).values(hook_owed=False)
            await tx.session.execute(debts, execution_options={"synchronize_session": False})
        row = await tx.session.get(RunEvidenceRow, plan.job_id, populate_existing=True)
        if row is None:
            row = RunEvidenceRow(job_id=plan.job_id, backup_job_id=plan.backup_job_id)
            tx.session.add(row)
        row.run, row.hook_owed = plan.run, self.owed
        row.data = self.evidence.model_dump(mode="json")


async def forget(tx: UnitOfWork, job_id: uuid.UUID, *, told: bool = False) -> None:
    """Drop a run's evidence once its archive is on record; a post-hook that is owed is not forgotten.

    `told`: one that ran and failed is a doubt of the archive, where people see it; nothing more comes of it.
    """
    row = await tx.session.get(RunEvidenceRow, job_id, populate_existing=True)
    if row is None:
        return
    found = RunEvidence.read(row.data) if told else None
    if not row.hook_owed or (found is not None and found.post_hook is not None and found.post_hook.ran):
        await tx.session.delete(row)


async def evidence_of(tx: UnitOfWork, job_id: uuid.UUID, run: int) -> RunEvidence | None:
    """Return what is known of a run that ended without its archive on record."""
    row = await tx.session.get(RunEvidenceRow, job_id)
    return RunEvidence.read(row.data) if row is not None and row.run == run else None


async def observed_at(tx: UnitOfWork, job_id: uuid.UUID, run: int) -> datetime | None:
    """Return by when a run that ended without its archive on record had made it, by our clock; never the server's.

    Not when it was found: accepted, it would be a backup of today. Of a job that was tried again the end of the
    earlier run is not known any more, so it counts from the beginning.
    """
    job, row = await tx.session.get(Job, job_id), await tx.session.get(RunEvidenceRow, job_id)
    if job is None:
        return None
    ended = job.finished_at if job.run == run else job.started_at
    known = [at for at in (ended, row.updated_at if row is not None and row.run == run else None) if at is not None]
    return min(known, default=None)


def _debts_of(backup_job_id: uuid.UUID) -> ColumnElement[bool]:
    return and_(RunEvidenceRow.backup_job_id == backup_job_id, RunEvidenceRow.hook_owed.is_(True))
