"""What a run is held against: the good archives of its backup job, those that the gate or a person trusted. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from services.backup.truth.evidence import ArchiveEvidence
from shared.domain.archive import CLOCK_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from services.backup.truth.evidence import Source


@dataclass(frozen=True, slots=True)
class Good:
    """A good archive of the backup job; its sizes in bytes."""

    created_at: datetime
    accepted_at: datetime | None
    files: int
    original_size: int
    evidence: object = None
    """As stored with it; nothing with archives of older versions."""


_Read: TypeAlias = "tuple[Good, ArchiveEvidence | None]"


@dataclass(frozen=True, slots=True)
class SourceReference:
    """What a source was and gave."""

    latest: Source
    """As the latest good archive has it."""
    last_files: int | None
    files: int | None
    """The most it gave; None where nobody counted."""
    size: int | None
    why_none: str | None = None
    """Why it gave no file to the latest good archive; None where it gave some, or where nobody wrote down why."""


@dataclass(frozen=True, slots=True)
class MountReference:
    """What came at most from a mount below a source."""

    files: int
    size: int
    automatic: bool


@dataclass(frozen=True, slots=True)
class Reference:
    """The largest of the good archives; per source, too, where that is known."""

    files: int
    original_size: int
    last_size: int
    """Of the latest: how much a run will read, roughly."""
    sources: Mapping[str, SourceReference] = field(default_factory=dict[str, SourceReference])
    mounts: Mapping[str, MountReference] = field(default_factory=dict[str, MountReference])
    """Below the sources, as the archives name them."""
    removed: Mapping[str, int | None] = field(default_factory=dict[str, "int | None"])
    """Sources of the latest that the backup job has no more, and how many files they gave."""
    unreadable: int = 0
    """How many entries the latest good archive lacks since they could not be read: a person accepted them."""
    told_below: frozenset[str] = frozenset()
    """Mounts below the sources that were told of already."""
    since: datetime | None = None
    """When the archive was made that a person last accepted: what was good before it is no measure any more."""
    trusted: bool = True
    """False where no archive of the backup job is good: doubtful ones are the measure, and excuse nothing."""


def reference_of(
    good: Sequence[Good], *, now: datetime | None = None, sources: Sequence[str] | None = None, trusted: bool = True
) -> Reference | None:
    """Return what the good archives, the latest first, amount to; None without any.

    By the sources that the backup job has now. What was made later than now, by a clock that was wrong, has no time.
    """
    end = now + CLOCK_TOLERANCE if now is not None else None
    # A time from the future tells nothing of what is the latest.
    good = sorted(good, key=lambda one: end is not None and one.created_at > end)
    read = [(one, ArchiveEvidence.read(one.evidence)) for one in good]
    since, read = _accepted(read, end)
    if not read:
        return None
    known = [evidence for _, evidence in read if evidence]
    held = [_held(one, evidence, sources) for one, evidence in read]
    latest = known[0].sources if known else ()
    return Reference(
        files=max(files for files, _ in held),
        original_size=max(size for _, size in held),
        last_size=read[0][0].original_size,
        sources=_sources(known) if trusted else _excusing_nothing(_sources(known)),
        mounts=_mounts(known),
        removed={one.source.path: one.files for one in latest if sources and one.source.path not in sources},
        unreadable=known[0].unreadable if known and trusted else 0,
        told_below=frozenset(point for one in known for record in one.sources for point in record.source.below),
        since=since,
        trusted=trusted,
    )


def _accepted(read: list[_Read], end: datetime | None) -> tuple[datetime | None, list[_Read]]:
    """Return when the archive was made that a person last accepted, and those that are the measure since then."""

    def made(one: Good, evidence: ArchiveEvidence | None) -> datetime | None:
        # None is accepted before it is made: the earlier of the two is nearer to the truth. And it was made after what
        # it was held against, whatever its clock said.
        moments = [min(one.created_at, one.accepted_at or one.created_at), evidence.since if evidence else None]
        return max((at for at in moments if at is not None and (end is None or at <= end)), default=None)

    moments = [made(*entry) for entry in read if entry[0].accepted_at is not None]
    # The accepted archive may have been pruned since; those that were held against it remember.
    moments += [evidence.since for _, evidence in read if evidence]
    since = max((at for at in moments if at is not None and (end is None or at <= end)), default=None)
    if since is None:
        return None, read
    return since, [entry for entry in read if (at := made(*entry)) is not None and at >= since]


def _held(one: Good, evidence: ArchiveEvidence | None, sources: Sequence[str] | None) -> tuple[int, int]:
    """Return the files and bytes of an archive, without those of sources that the backup job has no more."""
    records = evidence.sources if evidence and sources else ()
    kept = [record for record in records if sources and record.source.path in sources]
    if len(kept) == len(records):
        return one.files, one.original_size
    paths = [record.source.path for record in kept]
    kept = [record for record in kept if not any(lies_below(record.source.path, path) for path in paths)]
    if any(record.files is None or record.size is None for record in kept):
        return one.files, one.original_size  # nobody counted
    return sum(record.files or 0 for record in kept), sum(record.size or 0 for record in kept)


def _sources(known: Sequence[ArchiveEvidence]) -> dict[str, SourceReference]:
    found: dict[str, SourceReference] = {}
    for evidence in known:
        # Of a single source nobody counted the bytes once: borg's sum holds some of borg's own.
        counted = evidence.listed or len(evidence.sources) > 1
        for record in evidence.sources:
            path, before = record.source.path, found.get(record.source.path)
            size = record.size if counted else None
            if before is None:
                found[path] = SourceReference(record.source, record.files, record.files, size, record.why_none)
            else:
                most = {"files": _most(before.files, record.files), "size": _most(before.size, size)}
                found[path] = replace(before, **most)
    return found


def _excusing_nothing(found: dict[str, SourceReference]) -> dict[str, SourceReference]:
    """Forget of doubtful archives what they lack: only what a person accepted may lack again."""
    return {
        path: replace(one, files=one.files or None, size=one.size or None, why_none=None) for path, one in found.items()
    }


def _mounts(known: Sequence[ArchiveEvidence]) -> dict[str, MountReference]:
    found: dict[str, MountReference] = {}
    for evidence in known:
        automatic = {mount.path for one in evidence.sources for mount in one.source.mounts if mount.automatic}
        for one in evidence.mounts:
            before = found.get(one.path, MountReference(0, 0, one.path in automatic))
            found[one.path] = replace(before, files=max(before.files, one.files), size=max(before.size, one.size))
    return found


def lies_below(path: str, other: str) -> bool:
    """Tell whether a path lies below another one."""
    return path != other and path.startswith(f"{other.rstrip('/')}/")


def _most(one: int | None, other: int | None) -> int | None:
    return max((number for number in (one, other) if number is not None), default=None)
