"""Backup jobs."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field, model_validator

from services.api.kernel.patches import patch_of
from services.api.kernel.schedules import ScheduleIn, ScheduleOut
from services.api.kernel.schemas import SEEN, VERSION, In, Out
from shared.borg.commands import check_compression, check_exclude, check_pattern
from shared.domain.names import Name, SourcePath
from shared.domain.retention import Policy
from shared.domain.values import CleanLines, CleanText, Int32
from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable


def _plainly(check: Callable[[str], str]) -> Callable[[str], str]:
    """Let pydantic see our refusal as the ValueError it expects."""

    def checked(value: str) -> str:
        try:
            return check(value)
        except Invalid as error:
            message = f"{error.message}; {error.remedy}"
            raise ValueError(message) from error

    return checked


Exclude = Annotated[CleanText, AfterValidator(_plainly(check_exclude))]
Pattern = Annotated[CleanText, AfterValidator(_plainly(check_pattern))]
Compression = Annotated[CleanText, AfterValidator(_plainly(check_compression))]
Hook = Annotated[CleanLines, Field(min_length=1)]


class BackupJobIn(In):
    """What to back up, from where, to where, and how."""

    name: Name = Field(examples=["web1-system"])
    server_id: uuid.UUID
    repository_id: uuid.UUID
    sources: list[SourcePath] = Field(min_length=1, max_length=100, examples=[["/etc", "/home"]])
    excludes: list[Exclude] = Field(default=[], max_length=500, examples=[["sh:/home/*/.cache"]])
    patterns: list[Pattern] = Field(default=[], max_length=500, examples=[["- sh:**/*.tmp"]])
    compression: Compression = "zstd,3"
    one_file_system: bool = False
    exclude_caches: bool = True
    upload_limit_kib: Int32 | None = Field(default=None, ge=1, description="KiB a second.")
    transport: Literal["tunnel", "direct"] = "tunnel"
    pre_hook: Hook | None = Field(
        default=None, description="A shell command run before, on the server; it must end with 0."
    )
    post_hook: Hook | None = Field(default=None, description="A shell command run after, whatever happened.")
    hook_seconds: int = Field(default=300, ge=1, le=86_400)
    time_limit_seconds: Int32 | None = Field(default=None, ge=1)
    rpo_seconds: int | None = Field(
        default=None, ge=300, le=366 * 86_400, description="How old the last good backup may be before an alert."
    )
    retention: Policy | None = Field(
        default=None, description="What prunes keep of its backups; null: as its repository says."
    )
    priority: int = Field(default=0, ge=-100, le=100, description="Where runs wait for a free slot, the higher first.")
    max_failures: int | None = Field(
        default=None,
        ge=1,
        le=20,
        description="After so many failures it has failed for good; null: as the settings say.",
    )
    retry_seconds: int | None = Field(
        default=None, ge=1, le=86_400, description="Wait after the first failure, doubled after each other; null: 5."
    )
    enabled: bool = True
    schedules: list[ScheduleIn] | None = Field(
        default=None, max_length=10, description="When it runs by itself; null: as it is, which is never for a new one."
    )


_FIGURES = frozenset({"restore_proven_at", "full_restore_seconds", "last_good_at", "checked_at", "compacted_at"})


class BackupJobPut(BackupJobIn):
    """All of a backup job, with the version that it was made from, if one likes.

    Figures that GET shows are passed over: who sends back what he read need not know which of them came later.
    """

    version: int | None = SEEN

    @model_validator(mode="before")
    @classmethod
    def _without_figures(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in cast("dict[str, Any]", given).items() if name not in _FIGURES}


class BackupJobPatch(patch_of(BackupJobIn)):
    """What is to change of a backup job; null takes the default again, and all schedules away."""


class BackupJobOut(Out):
    """A backup job."""

    id: uuid.UUID
    name: str
    server_id: uuid.UUID
    server: str
    repository_id: uuid.UUID
    repository: str
    enabled: bool
    sources: list[str]
    excludes: list[str]
    patterns: list[str]
    compression: str
    one_file_system: bool
    exclude_caches: bool
    upload_limit_kib: int | None
    transport: str
    pre_hook: str | None
    post_hook: str | None
    hook_seconds: int
    time_limit_seconds: int | None
    rpo_seconds: int | None
    retention: Policy | None
    priority: int
    max_failures: int | None
    retry_seconds: int | None
    schedules: list[ScheduleOut]
    last_good_at: datetime | None = Field(description="When its last good backup was made.")
    restore_proven_at: datetime | None = Field(
        default=None, description="When a restore test or a restore last proved that its backups can be restored."
    )
    full_restore_seconds: float | None = Field(
        default=None, description="About how long a restore of all of a backup takes, by that proof."
    )
    checked_at: datetime | None = Field(description="When its repository was last checked to the end.")
    compacted_at: datetime | None = Field(description="When its repository was last compacted.")
    version: int = VERSION
    created_at: datetime
