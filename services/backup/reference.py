"""What a run is held against: the good archives of its backup job, those that the gate or a person trusted. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.backup.evidence import ArchiveEvidence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from services.backup.evidence import Source


@dataclass(frozen=True, slots=True)
class Good:
    """A good archive of the backup job; its sizes in bytes."""

    created_at: datetime
    accepted_at: datetime | None
    files: int
    original_size: int
    evidence: object = None
    """As stored with it; nothing with archives of older versions."""


@dataclass(frozen=True, slots=True)
class SourceReference:
    """What a source was and gave."""

    latest: Source
    """As the latest good archive has it."""
    last_files: int | None
    files: int | None
    """The most it gave; None where nobody counted."""
    size: int | None


@dataclass(frozen=True, slots=True)
class Reference:
    """The largest of the good archives; per source, too, where that is known."""

    files: int
    original_size: int
    last_size: int
    """Of the latest: how much a run will read, roughly."""
    sources: Mapping[str, SourceReference] = field(default_factory=dict[str, SourceReference])
    unreadable: int = 0
    """The most entries that a good archive lacks since they could not be read: a person accepted them."""
    told_below: frozenset[str] = frozenset()
    """Mounts below the sources that were told of already."""
    since: datetime | None = None
    """When the archive was made that a person last accepted: what was good before it is no measure any more."""


def reference_of(good: Sequence[Good]) -> Reference | None:
    """Return what the good archives, the latest first, amount to; None without any."""
    read = [(one, ArchiveEvidence.read(one.evidence)) for one in good]
    moments = [one.created_at for one, _ in read if one.accepted_at is not None]
    # The accepted archive may have been pruned since; those that were held against it remember.
    moments += [evidence.since for _, evidence in read if evidence and evidence.since]
    since = max(moments, default=None)
    read = [(one, evidence) for one, evidence in read if since is None or one.created_at >= since]
    if not read:
        return None
    good, known = [one for one, _ in read], [evidence for _, evidence in read if evidence]
    return Reference(
        files=max(one.files for one in good),
        original_size=max(one.original_size for one in good),
        last_size=good[0].original_size,
        sources=_sources(known),
        unreadable=max((one.unreadable for one in known), default=0),
        told_below=frozenset(point for one in known for record in one.sources for point in record.source.below),
        since=since,
    )


def _sources(known: Sequence[ArchiveEvidence]) -> dict[str, SourceReference]:
    found: dict[str, SourceReference] = {}
    for evidence in known:
        for record in evidence.sources:
            path, before = record.source.path, found.get(record.source.path)
            if before is None:
                found[path] = SourceReference(record.source, record.files, record.files, record.size)
            else:
                files, size = _most(before.files, record.files), _most(before.size, record.size)
                found[path] = SourceReference(before.latest, before.last_files, files, size)
    return found


def _most(one: int | None, other: int | None) -> int | None:
    return max((number for number in (one, other) if number is not None), default=None)
