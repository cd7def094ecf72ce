"""What is known of a run, in the form in which it is stored: the gate judges by it, whichever attempt wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from shared.domain.archive import ArchiveFigures
from shared.domain.message import Said, plain
from shared.domain.messages import read, stored

VERSION = 1
"""Evidence of another version is not read: the gate then says that the report is lost."""


class Kind(StrEnum):
    """What a source path is on the server."""

    DIRECTORY = "directory"
    FILE = "file"
    LINK = "link"
    OTHER = "other"
    MISSING = "missing"
    HANGS = "hangs"


class Trouble(StrEnum):
    """What one of borg's warnings or errors is about."""

    CHANGED = "changed"
    VANISHED = "vanished"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    OTHER = "other"
    ERROR = "error"


class _Stored(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore")


class Mount(_Stored):
    """A mount point below a source, as the archive names it."""

    path: str
    automatic: bool = False
    """Mounted when somebody comes, and unmounted when nobody does: it may be missing from a look."""


class Source(_Stored):
    """What the server says of one source; None where it could not say."""

    path: str
    kind: Kind
    target: str = ""
    """Where a link points to."""
    empty: bool | None = None
    cache_tag: bool = False
    """CACHEDIR.TAG lies at its root."""
    mounted: bool | None = None
    """It is a mount point itself."""
    device: str = ""
    filesystem: str = ""
    holder: str = ""
    """The mount point that it lies on: itself, or one above it."""
    below: tuple[str, ...] = ()
    """Other file systems that are mounted below it."""
    mounts: tuple[Mount, ...] = ()
    """All that is mounted below it, but for what a system mounts and unmounts by itself."""


class Given(_Stored):
    """What one source gave to the archive: regular files, and their bytes."""

    path: str
    files: NonNegativeInt
    size: NonNegativeInt
    lacking: NonNegativeInt = 0
    """Of the files those whose content is not, or not whole, in the repository."""


class Line(_Stored):
    """One of borg's warnings or errors."""

    level: str
    message: str
    trouble: Trouble


class Ended(_Stored):
    """How borg ended: its status, exact counts of what it complained of, and the first and last of it."""

    status: int
    counts: Mapping[Trouble, NonNegativeInt] = Field(default_factory=dict[Trouble, int])
    shown: tuple[Line, ...] = ()
    plain: NonNegativeInt = 0
    """Lines that complain of something and are no messages of borg's: what they are about is unknown."""

    def count(self, *troubles: Trouble) -> int:
        """Return how many lines were about any of these."""
        return sum(self.counts.get(trouble, 0) for trouble in troubles)

    def examples(self, trouble: Trouble, limit: int) -> list[str]:
        """Return the first messages about this."""
        return [line.message for line in self.shown if line.trouble is trouble][:limit]


class HookEnd(_Stored):
    """How a hook ended; without a problem it did what it should."""

    problem: str = ""
    message: dict[str, Any] | None = None
    """The problem as an entry; None with what an older version wrote."""
    ran: bool = True
    """False where it could not even be run."""

    @classmethod
    def of(cls, problem: Said | None, *, ran: bool = True) -> Self:
        """Return how a hook ended that has this problem, or none."""
        return cls(problem=problem.text if problem else "", message=stored(problem) if problem else None, ran=ran)

    @property
    def told(self) -> Said:
        """What is wrong with how it ended."""
        return read(self.message) or plain(self.problem, code="post_hook_failed")


class LeftOut(_Stored):
    """A place of ours that borg was told to leave out, as it is said."""

    text: str
    message: dict[str, Any] | None = None

    @classmethod
    def of(cls, said: Said) -> Self:
        """Return it as it is stored."""
        return cls(text=said.sentences, message=stored(said))

    @property
    def said(self) -> Said:
        """What is said of it."""
        return read(self.message) or plain(self.text, code="own_place_left_out")


class RunEvidence(_Stored):
    """Everything that is known of one run; each part is written as soon as it is known."""

    version: int = VERSION
    archives: tuple[str, ...] = ()
    """The names that this run's attempts gave to borg."""
    looked: tuple[Source, ...] | None = None
    """The sources just before borg read them."""
    looked_after: tuple[Source, ...] | None = None
    """And just after."""
    left_out: tuple[str, ...] = ()
    """Places of ours below the sources that borg was told to leave out, in a sentence each: by older versions."""
    places_left_out: tuple[LeftOut, ...] = ()
    ended: Ended | None = None
    report: ArchiveFigures | None = None
    """What borg itself said of the archive."""
    given: tuple[Given, ...] | None = None
    post_hook: HookEnd | None = None
    late_hook: HookEnd | None = None
    """The post-hook that an earlier run or attempt still owed."""
    cut: tuple[str, ...] = ()
    """What cut the run short after borg had made the archive."""

    @classmethod
    def read(cls, stored: object) -> Self | None:
        """Return what was stored; None where that cannot be understood."""
        try:
            found = cls.model_validate(stored)
        except ValidationError:
            return None
        return found if found.version == VERSION else None

    @property
    def left_out_places(self) -> tuple[LeftOut, ...]:
        """Places of ours below the sources that borg was told to leave out, whichever version wrote them down."""
        return (*self.places_left_out, *(LeftOut(text=one) for one in self.left_out))

    def but(self, **known: object) -> Self:
        """Return the same with more that is known."""
        return self.model_copy(update=known)


class SourceRecord(_Stored):
    """What is kept of a source with its archive: what it was, and what it gave."""

    source: Source
    files: NonNegativeInt | None = None
    size: NonNegativeInt | None = None
    why_none: str | None = None
    """Where it gave no file: the code of why, by what it was alone. None with archives of older versions."""


class ArchiveEvidence(_Stored):
    """What is kept with an archive, for later runs to be held against."""

    version: int = VERSION
    sources: tuple[SourceRecord, ...] = ()
    mounts: tuple[Given, ...] = ()
    """What came from each mount below the sources."""
    listed: bool = False
    """Counted in the archive's own listing; of older archives with one source borg's sums stand there."""
    unreadable: NonNegativeInt = 0
    status: int | None = None
    since: AwareDatetime | None = None
    """When the archive was made that a person had accepted last: it was held against that one and what came after."""

    @classmethod
    def of(cls, run: RunEvidence, since: datetime | None = None, why_none: Mapping[str, str] | None = None) -> Self:
        """Return what is to be kept of a run; of its sources that gave no file, why."""
        given = {one.path: one for one in run.given or ()}
        points = {mount.path for source in run.looked or () for mount in source.mounts}
        sources = tuple(
            SourceRecord(
                source=source,
                files=given[source.path].files if source.path in given else None,
                size=given[source.path].size if source.path in given else None,
                why_none=(why_none or {}).get(source.path),
            )
            for source in run.looked or ()
        )
        ended = run.ended
        return cls(
            sources=sources,
            mounts=tuple(given[point] for point in sorted(points & given.keys())),
            listed=run.given is not None,
            unreadable=ended.count(Trouble.UNREADABLE) if ended else 0,
            status=ended.status if ended else None,
            since=since,
        )

    @classmethod
    def read(cls, stored: object) -> Self | None:
        """Return what was stored; None where there is nothing, or nothing that can be understood."""
        try:
            found = cls.model_validate(stored)
        except ValidationError:
            return None
        return found if found.version == VERSION else None
