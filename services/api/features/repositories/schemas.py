"""Storage pools, repositories and backups."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, model_validator

from services.api.kernel.patches import patch_of
from services.api.kernel.schedules import MaintenanceScheduleIn, MaintenanceScheduleOut
from services.api.kernel.schemas import VERSION, In, Out, Secret, Telling
from shared.domain.importing import LONGEST_KEY, ImportPath, check_keyfile
from shared.domain.names import Justification, Name, Node, PoolPath
from shared.domain.retention import Policy
from shared.domain.values import Int63


class PoolIn(In):
    """A storage pool to add: a directory on a backup node."""

    name: Name = Field(examples=["main"])
    node: Node = Field(default="node1", examples=["node1"])
    path: PoolPath = Field(examples=["/opt/backups"])


class PoolChange(In):
    """What may be changed of a storage pool: its directory stays where its repositories are."""

    name: Name


class PoolPatch(patch_of(PoolChange)):
    """What is to change of a storage pool."""


class PoolOut(Out):
    """A storage pool."""

    id: uuid.UUID
    name: str
    node: str
    path: str
    size_bytes: int | None = Field(description="Size of its file system; null before its node measured it.")
    free_bytes: int | None
    problem: str = Field(description="Why its node cannot use it; empty when it can.")
    problem_code: str = Field(description="The same for programs, as pool_not_mounted.")
    marked_at: datetime | None = Field(description="When its mark was first seen; from then on it must be there.")
    measured_at: datetime | None
    restored_at: datetime | None = Field(
        description="When the database was last found older than one of its repositories, and nobody accepted that yet."
    )
    version: int = VERSION
    created_at: datetime


Quota = Annotated[
    Int63 | None,
    Field(
        ge=1,
        description="How large it may become: alerts tell of it before, and a backup that goes beyond it is ended.",
    ),
]


class RepositoryIn(In):
    """A repository to add; borg makes it when it is first used."""

    name: Name = Field(examples=["system"])
    server_id: uuid.UUID
    pool_id: uuid.UUID
    encryption: Literal["repokey-blake2", "repokey"] = "repokey-blake2"
    quota_bytes: Quota = None


def _keyfile(value: SecretStr) -> SecretStr:
    return SecretStr(check_keyfile(value.get_secret_value()))


class ImportIn(In):
    """A repository to import that plain borg made: where it lies, whose it is, and what opens it."""

    pool_id: uuid.UUID = Field(description="Whose node reads it; the path is below it, or below `import_roots`.")
    server_id: uuid.UUID = Field(description="The server of which its backups are.")
    path: ImportPath = Field(examples=["/opt/backups/old/web1"])
    name: Name | None = Field(default=None, description="What it is called from now on; default: its directory's name.")
    passphrase: Secret | None = Field(default=None, description="Sealed at once, and never shown again.")
    keyfile: Annotated[SecretStr, Field(max_length=LONGEST_KEY), AfterValidator(_keyfile)] | None = Field(
        default=None, description="The text of its key file, where its key is not in the repository itself."
    )
    unencrypted: bool = Field(default=False, description="It is meant to be unencrypted: else it is refused.")


class ManageIn(In):
    """Why a repository is taken over: it is recorded."""

    reason: Justification = Field(examples=["its own cron job is switched off"])


class ConfirmRetentionIn(In):
    """Why prunes may take what was imported: it is recorded."""

    reason: Justification = Field(examples=["the retention is as we want it"])


class RepositoryChange(In):
    """What may be changed of a repository."""

    compact_threshold_percent: int = Field(
        default=10, ge=0, le=99, description="Compaction rewrites segments of which so much is free."
    )

    quota_bytes: Quota = None
    schedules: list[MaintenanceScheduleIn] | None = Field(
        default=None, max_length=10, description="When it is pruned, compacted and checked; null: as it is."
    )
    retention: Policy | None = Field(default=None, description="What prunes keep; nothing is ever pruned without.")
    prune_after_backup: bool = Field(default=True, description="After each good backup, if there is a retention.")


class RepositoryPatch(patch_of(RepositoryChange)):
    """What is to change of a repository; null takes the default again, and all schedules away."""


class PruneIn(In):
    """How to prune."""

    override_deletion_limit: bool = Field(
        validation_alias=AliasChoices("override_deletion_limit", "past_the_brake"),
        default=False,
        description="Prune even if more would be deleted at once than the deletion limit allows.",
    )


class RetentionPreview(Out):
    """What a prune would do to one backup."""

    id: uuid.UUID
    name: str
    backup_job_id: uuid.UUID | None
    created_at: datetime = Field(description="When it was observed: what retention counts by.")
    original_size: int
    kept_by: str | None = Field(description="The rule that keeps it; null: it goes.")


class PreviewedPrune(Out):
    """What a prune would keep and drop, newest first."""

    kept: int
    dropped: int
    deletion_limit_reached: bool = Field(
        description="More would be deleted at once than the deletion limit allows: nothing would."
    )
    backups: list[RetentionPreview]


class UnfreezeIn(In):
    """Why a repository is let go again: it is recorded."""

    reason: Justification = Field(examples=["the client deleted them by mistake"])


class RecoverIn(In):
    """Why a repository is recovered: it is recorded."""

    reason: Justification = Field(examples=["the server was taken over and emptied the manifest"])


class AcceptRestoredIn(In):
    """Why the restored database is taken as it is now: it is recorded."""

    reason: Justification = Field(examples=["holds and retention are set again"])


class FrozenFor(Telling):
    """One cause of a frozen repository."""

    code: str = Field(description="What happened, as `archives_missing` or `repository_key_changed`.")
    reason: str

    @model_validator(mode="after")
    def _in_todays_words(self) -> Self:
        self.reason = self.message.text if self.message else self.reason
        return self


class LostBackup(Out):
    """A backup that is missing from its repository."""

    id: uuid.UUID
    name: str
    created_at: datetime


class RecoveryPreview(Out):
    """What a recovery has to go by, and what it would bring back."""

    frozen_for: list[FrozenFor]
    recorded: int = Field(description="Backups that ought to be in the repository.")
    missing: int = Field(description="Of these, how many were not there when it was listed last.")
    comes_back: list[LostBackup] = Field(description="Those, as far as their data is there; the newest 500.")
    undone_after: int | None = Field(description="Objects deleted or replaced after this transaction are put back.")
    has_key: bool = Field(description="Its key is recorded: one that was changed is put back.")
    manifest_kept_at: datetime | None = Field(description="When its node last kept a copy of the manifest.")
    manifest_transaction: int | None = Field(description="As of which transaction.")


class RepositoryOut(Out):
    """A repository; sizes in bytes, null while unknown."""

    id: uuid.UUID
    name: str
    server_id: uuid.UUID
    server: str
    pool_id: uuid.UUID
    path: str
    encryption: str
    mode: str = Field(description="`managed`; or `read_only`: imported, and nothing may write to it yet.")
    imported_at: datetime | None = Field(description="When it was imported; null: Borgfleet made it.")
    managed_at: datetime | None = Field(description="When it was taken over.")
    managed_by: str
    managed_reason: str
    retention_confirmed_at: datetime | None = Field(
        description="When somebody said that prunes may take what was imported: until then all of it stays."
    )
    retention_confirmed_by: str
    retention_confirmed_reason: str
    quota_bytes: int | None
    retention: Policy | None
    prune_after_backup: bool
    frozen_reason: str = Field(description="Why nothing may be pruned or compacted; empty when it may.")
    frozen_for: list[FrozenFor] = Field(description="Each cause by its code; empty when it is not frozen.")
    frozen_at: datetime | None
    unfrozen_by: str
    unfrozen_reason: str
    unfrozen_at: datetime | None
    restored_at: datetime | None = Field(
        description="When the database was last found older than the repository: it was restored from a backup."
    )
    restored_accepted_at: datetime | None = Field(
        description="When somebody said that what people had set since is set again; the alert `database_older` ends."
    )
    restored_accepted_by: str
    restored_accepted_reason: str
    compact_threshold_percent: int
    pruned_at: datetime | None
    compacted_at: datetime | None
    checked_at: datetime | None = Field(description="When a check of its segments last came to the end.")
    restore_proven_at: datetime | None = Field(
        default=None, description="When a restore test or a restore last proved that its backups can be restored."
    )
    full_restore_seconds: float | None = Field(
        default=None, description="About how long a restore of all of a backup takes, by that proof."
    )
    damage: str = Field(description="What checks found wrong with it; empty when nothing.")
    schedules: list[MaintenanceScheduleOut]
    archive_count: int
    original_size: int | None
    compressed_size: int | None
    deduplicated_size: int | None
    refreshed_at: datetime | None
    version: int = VERSION
    created_at: datetime
