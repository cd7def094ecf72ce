"""Repositories: pruning, compacting, checking, and what must not happen to them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import ClassVar, TypeAlias

from pydantic import Field

from shared.domain.verification import Depth
from shared.events.base import Command, Event, JobFact


class RepositoryPrune(Command):
    """Delete what a repository's retention does not keep, and compact."""

    subject: ClassVar[str] = "repository.prune"

    repository_id: uuid.UUID | None = Field(default=None, description="The repository to prune.")


class RepositoryCompact(Command):
    """Free what deleted archives hold, unless anything is missing without our doing."""

    subject: ClassVar[str] = "repository.compact"

    repository_id: uuid.UUID | None = Field(default=None, description="The repository to compact.")


class RepositoryCheck(Command):
    """Look whether what a repository holds is sound; nothing is repaired."""

    subject: ClassVar[str] = "repository.check"

    repository_id: uuid.UUID | None = Field(default=None, description="The repository to check.")
    depth: Depth = Field(default=Depth.ARCHIVES, description="How deep: segments, archives or data.")
    budget_seconds: int | None = Field(
        default=None, ge=60, le=7 * 86_400, description="How long it may take; the next check goes on."
    )


class RestoreTest(Command):
    """Read files of backups as a restore would, compare them, and throw them away."""

    subject: ClassVar[str] = "restore.test"

    repository_id: uuid.UUID | None = Field(default=None, description="The repository of which backups are tested.")


class RepositoryVerify(Command):
    """Read and decrypt every object that was added since the last time; so each archive is proven."""

    subject: ClassVar[str] = "repository.verify"

    repository_id: uuid.UUID | None = Field(default=None, description="The repository to verify.")
    budget_seconds: int | None = Field(
        default=None, ge=60, le=7 * 86_400, description="How long it may take; the next one goes on."
    )


class RepositoryRecover(Command):
    """Put back what was changed without our doing: the key, deleted objects, a manifest with all archives."""

    subject: ClassVar[str] = "repository.recover"

    repository_id: uuid.UUID | None = Field(default=None, description="The repository to recover.")


class ArchiveIndex(Command):
    """Bring a repository's catalogue of files up to date: add the archives that it lacks, drop those that are gone."""

    subject: ClassVar[str] = "archive.index"

    repository_id: uuid.UUID | None = Field(default=None, description="The repository to index.")
    rebuild: bool = Field(default=False, description="Build the catalogue anew from every archive.")


class RepositoryImport(Command):
    """Take in a repository that plain borg made, or look again at one that is read only; secrets are in no message."""

    subject: ClassVar[str] = "repository.import"

    repository_id: uuid.UUID | None = Field(default=None, description="The read-only repository to look at again.")


class RepositoryManage(Command):
    """Take over a repository that was imported: from then on it is written to."""

    subject: ClassVar[str] = "repository.manage"

    repository_id: uuid.UUID | None = Field(default=None, description="The repository to take over.")


Maintenance: TypeAlias = (
    RepositoryPrune
    | RepositoryCompact
    | RepositoryCheck
    | RestoreTest
    | RepositoryVerify
    | RepositoryRecover
    | ArchiveIndex
    | RepositoryImport
)


class RepositoryPruned(JobFact):
    """A prune ended; what went is gone from the repository and from the records."""

    subject: ClassVar[str] = "repository.pruned"

    repository_id: uuid.UUID
    deleted: int
    kept: int


class RepositoryCompacted(JobFact):
    """A compaction ended; the size on disk after it, in bytes."""

    subject: ClassVar[str] = "repository.compacted"

    repository_id: uuid.UUID
    deduplicated_size: int


class RepositoryChecked(JobFact):
    """A check ended; `damage` says what is wrong with the repository, empty when nothing is."""

    subject: ClassVar[str] = "repository.checked"

    repository_id: uuid.UUID
    depth: str
    finished: bool
    """False: its budget was spent before the end; the next check goes on."""
    damage: str
    damaged_archives: int


class RestoreTested(JobFact):
    """A restore test ended; only the state `good` proves that backups can be restored."""

    subject: ClassVar[str] = "restore.tested"

    repository_id: uuid.UUID
    kind: str
    state: str
    """good, source_differs, nothing, failed or damaged."""
    files: int
    bytes: int
    damaged: int


class RepositoryVerified(JobFact):
    """What was added to a repository was read and decrypted; `garbage` counts the objects that could not be."""

    subject: ClassVar[str] = "repository.verified"

    repository_id: uuid.UUID
    finished: bool
    """False: its budget was spent before the end; the next one goes on."""
    objects: int
    garbage: int
    proven: int
    """Archives of which every object that their run added is proven now."""


class RepositoryRecovered(JobFact):
    """A repository was put back; `remaining` says why it is still frozen, empty when it is not."""

    subject: ClassVar[str] = "repository.recovered"

    repository_id: uuid.UUID
    archives: int
    """On record and in the repository again."""
    put_back: int
    """Objects that had been deleted or replaced."""
    key: bool
    """Its key had been changed, and is the recorded one again."""
    remaining: str


class RepositoryImported(JobFact):
    """A repository that plain borg made was taken in, or looked at again; nothing of it was changed."""

    subject: ClassVar[str] = "repository.imported"

    repository_id: uuid.UUID
    archives: int
    added: int
    gone: int
    """Archives that its owner has deleted since the last look."""


class RepositoryManaged(JobFact):
    """A repository that was imported is ours to write to."""

    subject: ClassVar[str] = "repository.managed"

    repository_id: uuid.UUID
    archives: int


class MaintenanceMissed(Event):
    """A prune, a compaction or a check that was due was not made."""

    subject: ClassVar[str] = "repository.missed"

    repository_id: uuid.UUID
    task: str
    due_at: datetime
    code: str
    reason: str


class RepositoryFrozen(JobFact):
    """Something happened to a repository without our doing: nothing is pruned until somebody looked."""

    subject: ClassVar[str] = "repository.frozen"

    repository_id: uuid.UUID
    missing: int
    reason: str
    code: str = ""
    """What happened, as `archives_missing`, `history_rewritten` or `repository_key_changed`."""
