"""The streams as data; `borgfleet migrate` and the scheduler's reaper create them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.domain.job import JobType
from shared.domain.job_kinds import JOB_KINDS
from shared.events.alert import AlertRaised, AlertResolved
from shared.events.archive import (
    ArchiveAccepted,
    ArchiveDelete,
    ArchiveDeleted,
    ArchiveRestore,
    ArchiveRestored,
    RestoreUndo,
)
from shared.events.audit import AuditSealed
from shared.events.backup import BackupCompleted, BackupFailed, BackupMissed, BackupRequested, BackupStarted
from shared.events.base import Command, Event
from shared.events.itself import SelfBackup
from shared.events.progress import JobChanged, JobProgress
from shared.events.repository import (
    ArchiveIndex,
    MaintenanceMissed,
    RepositoryCheck,
    RepositoryChecked,
    RepositoryCompact,
    RepositoryCompacted,
    RepositoryFrozen,
    RepositoryImport,
    RepositoryImported,
    RepositoryManage,
    RepositoryManaged,
    RepositoryPrune,
    RepositoryPruned,
    RepositoryRecover,
    RepositoryRecovered,
    RepositoryVerified,
    RepositoryVerify,
    RestoreTest,
    RestoreTested,
)
from shared.events.server import ServerReady, ServerRefused, ServerSetup, ServerUnreachable
from shared.events.stats import ServerReachable, StatsCollect, StatsCollected

_DAY = 86_400
_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One JetStream stream; `max_age` in seconds, 0 keeps for ever; `max_bytes` on each replica, 0 is no limit."""

    name: str
    subjects: tuple[str, ...]
    retention: Literal["workqueue", "limits"]
    storage: Literal["file", "memory"]
    max_age: int = 0
    last_per_subject: bool = False
    max_bytes: int = 0
    permanent: bool = False
    """Nobody can delete a message or purge the stream, not even who may do all on the server."""


COMMANDS: tuple[type[Command], ...] = (
    BackupRequested, ArchiveDelete, ArchiveRestore, RepositoryPrune, RepositoryCompact, RepositoryCheck,
    RestoreTest, RepositoryVerify, RepositoryRecover, RepositoryImport, RepositoryManage, ArchiveIndex, RestoreUndo,
    ServerSetup, StatsCollect, SelfBackup,
)  # fmt: skip
_OF_SUBJECT = {command.subject: command for command in COMMANDS}
COMMAND_OF: dict[JobType, type[Command]] = {kind.type: _OF_SUBJECT[kind.subject] for kind in JOB_KINDS}
"""Which message asks for which type of job."""
NODE_BOUND: frozenset[type[Command]] = frozenset(COMMAND_OF[kind.type] for kind in JOB_KINDS if kind.node_bound)
FACTS: tuple[type[Event], ...] = (
    BackupStarted, BackupCompleted, BackupFailed, BackupMissed, ArchiveAccepted, ArchiveDeleted, ArchiveRestored,
    RepositoryPruned, RepositoryCompacted, RepositoryChecked, RepositoryFrozen, RepositoryVerified,
    RepositoryRecovered, RepositoryImported, RepositoryManaged, RestoreTested,
    MaintenanceMissed, ServerReady, ServerUnreachable, ServerReachable, StatsCollected,
    AlertRaised, AlertResolved, JobChanged, ServerRefused,
)  # fmt: skip
EVENTS: tuple[type[Event], ...] = (*COMMANDS, *FACTS, AuditSealed, JobProgress)


def command_subjects() -> tuple[str, ...]:
    """Return every subject of the JOBS stream: plain, and `<subject>.<node>` where work is bound to a node."""
    plain = [command.subject for command in COMMANDS]
    bound = [f"{command.subject}.*" for command in COMMANDS if command in NODE_BOUND]
    return (*plain, *bound)


JOBS = StreamSpec("JOBS", command_subjects(), "workqueue", "file")
FACTS_STREAM = StreamSpec(
    "FACTS", tuple(fact.subject for fact in FACTS), "limits", "file", max_age=7 * _DAY, max_bytes=512 * _MIB
)
"""Like DEAD limited in size: what is only told must not fill the disk that jobs need."""
PROGRESS = StreamSpec("PROGRESS", ("progress.*",), "limits", "memory", max_age=_DAY, last_per_subject=True)
DEAD = StreamSpec("DEAD", ("dead.>",), "limits", "file", max_age=30 * _DAY, max_bytes=128 * _MIB)
ADVISORIES = StreamSpec(
    "ADVISORIES",
    ("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>", "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>"),
    "limits",
    "file",
    max_age=7 * _DAY,
    max_bytes=16 * _MIB,
)
CANARY = StreamSpec("CANARY", ("canary.*",), "limits", "file", max_age=_DAY, last_per_subject=True)
"""Of each scheduler the last message with which it tried the bus."""
AUDIT = StreamSpec("AUDIT", (AuditSealed.subject,), "limits", "file", max_bytes=256 * _MIB, permanent=True)
"""Every tenth seal of the audit log, for years; where the newest seals are cut off in the database, it has them."""
STREAMS = (JOBS, FACTS_STREAM, PROGRESS, DEAD, ADVISORIES, CANARY, AUDIT)
