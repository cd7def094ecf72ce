"""The wizard: all that a first backup needs."""

from __future__ import annotations

import uuid
from typing import Literal

from pydantic import Field

from services.api.features.backup_jobs.schemas import Compression, Exclude
from services.api.kernel.schemas import In
from shared.domain.names import Name, SourcePath


class WizardJob(In):
    """The backup job of the wizard."""

    name: Name
    sources: list[SourcePath] = Field(min_length=1, max_length=100, examples=[["/etc", "/home"]])
    excludes: list[Exclude] = Field(default=[], max_length=500)
    compression: Compression = "zstd,3"
    transport: Literal["tunnel", "direct"] = "tunnel"


class WizardIn(In):
    """A repository, a backup job in it, and its first run, in one transaction."""

    server_id: uuid.UUID
    pool_id: uuid.UUID
    repository: Name
    job: WizardJob
