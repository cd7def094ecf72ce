"""A job's types and states, and which change is allowed."""

from __future__ import annotations

from enum import StrEnum


class JobType(StrEnum):
    """What one unit of queued work does."""

    SERVER_SETUP = "server_setup"
    BACKUP_CREATE = "backup_create"
    ARCHIVE_DELETE = "archive_delete"
    ARCHIVE_RESTORE = "archive_restore"
    RESTORE_UNDO = "restore_undo"
    ARCHIVE_INDEX = "archive_index"
    REPOSITORY_PRUNE = "repository_prune"
    REPOSITORY_COMPACT = "repository_compact"
    REPOSITORY_CHECK = "repository_check"
    RESTORE_TEST = "restore_test"
    REPOSITORY_VERIFY = "repository_verify"
    REPOSITORY_RECOVER = "repository_recover"
    REPOSITORY_IMPORT = "repository_import"
    REPOSITORY_MANAGE = "repository_manage"
    STATS_COLLECT = "stats_collect"
    SELF_BACKUP = "self_backup"


class JobState(StrEnum):
    """One vocabulary from borg's exit code to the badge."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    WARNING = "warning"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.WARNING, JobState.FAILED, JobState.CANCELLED})

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED}),
    JobState.RUNNING: TERMINAL | {JobState.QUEUED},
    JobState.SUCCEEDED: frozenset(),
    JobState.WARNING: frozenset(),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
}

RETRYABLE = frozenset(state for state in TERMINAL if JobState.QUEUED in TRANSITIONS[state])

BACKOFF_BASE = 5.0
BACKOFF_CAP = 600.0
_LONGEST_TIMES = 8


def may_become(before: JobState, after: JobState) -> bool:
    """Tell whether the state machine allows this change."""
    return after in TRANSITIONS[before]


def backoff(failures: int, base: float | None = None) -> float:
    """Return the seconds to wait after that many failures: 5, 10, 20 ... 600; 8 times a longer base at most."""
    first = BACKOFF_BASE if base is None else base
    return min(max(BACKOFF_CAP, first * _LONGEST_TIMES), first * 2.0 ** max(0, failures - 1))
