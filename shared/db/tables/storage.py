"""Storage pools, repositories, archives; owned by the backup service."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, Versioned, binary_text, db_now, long_text
from shared.domain import backup_state
from shared.domain.ids import new_id
from shared.domain.importing import MANAGED, READ_ONLY


class StoragePool(Versioned, Base):
    """A directory on a backup node that holds repositories, and the address of its sshd."""

    __tablename__ = "storage_pools"
    DEFINITION = frozenset({"name", "node", "path"})

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(binary_text(63), unique=True)
    node: Mapped[str] = mapped_column(binary_text(63))
    path: Mapped[str] = mapped_column(binary_text(1024))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger, default=None)
    free_bytes: Mapped[int | None] = mapped_column(BigInteger, default=None)
    max_runs: Mapped[int | None] = mapped_column(default=None)
    """How many runs may be under way here at once; None: as the settings say."""
    problem: Mapped[str] = mapped_column(long_text(), default="")
    """Why its node cannot use it; empty when it can."""
    problem_code: Mapped[str] = mapped_column(binary_text(60), default="")
    marked_at: Mapped[datetime | None] = mapped_column(default=None)
    """When its mark was first seen: without it the disk is not mounted. See `services/backup/node/pools.py`."""
    measured_at: Mapped[datetime | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(default=db_now())


class BackupNode(Base):
    """A backup node as it describes itself at start: how servers reach its storage endpoint."""

    __tablename__ = "backup_nodes"

    name: Mapped[str] = mapped_column(binary_text(63), primary_key=True)
    endpoint_host: Mapped[str] = mapped_column(binary_text(254))
    endpoint_port: Mapped[int]
    endpoint_user: Mapped[str] = mapped_column(binary_text(32))
    endpoint_host_key: Mapped[str | None] = mapped_column(binary_text(1024), default=None)
    seen_at: Mapped[datetime] = mapped_column(default=db_now())


class Repository(Versioned, Base):
    """One borg repository at `<pool path>/<server name>/<repository name>`."""

    __tablename__ = "repositories"
    __table_args__ = (UniqueConstraint("server_id", "name"),)
    DEFINITION = frozenset({
        "compact_threshold_percent", "encryption", "mode", "name", "path", "pool_id", "prune_after_backup",
        "quota_bytes", "retention", "server_id",
    })  # fmt: skip

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(binary_text(63))
    server_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("servers.id"))
    pool_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("storage_pools.id"))
    path: Mapped[str] = mapped_column(binary_text(700), unique=True)
    encryption: Mapped[str] = mapped_column(binary_text(30), default="repokey-blake2")
    borg_id: Mapped[str | None] = mapped_column(binary_text(64), default=None)
    quota_bytes: Mapped[int | None] = mapped_column(BigInteger, default=None)
    """How large it may become: alerts tell of it before, and a session that goes beyond it is ended."""
    retention: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    """What its prunes keep of each backup job; without one nothing is ever pruned."""
    prune_after_backup: Mapped[bool] = mapped_column(default=True)
    compact_threshold_percent: Mapped[int] = mapped_column(default=10)
    """A segment is rewritten when at least so much of it is free."""
    verified_complete_at: Mapped[datetime | None] = mapped_column(default=None)
    """When it was last seen to hold every archive on record."""
    verified_complete_segment: Mapped[int | None] = mapped_column(BigInteger, default=None)
    """Its highest segment just before that: servers only append, so what is above it came later."""
    frozen_reason: Mapped[str] = mapped_column(long_text(), default="")
    """Why nothing may be pruned or compacted until a person has looked; empty when it may."""
    frozen_at: Mapped[datetime | None] = mapped_column(default=None)
    frozen_for: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    """Each cause by its code, as {"code", "reason", "message"}; `frozen_reason` is their text."""
    proven_transaction: Mapped[int | None] = mapped_column(BigInteger, default=None)
    """The last transaction that is known to be ours: the proof of what was written goes on after it."""
    session: Mapped[str] = mapped_column(binary_text(10), default="")
    """Whose session did not come to its end: `server` or `node`; empty when none is open."""
    session_job: Mapped[uuid.UUID | None] = mapped_column(default=None)
    """Whose run was the last to open a session of the server, and its last transaction before the first of them."""
    session_began: Mapped[int | None] = mapped_column(BigInteger, default=None)
    compacted_segment: Mapped[int | None] = mapped_column(BigInteger, default=None)
    """Up to here our own maintenance may have taken segments away; a gap above it is damage."""
    journal_number: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """How often its node noted in its journal how it stands; a journal that counts further is newer than this row."""
    restored_at: Mapped[datetime | None] = mapped_column(default=None)
    """When its node last found this row older than its journal: the database was restored from a backup."""
    restored_accepted_at: Mapped[datetime | None] = mapped_column(default=None)
    """When a person last said that what was lost of that time is set again, who, and why."""
    restored_accepted_by: Mapped[str] = mapped_column(binary_text(63), default="")
    restored_accepted_reason: Mapped[str] = mapped_column(long_text(), default="")
    rewritten_after: Mapped[int | None] = mapped_column(BigInteger, default=None)
    """The last segment before objects were deleted, replaced or stored as garbage: a recovery undoes what followed."""
    verified_segment: Mapped[int | None] = mapped_column(BigInteger, default=None)
    """Every object up to this segment was read and decrypted, or was there before that was done."""
    manifest_transaction: Mapped[int | None] = mapped_column(BigInteger, default=None)
    """As of which transaction its node keeps a copy of the manifest."""
    manifest_kept_at: Mapped[datetime | None] = mapped_column(default=None)
    unfrozen_by: Mapped[str] = mapped_column(binary_text(63), default="")
    unfrozen_reason: Mapped[str] = mapped_column(long_text(), default="")
    unfrozen_at: Mapped[datetime | None] = mapped_column(default=None)
    pruned_at: Mapped[datetime | None] = mapped_column(default=None)
    prune_marks: Mapped[dict[str, dict[str, Any]] | None] = mapped_column(JSON, default=None)
    """What its prunes left of each backup job: the deletion limit measures against it. See `retention.Mark`."""
    compacted_at: Mapped[datetime | None] = mapped_column(default=None)
    checked_at: Mapped[datetime | None] = mapped_column(default=None)
    """When a check of its segments last came to the end."""
    segments_damage: Mapped[str] = mapped_column(long_text(), default="")
    """What the last check of its segments found; empty when it found nothing."""
    archives_damage: Mapped[str] = mapped_column(long_text(), default="")
    """What the last check of its archives' metadata found."""
    unfinished_damage: Mapped[str] = mapped_column(long_text(), default="")
    """What a check of its segments found that goes on next time."""
    archive_count: Mapped[int] = mapped_column(default=0)
    original_size: Mapped[int | None] = mapped_column(BigInteger, default=None)
    compressed_size: Mapped[int | None] = mapped_column(BigInteger, default=None)
    deduplicated_size: Mapped[int | None] = mapped_column(BigInteger, default=None)
    refreshed_at: Mapped[datetime | None] = mapped_column(default=None)
    mode: Mapped[str] = mapped_column(binary_text(20), default=MANAGED, server_default=MANAGED)
    """`managed`, or `read_only`: it was imported, and nobody has said yet that it is ours to write to."""
    imported_at: Mapped[datetime | None] = mapped_column(default=None)
    """When it was imported; None: borg made it here. Its path is then the one of the row, wherever that is."""
    looked_transaction: Mapped[int | None] = mapped_column(BigInteger, default=None)
    """As of which transaction its archives were last taken in, while it is read only."""
    managed_at: Mapped[datetime | None] = mapped_column(default=None)
    managed_by: Mapped[str] = mapped_column(binary_text(63), default="", server_default="")
    managed_reason: Mapped[str] = mapped_column(long_text(), default="", server_default="")
    retention_confirmed_at: Mapped[datetime | None] = mapped_column(default=None)
    """When a person said that prunes may take what was imported: until then all of it stays."""
    retention_confirmed_by: Mapped[str] = mapped_column(binary_text(63), default="", server_default="")
    retention_confirmed_reason: Mapped[str] = mapped_column(long_text(), default="", server_default="")
    created_at: Mapped[datetime] = mapped_column(default=db_now())

    @property
    def read_only(self) -> bool:
        """Nothing may be written to it."""
        return self.mode == READ_ONLY

    @property
    def keeps_imported(self) -> bool:
        """No prune may take what was imported."""
        return self.imported_at is not None and self.retention_confirmed_at is None

    @property
    def restored_pending(self) -> bool:
        """The database was found restored, and nobody has said yet that what was set since is set again."""
        return self.restored_at is not None and self.restored_accepted_at is None


class Archive(Base):
    """One borg archive, shown to people as a backup; sizes in bytes."""

    __tablename__ = "archives"
    __table_args__ = (
        UniqueConstraint("repository_id", "borg_id"),
        Index("ix_archives_created_at_id", "created_at", "id"),
        Index("ix_archives_server_id_created_at", "server_id", "created_at"),
        Index("ix_archives_backup_job_id_created_at", "backup_job_id", "created_at"),
        Index("ix_archives_repository_id_created_at_id", "repository_id", "created_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    repository_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("repositories.id"))
    server_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("servers.id"))
    backup_job_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    job_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    name: Mapped[str] = mapped_column(binary_text(700))
    borg_id: Mapped[str | None] = mapped_column(binary_text(64), default=None)
    state: Mapped[str] = mapped_column(binary_text(20), default="succeeded")
    trusted: Mapped[bool] = mapped_column(default=False)
    """The truth gate found no doubt; nobody else writes this."""
    reasons: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    """What the gate found: `shared.domain.backup_state.Reason` as JSON."""
    evidence: Mapped[dict[str, Any] | None] = mapped_column(
        JSON(none_as_null=True), default=None, deferred=True, deferred_raiseload=True
    )
    """What its sources were and gave, for later runs to be held against; lists of archives do not load it."""
    accepted_at: Mapped[datetime | None] = mapped_column(default=None)
    """When a person said that a doubtful archive is as it should be."""
    accepted_by: Mapped[str] = mapped_column(binary_text(63), default="")
    accepted_reason: Mapped[str] = mapped_column(long_text(), default="")
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime]
    duration: Mapped[float] = mapped_column(default=0.0)
    files: Mapped[int] = mapped_column(BigInteger, default=0)
    original_size: Mapped[int] = mapped_column(BigInteger, default=0)
    compressed_size: Mapped[int] = mapped_column(BigInteger, default=0)
    deduplicated_size: Mapped[int] = mapped_column(BigInteger, default=0)
    deleting: Mapped[bool] = mapped_column(default=False)
    """A deletion of ours is under way, or broke off: that it is missing is no loss."""
    missing: Mapped[bool] = mapped_column(default=False)
    """It was missing from the repository without our doing, and has not been seen there since."""
    segment: Mapped[int | None] = mapped_column(BigInteger, default=None)
    """The repository's last transaction when its run ended: all that the run added stands before it."""
    began_segment: Mapped[int | None] = mapped_column(BigInteger, default=None)
    """The last transaction before its run: all that the run added stands after it; None where nobody knows."""
    proven_at: Mapped[datetime | None] = mapped_column(default=None)
    """When every object that its run added had been read and decrypted."""
    verified_at: Mapped[datetime | None] = mapped_column(default=None)
    """When all its data was last read and was sound."""
    damage: Mapped[str] = mapped_column(long_text(), default="")
    """Why it cannot be read any more; empty as long as nobody found that."""
    imported: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Plain borg made it: its name may be any, so it is read by its id, and no gate has judged its run."""
    held_reason: Mapped[str | None] = mapped_column(binary_text(200), default=None)
    held_until: Mapped[datetime | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(default=db_now())
    """When we observed the run: retention counts by this, never by the client's clock."""


def is_held(archive: Archive, now: datetime) -> bool:
    """Tell whether an archive is pinned at the database's time `now`."""
    return backup_state.is_held(reason=archive.held_reason, until=archive.held_until, now=now)
