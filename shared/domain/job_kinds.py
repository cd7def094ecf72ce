"""The kinds of jobs, each on one row: what others need to know of a kind is read from here and listed nowhere else.

A new kind is a `JobType`, its row here, its command in `shared/events`, and a file that does the work.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from shared.domain.job import JobType
from shared.domain.permissions import Permission

Unit: TypeAlias = Literal["", "archives", "bytes", "segments", "servers", "steps"]
MaintenanceTask: TypeAlias = Literal["prune", "compact", "check", "restore_test"]
"""What a repository's schedules may do; a test holds it equal to the rows with a `task`."""


class Phase(NamedTuple):
    """A part of a job, by the word with which its progress begins, and what is counted in it."""

    name: str
    unit: Unit = ""


class JobKind(NamedTuple):
    """One kind of job."""

    type: JobType
    label: str
    """For people, as the beginning of a sentence."""
    subject: str
    """Of the command that asks for it."""
    permission: Permission
    """Who asks for it through the API needs this right."""
    phases: tuple[Phase, ...]
    """In their order; some are left out by some runs, and borg's own words may stand in between."""
    node_bound: bool = True
    """It works on a repository, so it runs on the backup node that holds it."""
    takes_turns: bool = False
    """Caps hold for it, so it may wait; what a person waits for, as a deletion, begins at once."""
    moves: bool = False
    """It renames what is on a server: nothing else that does may begin to there."""
    retryable: bool = True
    """A person may have it queued again once it failed or was cancelled."""
    spares: bool = False
    """It writes nothing to a repository, or takes it over: what may be done with one that is read only."""
    task: MaintenanceTask | None = None
    """Its name in a repository's schedules; None: a repository has none of this kind."""


_LOOKING, _COMPACTING, _MEASURING = Phase("looking"), Phase("compacting"), Phase("measuring")

JOB_KINDS: tuple[JobKind, ...] = (
    JobKind(
        JobType.SERVER_SETUP, "Set-up of a server", "server.setup", Permission.SERVERS_SETUP,
        (
            Phase("host key"), Phase("connecting"), Phase("detect system"), Phase("install fleet key"),
            Phase("install borg"), Phase("make key pair"), Phase("pin storage host keys"), Phase("prove the way back"),
            Phase("prove the fleet key"),
        ),
        node_bound=False,
    ),
    JobKind(
        JobType.BACKUP_CREATE, "Backup", "backup.requested", Permission.BACKUP_JOBS_RUN,
        (
            Phase("preparing the repository"), Phase("connecting"), Phase("pre-hook"), Phase("reading", "bytes"),
            Phase("post-hook"), Phase("verifying"),
        ),
        takes_turns=True,
    ),
    JobKind(
        JobType.ARCHIVE_DELETE, "Deletion of a backup", "archive.delete", Permission.BACKUPS_DELETE,
        (_LOOKING, Phase("deleting"), _COMPACTING, _MEASURING),
    ),
    JobKind(
        JobType.ARCHIVE_RESTORE, "Restore", "archive.restore", Permission.BACKUPS_RESTORE,
        (
            Phase("connecting"), Phase("checking the target"), Phase("making the view"), Phase("counting"),
            Phase("extracting", "bytes"), Phase("verifying"), Phase("placing"), Phase("cleaning"),
        ),
        moves=True, spares=True,
    ),
    JobKind(
        JobType.RESTORE_UNDO, "Undo of a restore", "restore.undo", Permission.BACKUPS_RESTORE,
        (Phase("connecting"), Phase("putting back")),
        node_bound=False, moves=True, spares=True,
    ),
    JobKind(
        JobType.ARCHIVE_INDEX, "Indexing", "archive.index", Permission.REPOSITORIES_INDEX,
        (Phase("removing what was deleted"), Phase("making the view"), Phase("reading archive", "archives")),
        spares=True,
    ),
    JobKind(
        JobType.REPOSITORY_PRUNE, "Prune", "repository.prune", Permission.REPOSITORIES_PRUNE,
        (_LOOKING, Phase("deleting", "archives"), _COMPACTING, _MEASURING),
        takes_turns=True, task="prune",
    ),
    JobKind(
        JobType.REPOSITORY_COMPACT, "Compaction", "repository.compact", Permission.REPOSITORIES_COMPACT,
        (_COMPACTING, _MEASURING),
        takes_turns=True, task="compact",
    ),
    JobKind(
        JobType.REPOSITORY_CHECK, "Check", "repository.check", Permission.REPOSITORIES_CHECK,
        (Phase("checking segments"), Phase("checking archives"), Phase("reading archive", "archives")),
        takes_turns=True, task="check",
    ),
    JobKind(
        JobType.RESTORE_TEST, "Restore test", "restore.test", Permission.REPOSITORIES_RESTORE_TEST,
        (
            Phase("making the view"), Phase("choosing"), Phase("counting"), Phase("reading", "bytes"),
            Phase("comparing with the server"),
        ),
        takes_turns=True, spares=True, task="restore_test",
    ),
    JobKind(
        JobType.REPOSITORY_VERIFY, "Verification", "repository.verify", Permission.REPOSITORIES_VERIFY,
        (Phase("reading segment", "segments"),),
    ),
    JobKind(
        JobType.REPOSITORY_RECOVER, "Recovery", "repository.recover", Permission.REPOSITORIES_RECOVER,
        (Phase("putting back"), _LOOKING),
    ),
    JobKind(
        JobType.REPOSITORY_IMPORT, "Import", "repository.import", Permission.REPOSITORIES_IMPORT,
        (_LOOKING, Phase("making the view"), Phase("reading archive", "archives")),
        retryable=False, spares=True,
    ),
    JobKind(
        JobType.REPOSITORY_MANAGE, "Takeover", "repository.manage", Permission.REPOSITORIES_MANAGE,
        (_LOOKING, Phase("reading archive", "archives")),
        spares=True,
    ),
    JobKind(
        JobType.STATS_COLLECT, "Statistics of servers", "stats.collect", Permission.SERVERS_COLLECT,
        (Phase("collecting", "servers"),),
        node_bound=False,
    ),
    JobKind(
        JobType.SELF_BACKUP, "Backup of Borgfleet itself", "self.backup", Permission.SETTINGS_WRITE,
        (
            Phase("preparing the repository"), Phase("copying the database"), Phase("backing up"), Phase("verifying"),
            Phase("deleting"),
        ),
    ),
)  # fmt: skip

KIND_OF: dict[str, JobKind] = {kind.type.value: kind for kind in JOB_KINDS}
"""By type, as rows and messages name it; rows may hold types that a newer version made."""
TAKE_TURNS = frozenset(kind.type.value for kind in JOB_KINDS if kind.takes_turns)
MOVES = frozenset(kind.type.value for kind in JOB_KINDS if kind.moves)
SPARES = frozenset(kind.type.value for kind in JOB_KINDS if kind.spares)
MAINTENANCE: dict[str, JobKind] = {kind.task: kind for kind in JOB_KINDS if kind.task is not None}
"""By the name in a repository's schedules."""
MAINTENANCE_TYPES = frozenset(kind.type.value for kind in MAINTENANCE.values())


def task_of(kind: str) -> str:
    """Return a type's name in a repository's schedules; of one that a newer version made what is likely its name."""
    found = KIND_OF.get(kind)
    return found.task if found is not None and found.task is not None else kind.removeprefix("repository_")
