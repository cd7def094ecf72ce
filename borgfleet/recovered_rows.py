"""What a database is told that was just recovered: what ran is lost, and nothing is believed of the repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from borgfleet.people import console
from shared.db.stores.audit import Deed
from shared.db.tables.account import LoginFlow, LoginSession, OneTimeLink
from shared.db.tables.base import db_now
from shared.db.tables.download import DownloadTicket
from shared.db.tables.job import Job
from shared.db.tables.kernel import OutboxRow
from shared.db.tables.storage import Repository
from shared.domain.job import JobState
from shared.domain.messages import stored
from shared.domain.messages.frozen import DATABASE_RECOVERED
from shared.domain.messages.jobs import LOST_IN_RECOVERY

if TYPE_CHECKING:
    from shared.db.unit_of_work import UnitOfWork

_OPEN_DOORS = (LoginSession, LoginFlow, OneTimeLink, DownloadTicket)
"""Each may have been ended or used up since the backup."""


async def mark_recovered(tx: UnitOfWork, made_at: str) -> tuple[int, int]:
    """End every job that had not ended, freeze every repository, let nobody go on who was logged in.

    Returns how many jobs and how many repositories. What was queued is ended too: it may have been done since, and a
    restore that is done twice would overwrite what was changed in between.
    """
    lost = LOST_IN_RECOVERY(made_at=made_at)
    unfinished = Job.state.in_((JobState.QUEUED.value, JobState.RUNNING.value))
    jobs = list(await tx.session.scalars(select(Job.id).where(unfinished)))
    await tx.session.execute(
        update(Job)
        .where(unfinished)
        .values(
            state=JobState.FAILED.value, code=lost.code, reason=lost.text, remedy=lost.remedy, message=stored(lost),
            finished_at=db_now(), lease=None, lease_until=None,
        )
    )  # fmt: skip
    await tx.session.execute(delete(OutboxRow).where(OutboxRow.sent_at.is_(None)))
    for table in _OPEN_DOORS:
        await tx.session.execute(delete(table))
    said = DATABASE_RECOVERED(made_at=made_at)
    now = (await tx.session.execute(select(db_now()))).scalar_one()
    repositories = list(await tx.session.scalars(select(Repository)))
    for one in repositories:
        others = [cause for cause in one.frozen_for if cause["code"] != said.code]
        before = {cause["reason"] for cause in one.frozen_for if cause["code"] == said.code}
        reasons = [reason for reason in one.frozen_reason.split("; then ") if reason and reason not in before]
        one.frozen_for = [*others, {"code": said.code, "reason": said.text, "message": stored(said)}]
        one.frozen_reason = "; then ".join([*reasons, said.text])
        one.frozen_at = one.frozen_at or now
        one.restored_at, one.restored_accepted_at = now, None
    await tx.audit.add(console(), Deed("recover", "system", after={"made_at": made_at, "jobs_lost": len(jobs)}))
    return len(jobs), len(repositories)
