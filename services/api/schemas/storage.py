"""Storage pools, repositories and backups."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Literal

from pydantic import Field

from services.api.schemas.common import In, Out
from shared.domain.names import Name, Node, PoolPath, Text


class PoolIn(In):
    """A storage pool to add: a directory on a backup node."""

    name: Name = Field(examples=["main"])
    node: Node = Field(default="node1", examples=["node1"])
    path: PoolPath = Field(examples=["/opt/backups"])


class PoolOut(Out):
    """A storage pool."""

    id: uuid.UUID
    name: str
    node: str
    path: str
    created_at: datetime


class RepositoryIn(In):
    """A repository to add; borg makes it when it is first used."""

    name: Name = Field(examples=["system"])
    server_id: uuid.UUID
    pool_id: uuid.UUID
    encryption: Literal["repokey-blake2", "repokey"] = "repokey-blake2"


class RepositoryOut(Out):
    """A repository; sizes in bytes, null while unknown."""

    id: uuid.UUID
    name: str
    server_id: uuid.UUID
    server: str
    pool_id: uuid.UUID
    path: str
    encryption: str
    archive_count: int
    original_size: int | None
    compressed_size: int | None
    deduplicated_size: int | None
    refreshed_at: datetime | None
    created_at: datetime


class BackupOut(Out):
    """One archive; sizes in bytes, duration in seconds."""

    id: uuid.UUID
    name: str
    title: str = Field(description="Server and repository, as `web1 - system`.")
    server_id: uuid.UUID
    server: str
    repository_id: uuid.UUID
    repository: str
    backup_job_id: uuid.UUID | None
    job_id: uuid.UUID | None
    borg_id: str | None
    state: str
    started_at: datetime
    ended_at: datetime
    duration: float
    files: int
    original_size: int
    compressed_size: int
    deduplicated_size: int
    held_reason: str | None
    held_until: datetime | None
    created_at: datetime


class HoldIn(In):
    """Why an archive must stay, and until when; without an end, until it is released."""

    reason: Text = Field(min_length=1, examples=["audit 2026"])
    until: datetime | None = None
