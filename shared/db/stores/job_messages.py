"""Which message asks for which kind of job, and on which subject it waits."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import and_

from shared.db.tables.job import Job
from shared.domain.job import JobType
from shared.domain.messages.jobs import JOB_TYPE_UNKNOWN
from shared.domain.text import clean
from shared.errors import Conflict
from shared.events.streams import COMMAND_OF

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from shared.events.base import Command


class Addressed(NamedTuple):
    """What is needed of a job to send its message."""

    id: uuid.UUID
    type: str
    node: str | None
    correlation_id: uuid.UUID
    attempt: int


_ASKING = frozenset(command.type_name() for command in COMMAND_OF.values())
KNOWN = frozenset(kind.value for kind in COMMAND_OF)
"""The types of jobs that this version can ask for; rows may hold others, which a newer version made."""
ADDRESS = (Job.id, Job.type, Job.node, Job.correlation_id, Job.attempt)
"""The columns of `Addressed`: what else a row holds need not make sense."""


def command_of(job: Job | Addressed) -> Command:
    """Return the message that asks for a job to be done."""
    return COMMAND_OF[_kind(job.type)](job_id=job.id, correlation_id=job.correlation_id)


def asks_for(event_type: str, payload: str) -> uuid.UUID | None:
    """Return which job an event asks for, if it is a command of ours at all."""
    if event_type not in _ASKING:
        return None
    try:
        return uuid.UUID(json.loads(payload)["job_id"])
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


def type_unknown(kind: str) -> Conflict:
    """Return why a job of a type that this version does not know cannot be worked on."""
    return Conflict(JOB_TYPE_UNKNOWN(type=clean(kind, 60)))


def subject_of(kind: str, node: str | None) -> str:
    """Return the subject on which jobs of a type wait, on a node or anywhere."""
    subject = COMMAND_OF[_kind(kind)].subject
    return f"{subject}.{node}" if node else subject


def waits_on(subject: str) -> ColumnElement[bool]:
    """Select the jobs whose message waits on a subject."""
    for kind, command in COMMAND_OF.items():
        if subject == command.subject:
            return and_(Job.type == kind.value, Job.node.is_(None))
        if subject.startswith(f"{command.subject}."):
            return and_(Job.type == kind.value, Job.node == subject.removeprefix(f"{command.subject}."))
    message = f"no job waits on {subject}"
    raise ValueError(message)


def _kind(kind: str) -> JobType:
    """Read a type as MariaDB compares it: spaces at the end count for nothing, so `KNOWN` lets them pass."""
    return JobType(kind.rstrip(" "))
