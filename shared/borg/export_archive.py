"""Writes what was chosen of one archive as a tar, with all that GNU tar can put back; or counts what that would be.

A script, run by the Python that runs the node's borg: `export_archive.py PATH PLAN`, the passphrase by
BORG_PASSPHRASE_FD. PLAN is a JSON file: `name` and `id` of the archive, `by_id`: its name is not to be
looked at, `items`, paths in base64, none for all,
`parents`, directories that go along without what they hold, `full`: with nanoseconds, extended attributes and access
control lists, as borg's own export-tar cannot, and `count`: print figures as JSON instead. With `format`, which is
`tar`, `tar.zst`, `zip` or `file`, it is for a person to take home: in that form, and nothing damaged or hostile.
"""

from __future__ import annotations

import base64
import heapq
import importlib
import json
import os
import random
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Python looks for no module beside a script that it runs isolated.
sys.path.append(str(Path(__file__).resolve().parent))
# borg has no types; sealed.py lies beside this script.
_sealed: Any = importlib.import_module("sealed")
_archiver: Any = importlib.import_module("borg.archiver")
_helpers: Any = importlib.import_module("borg.helpers")
_Archive: Any = _archiver.Archive
_tarfile: Any = _archiver.tarfile

_LARGEST, _RANDOM = 20, 180
_SECOND = 1_000_000_000


class NotMeant(_helpers.Error):
    """The archive {} is not the one that was to be read: it has the id {}."""

    exit_mcode = 77


class Damaged(_helpers.Error):
    """Of {} data were lost, and a repair put zeros in their place."""

    exit_mcode = 77


class Hostile(_helpers.Error):
    """The archive names {}, which leads out of where it would be unpacked."""

    exit_mcode = 77


@dataclass
class _Counted:
    """What was chosen: regular files with bytes of their own, further names of them, directories, all the rest."""

    files: int = 0
    size: int = 0
    links: int = 0
    directories: int = 0
    others: int = 0
    attributes: int = 0
    lists: int = 0
    flags: int = 0
    damaged: list[str] = field(default_factory=list[str])
    """Paths of files of which borg has replaced what was lost by zeros, the first ones, in base64."""
    found: list[str] = field(default_factory=list[str])
    """Which of the items are there."""
    sample: list[str] = field(default_factory=list[str])
    """Files to compare: the largest, and others by chance."""


def main(argv: Sequence[str]) -> None:
    """Let borg's main open the archive, and write or count it."""
    path, file = argv
    plan = json.loads(Path(file).read_text())
    meant = plan["id"]
    minded = _Minded(plan["items"]) if "format" in plan else None

    class Meant(_Archive):
        """The archive of that id; its items are remembered for what a tar's headers lack."""

        def __init__(self, repository: Any, key: Any, manifest: Any, name: str, **more: Any) -> None:
            if plan.get("by_id"):  # of plain borg's own making: its name may be any
                name = _sealed.named(manifest, meant) or name
            # Of one that is not there borg itself says so.
            found = manifest.archives[name].id.hex() if name in manifest.archives else meant
            if found != meant:
                raise NotMeant(name, found[:12])
            super().__init__(repository, key, manifest, name, **more)  # pyright: ignore[reportUnknownMemberType] - borg has no types
            _Tar.archive = self

        def iter_items(self, chosen: Any = None, *arguments: Any, **more: Any) -> Iterator[Any]:
            of_borg: Any = super()
            items = of_borg.iter_items(minded.seeing(chosen) if minded else chosen, *arguments, **more)
            for item in minded.judged(items) if minded else items:
                if item.path == "." and not minded:
                    continue  # plain borg was told to save `.`: its own directory is the place that a restore makes
                _Tar.item = item
                yield item

    _archiver.Archive = Meant
    if plan["count"]:

        def count(archiver: Any, args: Any, archive: Any, stream: Any) -> None:
            _count(archiver, args, archive, stream, plan)

        _archiver.Archiver._export_tar = count  # noqa: SLF001 - the one place where its options are all known
    elif plan["full"] or minded:
        _archiver.tarfile = SimpleNamespace(**vars(_tarfile))
        _archiver.tarfile.open = _opener(plan)
    name = "by its id" if plan.get("by_id") else plan["name"].replace("{", "{{").replace("}", "}}")
    chosen = [f"pf:{_path(one)}" for one in plan["parents"]] + [f"pp:{_path(one)}" for one in plan["items"]]
    sys.argv = ["borg", "export-tar", "--log-json", "--lock-wait=60", "--", f"{path}::{name}", "-", *chosen]
    _archiver.main()


def _opener(plan: dict[str, Any]) -> Callable[..., Any]:
    """Return what opens the form that is asked for, in the place of borg's tar."""
    form = plan.get("format", "tar")
    formats: Any = importlib.import_module("export_formats") if form != "tar" else None

    def opened(fileobj: Any, **_more: Any) -> Any:
        if form == "zip":
            return formats.Zip(fileobj, lambda: _Tar.item, _content)
        if form == "file":
            return formats.OneFile(fileobj, os.path.normpath(_path(plan["items"][0])))
        return _Tar(formats.Zstd(fileobj) if form == "tar.zst" else fileobj)

    return opened


def _content(chunks: Any) -> Any:
    """Return a stream of chunks of the archive that were not asked for ahead."""
    return _helpers.ChunkIteratorFileWrapper(_Tar.archive.pipeline.fetch_many([chunk[0] for chunk in chunks]))


class _Minded:
    """What is minded where a person takes it home: nothing damaged or hostile, and all that was chosen."""

    def __init__(self, items: Sequence[str]) -> None:
        self._missing = set(_chosen(items))
        self._lost = set[str]()

    def seeing(self, chosen: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return borg's filter, with an eye on what it passes over: another name of it may be chosen."""

        def seen(item: Any) -> Any:
            _is_damaged(item, self._lost)
            return chosen(item)

        return seen

    def judged(self, items: Iterator[Any]) -> Iterator[Any]:
        """Refuse what would look whole and is not, and what leads out of where a person unpacks it."""
        for item in items:
            path = os.fsencode(item.path)
            if _is_damaged(item, self._lost):
                raise Damaged(path.decode(errors="replace"))
            # A symbolic link may point anywhere; another name of a file only to a file beside it.
            for named in (item.path, item.get("source") if stat.S_ISREG(item.mode) else None):
                if named not in (None, ".") and any(part in ("", ".", "..") for part in named.split("/")):
                    raise Hostile(os.fsencode(named).decode(errors="replace"))
            if self._missing:
                self._missing.difference_update(_above(path))
            yield item
        if self._missing:
            raise importlib.import_module("export_formats").NotThere(min(self._missing).decode(errors="replace"))


def _is_damaged(item: Any, lost: set[str]) -> bool:
    """Tell whether borg put zeros into a file; of its names only the first one says so, whether it is chosen or not.

    `lost` are the paths of such first names, of the items that were asked about before.
    """
    if item.get("chunks_healthy"):
        lost.add(item.path)
        return True
    # The source of a symbolic link is what it points to.
    return stat.S_ISREG(item.mode) and item.get("source") in lost


class _Tar:
    """A tar in the format that POSIX names pax; GNU tar reads from it what it would write itself."""

    item: Any = None
    archive: Any = None

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._tar = _tarfile.open(
            fileobj=stream, mode="w|", format=_tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
        )

    def addfile(self, info: Any, stream: Any) -> None:
        info.pax_headers = _headers(_Tar.item)
        self._tar.addfile(info, stream)

    def close(self) -> None:
        self._tar.close()
        if finish := getattr(self._stream, "finish", None):
            finish()


def _headers(item: Any) -> dict[str, str]:
    seconds, rest = divmod(abs(item.mtime), _SECOND)
    headers = {"mtime": f"{'-' if item.mtime < 0 else ''}{seconds}.{rest:09d}"} if rest else {}
    attributes: dict[bytes, bytes | None] = item.get("xattrs") or {}
    for key, value in attributes.items():
        name = os.fsdecode(key).replace("%", "%25").replace("=", "%3D")
        headers[f"SCHILY.xattr.{name}"] = os.fsdecode(value or b"")
    for kind in ("access", "default"):
        if acl := item.get(f"acl_{kind}"):
            headers[f"SCHILY.acl.{kind}"] = _numeric(acl)
    return headers


def _numeric(acl: bytes) -> str:
    """Return an access control list with numbers in place of names, which mean somebody else on another machine."""
    entries: list[str] = []
    for line in acl.decode(errors="surrogateescape").splitlines():
        kind, who, rights, *number = line.split(":")
        entries.append(":".join((kind, number[0] if number and who else who, rights)))
    return ",".join(entries)


def _count(archiver: Any, args: Any, archive: Any, stream: Any, plan: dict[str, Any]) -> None:
    matcher = archiver.build_matcher(args.patterns, args.paths)
    items = _chosen(plan["items"])
    counted, found, masters, apart = _Counted(), set[bytes](), set[str](), dict[str, int]()
    sample, lost = _Sample(plan["id"]), set[str]()
    for item in archive.iter_items():
        _sealed.alive()
        damaged = _is_damaged(item, lost)
        if not matcher.match(item.path):
            # What is chosen may be another name of this file: then its data come with that one.
            if item.get("hardlink_master") and stat.S_ISREG(item.mode):
                apart[item.path] = item.get_size()
            continue
        path = os.fsencode(item.path)
        if items and len(found) < len(items):
            found |= {one for one in _above(path) if one in items}
        _count_one(counted, item, masters, apart, sample)
        if damaged and len(counted.damaged) < 200:  # noqa: PLR2004 - more than anybody reads
            counted.damaged.append(base64.b64encode(path).decode())
    counted.found = [items[one] for one in found]
    counted.sample = [base64.b64encode(path).decode() for path in sample.paths()]
    stream.write((json.dumps(vars(counted)) + "\n").encode())


def _count_one(counted: _Counted, item: Any, masters: set[str], apart: dict[str, int], sample: _Sample) -> None:
    counted.attributes += bool(item.get("xattrs"))
    counted.lists += bool(item.get("acl_access") or item.get("acl_default"))
    counted.flags += bool(item.get("bsdflags"))
    kind = stat.S_IFMT(item.mode)
    if kind == stat.S_IFDIR:
        counted.directories += 1
    elif kind != stat.S_IFREG:
        counted.others += 1
    elif "source" in item and item.source in masters:
        counted.links += 1
    else:
        if "source" in item or item.get("hardlink_master"):
            masters.add(item.get("source") or item.path)
        counted.files += 1
        size = apart.get(item.source, 0) if "source" in item else item.get_size()
        counted.size += size
        sample.add(os.fsencode(item.path), size)


class _Sample:
    """The largest files, and others by chance; the same ones for the same archive."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret: what to compare
        self._largest: list[tuple[int, bytes]] = []
        self._chosen: list[bytes] = []
        self._seen = 0

    def add(self, path: bytes, size: int) -> None:
        self._seen += 1
        if len(self._largest) < _LARGEST:
            heapq.heappush(self._largest, (size, path))
        else:
            heapq.heappushpop(self._largest, (size, path))
        if len(self._chosen) < _RANDOM:
            self._chosen.append(path)
        elif (place := self._random.randrange(self._seen)) < _RANDOM:
            self._chosen[place] = path

    def paths(self) -> list[bytes]:
        return sorted({*self._chosen, *(path for _, path in self._largest)})


def _chosen(items: Sequence[str]) -> dict[bytes, str]:
    """Return what was chosen by the paths that its items have in an archive."""
    return {os.fsencode(os.path.normpath(_path(one)).strip("/")): one for one in items}


def _above(path: bytes) -> Iterator[bytes]:
    while path:
        yield path
        path = path.rpartition(b"/")[0]


def _path(encoded: str) -> str:
    return os.fsdecode(base64.b64decode(encoded))


if __name__ == "__main__":
    main(sys.argv[1:])
