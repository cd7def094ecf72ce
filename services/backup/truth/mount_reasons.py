"""What the gate says of the mounts below the sources: each is a source of its own to whoever relies on it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.backup.truth.collapse import fell
from services.backup.truth.evidence import Given, Kind
from services.backup.truth.reference import MountReference, lies_below
from shared.domain.backup_state import Reason, doubt
from shared.domain.messages import source_reasons as say
from shared.domain.messages.counts import FILES, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.backup.truth.gate import Evidence

_GONE = (Kind.MISSING, Kind.HANGS)


def mount_reasons(evidence: Evidence) -> Iterator[Reason]:
    """Name each mount below a source that gave files and is gone, is left out now, or gave much less."""
    looked, given = evidence.run.looked or (), {one.path: one for one in evidence.run.given or ()}
    there = {mount.path for source in looked for mount in source.mounts}
    # Of a source that is gone, or gave nothing at all, all that lay below it is known to be gone.
    told = {one.path for one in looked if one.kind in _GONE or given.get(one.path, _SOME).files == 0}
    mounts = evidence.reference.mounts if evidence.reference else dict[str, MountReference]()
    for path, before in sorted(mounts.items()):
        below = [source for source in evidence.options.sources if lies_below(path, source)]
        if before.files and below and not told & set(below):
            yield from _of_one(evidence, path, below[0], before, given.get(path) if path in there else None)


def _of_one(
    evidence: Evidence, path: str, source: str, before: MountReference, given: Given | None
) -> Iterator[Reason]:
    held = number(before.files, FILES)
    if given is None and not before.automatic:
        yield doubt(say.MOUNT_BELOW_GONE(path=path, source=source, files=held))
        return
    given = given or Given(path=path, files=0, size=0)
    if given.files == 0 and evidence.options.one_file_system:
        yield doubt(say.MOUNT_BELOW_LEFT_OUT(path=path, source=source, files=held))
        return
    fewer = say.MOUNT_BELOW_FEWER_FILES, say.MOUNT_BELOW_FEWER_BYTES
    yield from fell(fewer, given, before.files, before.size, path=path, source=source)


_SOME = Given(path="", files=1, size=0)
