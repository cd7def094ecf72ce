"""Restore tests: what is asked for, which files a sample is, and what counts as a proof. Pure."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from shared.domain.restoring import Item
from shared.domain.values import CleanText, Int63

FILES, MOST_BYTES = 50, 2 * 1024**3
"""Of a sample, where nobody says otherwise."""
_MOST_FILES = 10_000
_MOST_PATHS = 1000
_ARGV = 96 * 1024


class ProofState(StrEnum):
    """What a restore test came to; only `good` proves that backups can be restored."""

    GOOD = "good"
    SOURCE_DIFFERS = "source_differs"
    """All was read as it was backed up, and the server holds something else under the same size and time."""
    NOTHING = "nothing"
    """There was no file to read."""
    FAILED = "failed"
    """Something is not there, is not as it was recorded, or was not read."""
    DAMAGED = "damaged"
    """borg cannot read it any more."""


def _path(path: str) -> str:
    """Return a path inside an archive, as archives hold it: relative, and leading nowhere else."""
    parts = path.strip("/").split("/")
    if not path.strip("/") or any(part in ("", ".", "..") for part in parts) or "\0" in path:
        message = "a path as the backup lists it is expected, without `.`, `..` and double slashes"
        raise ValueError(message)
    return "/".join(parts)


PathInArchive = Annotated[CleanText, AfterValidator(_path)]
EncodedPath = Annotated[Item, Field(max_length=6000, pattern=r"^[A-Za-z0-9+/]+=*$")]
Kind: TypeAlias = Literal["sample", "named", "all"]


class RestoreTestAsked(BaseModel):
    """What a restore test reads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind = Field(
        default="sample",
        description="Some files of the newest and of other backups; what `paths` names; or all of the newest backup.",
    )
    files: int | None = Field(
        default=None, ge=1, le=_MOST_FILES, description=f"How many files a sample holds at most; {FILES}, without."
    )
    max_bytes: Int63 | None = Field(
        default=None,
        ge=1,
        description="A sample reads no more (2 GiB, without); what is named or all has to fit, if this is given.",
    )
    paths: list[PathInArchive] = Field(
        default=[],
        max_length=_MOST_PATHS,
        description="Of kind `named`: files and directories, as listed.",
    )
    paths_b64: list[EncodedPath] = Field(
        default=[], max_length=_MOST_PATHS, description="The same in base64, for names that are not UTF-8."
    )
    compare_source: bool = Field(
        default=True, description="Compare with the server's own files, where these were not changed since."
    )
    backup_job_id: uuid.UUID | None = Field(default=None, description="Of this backup job's backups alone.")
    archive_id: uuid.UUID | None = Field(default=None, description="Of this backup alone; the newest, without.")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "named" and not (self.paths or self.paths_b64):
            message = "kind `named` needs `paths`: what is to be read"
            raise ValueError(message)
        if self.kind != "named" and (self.paths or self.paths_b64):
            message = "`paths` goes with kind `named` alone"
            raise ValueError(message)
        if self.kind != "sample" and self.files is not None:
            message = "`files` goes with kind `sample` alone: what is named or all is read whole"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _fits_a_command_line(self) -> Self:
        if sum(len(path) + 4 for path in self.named) > _ARGV:
            message = "these are too many paths: name the directories that hold them"
            raise ValueError(message)
        return self

    @property
    def named(self) -> list[bytes]:
        """The paths as archives hold them."""
        text = [path.encode("utf-8", "surrogateescape") for path in self.paths]
        return list(dict.fromkeys([*text, *map(base64.b64decode, self.paths_b64)]))

    @property
    def most_files(self) -> int:
        """How many files a sample may hold."""
        return self.files or FILES

    @property
    def most_bytes(self) -> int | None:
        """How many bytes may be read; None: as many as there are."""
        return self.max_bytes or (MOST_BYTES if self.kind == "sample" else None)


@dataclass(slots=True)
class Findings:
    """What became of what was chosen; lists of paths hold the first ones, the figures count all."""

    chosen: int = 0
    """Files, and further names of files."""
    read: int = 0
    """Read to the end, and as they were recorded."""
    bytes: int = 0
    hashed: int = 0
    """Of which an earlier test's hash was there to compare with."""
    damaged: int = 0
    missing: int = 0
    differing: int = 0
    unread: int = 0
    """Chosen and not reached, since something before them broke."""
    source_compared: int = 0
    source_differing: int = 0
    seconds: float = 0.0
    """That reading took."""

    def add(self, other: Findings) -> None:
        """Add what became of others."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def state(self) -> ProofState:
        """What it comes to: good only if everything that was chosen was read and agreed."""
        if self.damaged:
            return ProofState.DAMAGED
        if self.missing or self.differing or self.unread or self.read != self.chosen:
            return ProofState.FAILED
        if not self.chosen:
            return ProofState.NOTHING
        return ProofState.SOURCE_DIFFERS if self.source_differing else ProofState.GOOD


_MEASURABLE = 1024 * 1024
"""With less, the time tells of everything but the reading of bytes."""


def full_restore_seconds(tested: Findings, original_size: int) -> float | None:
    """Return about how long a restore of all of an archive takes at the speed of a test; None: too little was read."""
    if tested.bytes < _MEASURABLE or tested.seconds <= 0:
        return None
    return original_size * tested.seconds / tested.bytes
