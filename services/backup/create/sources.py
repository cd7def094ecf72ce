"""What the sources are on the server, from the answer of `sources.sh`: kind, emptiness, mount, cache tag. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from services.backup.truth.evidence import Kind, Mount, Source
from shared.domain.lines import some_lines
from shared.domain.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRIPT = files("services.backup.create").joinpath("sources.sh").read_text()
SECONDS = 20
"""How long one source may take to answer; all are asked at once."""
_OCTAL = re.compile(r"\\([0-7]{3})")
_BELOW = 50
_POINTS = 200
"""Mounts below one source that are counted by themselves, at most."""
_TRANSIENT = re.compile(
    r"/(proc|sys|dev|run|snap)(/.*)?|/(var/)?tmp"
    r"|/var/(run|lib/(docker|containers|containerd|kubelet|lxcfs|lxd|snapd|systemd))/.*"
    r"|/var/snap/.*|(/.*)?/\.local/share/(docker|containers)/.*"
)
"""What a running system mounts and unmounts as it likes: its own places, and those of containers."""
_PATH = 4096
_MOST_MOUNTS = 20_000
"""A host of containers has some thousands; the lines of those with many layers are long."""
_DIGITS = 10
_MOUNT_FIELDS = 10
_AUTOFS = "autofs"
_KINDS = {kind.value: kind for kind in (Kind.DIRECTORY, Kind.FILE, Kind.LINK, Kind.OTHER, Kind.MISSING)}


@dataclass(frozen=True, slots=True)
class _Mounted:
    point: str
    device: str
    filesystem: str
    automatic: bool = False
    """It lies on a mount that automounts, or in its place."""


@dataclass(slots=True)
class _Said:
    kind: Kind = Kind.HANGS
    empty: bool | None = None
    cache_tag: bool = False
    target: str = ""
    physical: str = ""


def read_sources(sources: Sequence[str], answer: str) -> tuple[Source, ...]:
    """Return what `sources.sh` said of each source; one of which it said nothing has not answered in time."""
    about, _, table = f"\n{answer}".partition("\nM\n")
    said = [_Said() for _ in sources]
    for line in some_lines(about):
        what, _, rest = line.partition(" ")
        number, _, value = rest.partition(" ")
        if number.isdecimal() and len(number) < _DIGITS and int(number) < len(said):
            _note(said[int(number)], what, value)
    mounts = _mounts(table)
    return tuple(_source(path, one, mounts) for path, one in zip(sources, said, strict=True))


def _note(said: _Said, what: str, value: str) -> None:
    if what == "T":
        said.target = clean(value, _PATH)
    elif what == "P":
        said.physical = value if len(value) <= _PATH else ""
    elif what == "S":
        kind, empty, tag = (*value.split(), "", "", "")[:3]
        said.kind = _KINDS.get(kind, Kind.OTHER)
        said.empty = {"yes": True, "no": False}.get(empty)
        said.cache_tag = tag == "yes"


def _source(path: str, said: _Said, mounts: dict[str, _Mounted]) -> Source:
    physical = said.physical if said.kind in (Kind.DIRECTORY, Kind.FILE) else ""
    mount = _holding(physical, mounts) if physical else None
    begin = physical.rstrip("/") + "/"
    below = [other for other in mounts.values() if mount and other.point.startswith(begin) and other.point != physical]
    others = sorted(clean(other.point, _PATH) for other in below if mount and other.device != mount.device)
    return Source(
        path=path,
        kind=said.kind,
        target=said.target,
        empty=said.empty,
        cache_tag=said.cache_tag,
        mounted=None if mount is None else mount.point == physical and mount.filesystem != _AUTOFS,
        device=mount.device if mount else "",
        filesystem=clean(mount.filesystem, 40) if mount else "",
        holder=clean(mount.point, _PATH) if mount else "",
        below=tuple(others[:_BELOW]),
        mounts=_points(f"{path.rstrip('/')}/", begin, below),
    )


def _points(named: str, physical: str, below: Sequence[_Mounted]) -> tuple[Mount, ...]:
    """Return the mounts by the paths that borg gives them: a link above a source makes the kernel's others."""
    meant = _TRANSIENT.fullmatch(physical.rstrip("/"))  # a source that lies in such a place is meant as it is
    lasting = [one for one in below if one.filesystem != _AUTOFS and (meant or not _TRANSIENT.fullmatch(one.point))]
    points = (Mount(path=clean(named + one.point[len(physical) :], _PATH), automatic=one.automatic) for one in lasting)
    return tuple(sorted(points, key=lambda mount: mount.path)[:_POINTS])


def _holding(path: str, mounts: dict[str, _Mounted]) -> _Mounted | None:
    """Return the mount that a path lies on; None where the table does not reach it, as in a chroot."""
    while path:
        if found := mounts.get(path):
            return found
        path = path.rpartition("/")[0]
    return mounts.get("/")


def _mounts(table: str) -> dict[str, _Mounted]:
    """Read /proc/self/mountinfo; of several mounts on one point the last one is what is seen."""
    found: dict[str, _Mounted] = {}
    for line in table.split("\n", _MOST_MOUNTS)[:_MOST_MOUNTS]:
        fields = line.split(" ")
        if len(fields) >= _MOUNT_FIELDS and "-" in fields[6:-1] and len(fields[4]) <= _PATH:
            point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
            on = _holding(point, found)
            automatic = on is not None and (on.automatic or on.filesystem == _AUTOFS)
            found[point] = _Mounted(point, fields[2], fields[fields.index("-", 6) + 1], automatic)
    return found
