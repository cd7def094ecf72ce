"""Queueing a job again: of one that deletes it may need a second person, as the deletion itself does."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from services.api.features.jobs.elsewhere import require_there
from services.api.kernel.pages import require
from services.api.kernel.scope import require_for
from services.api.security.approvals import agreed
from shared.db.stores.jobs import takes_turns
from shared.db.stores.requests import refuse_amid_moves
from shared.domain.four_eyes import About, Command, Guarded
from shared.domain.job import JobState, JobType
from shared.domain.job_kinds import KIND_OF
from shared.domain.messages.jobs import JOB_NOT_RETRYABLE_STATE
from shared.errors import Conflict

if TYPE_CHECKING:
    from services.api.kernel.principal import Principal
    from services.api.security.approvals import Actions
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork

_ENDED = (JobState.FAILED.value, JobState.CANCELLED.value)
_PAST_THE_LIMIT = ("override_deletion_limit", "past_the_brake")


async def retry(tx: UnitOfWork, asking: Principal, command: Command) -> Job:
    """Queue a failed or cancelled job again; whoever asks needs the right to ask for such a job too."""
    job = require(await tx.jobs.get(uuid.UUID(command.target)), "job")
    if (kind := KIND_OF.get(job.type)) is not None:
        await require_for(tx.session, asking, kind.permission, job.server_id)
        if kind.moves:
            await require_there(tx, asking, job)
            await refuse_amid_moves(tx, job)
    if _deletes(job) and job.state in _ENDED:
        await agreed(tx, asking, command, About("jobs", job.title, job.server_id))
    if not await tx.jobs.retry(job):
        raise Conflict(JOB_NOT_RETRYABLE_STATE(state=job.state))
    if takes_turns(job):
        await tx.admission.admit()
    return require(await tx.jobs.get(job.id), "job")


def _deletes(job: Job) -> bool:
    return job.type == JobType.ARCHIVE_DELETE.value or any((job.params or {}).get(one) for one in _PAST_THE_LIMIT)


GUARDED: Actions = {Guarded.RETRY_DELETION: retry}
"""What is done once another person has agreed."""
