"""Brings restored entries from a staging directory to the places that they had; sent to the server and run there.

Runs with nothing but Python 3.7. `placer.py put PLAN` works in the staging directory, with the directory that holds the
places open as descriptor 7; `placer.py existing PLAN` works in that directory, changes nothing and reads names from its
input. Everything goes by directory descriptors, so that a link planted meanwhile leads nowhere. What was moved is not
in the staging directory any more: whoever begins again goes on with what is left. Answers with one line of JSON.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import json
import os
import resource
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_PARENT = 7
_FIRST = 200
_SHOWN = 1000
_WHY = {
    errno.EEXIST: "exists", errno.ENOTEMPTY: "exists", errno.ENOTDIR: "exists", errno.ENOENT: "moved_meanwhile",
    errno.EXDEV: "other_file_system", errno.EBUSY: "other_file_system",
    errno.EPERM: "not_permitted", errno.EACCES: "not_permitted", errno.EROFS: "not_permitted",
}  # fmt: skip


class Refused(Exception):
    """An entry stays in the staging directory."""


class Placer:
    """Places what one restore brought."""

    def __init__(self, plan: dict[str, Any]) -> None:
        """Take the plan: `mode`, `existing`, `stamp`, `previous`, `top` and `items`, paths in base64."""
        self.plan = plan
        self.replace = plan["existing"] == "replace"
        self.refused: list[list[str]] = []
        self.kept: list[str] = []
        self.counts = {"refused": 0, "kept": 0}
        self.device = Path().stat().st_dev

    def put(self) -> dict[str, Any]:
        """Place everything; say what stayed and why, and where that went that was there."""
        tree = _open_below(os.open("tree", _DIRECTORY), _path(self.plan["top"]))
        if self.plan["mode"] == "merge":
            self._merge(tree, _PARENT, "")
        else:
            for item in self.plan["items"]:
                self._item(tree, _path(item))
        os.sync()
        return {"refused": self.refused, "kept": self.kept, "counts": self.counts, "previous": self._previous()}

    def _item(self, tree: int, path: str) -> None:
        """Place one item, beside what is there or instead of it."""
        above, name = os.path.split(path)
        try:
            source = _open_below(tree, above)
            os.stat(name, dir_fd=source, follow_symlinks=False)
        except FileNotFoundError:
            return  # an earlier attempt placed it, or the backup does not hold it, which is told elsewhere
        try:
            target = self._open_made(source=tree, path=above)
            if self.plan["mode"] == "beside":
                _move(source, name, target, f"{name}.restored-{self.plan['stamp']}")
                return
            aside = f"{name}.before-restore-{self.plan['stamp']}"
            if _there(target, name) is not None:
                _move(target, name, target, aside)
            _move(source, name, target, name)
        except Refused as error:
            self._refuse(path, str(error), 1)

    def _open_made(self, source: int, path: str) -> int:
        """Open a directory below the common one; what is missing on the way is made as the backup has it."""
        target = _PARENT
        for part in filter(None, path.split("/")):
            source = os.open(part, _DIRECTORY, dir_fd=source)
            found = _there(target, part)
            if found is None:
                os.mkdir(part, 0o700, dir_fd=target)
            elif stat.S_ISLNK(found.st_mode):
                raise Refused("parent_symlink")
            elif not stat.S_ISDIR(found.st_mode):
                raise Refused("parent_no_directory")
            target = os.open(part, _DIRECTORY, dir_fd=target)
            if found is None:
                _make_alike(source, target)
            elif os.fstat(target).st_dev != self.device:
                raise Refused("other_file_system")
        return target

    def _merge(self, source: int, target: int, path: str) -> None:
        names = os.listdir(source)
        for name in sorted(names):
            below = f"{path}/{name}" if path else name
            try:
                self._merge_one(source, target, name, below)
            except Refused as error:
                self._refuse(below, str(error), _names(source, name))

    def _merge_one(self, source: int, target: int, name: str, path: str) -> None:
        found = _there(target, name)
        new = os.stat(name, dir_fd=source, follow_symlinks=False)
        if found is None:
            _move(source, name, target, name)
        elif stat.S_ISDIR(new.st_mode) and stat.S_ISDIR(found.st_mode):
            with _opened(source, name) as ours, _opened(target, name) as theirs:
                if os.fstat(theirs).st_dev != self.device:
                    raise Refused("other_file_system")
                self._merge(ours, theirs, path)
            with contextlib.suppress(OSError):  # what was kept or refused is in it still
                os.rmdir(name, dir_fd=source)
        elif stat.S_ISDIR(new.st_mode) and stat.S_ISLNK(found.st_mode):
            raise Refused("parent_symlink")
        elif not self.replace:
            self.counts["kept"] += _names(source, name)
            self.kept += [path] if len(self.kept) < _FIRST else []
        else:
            self._set_aside(target, name, path)
            _move(source, name, target, name)

    def _set_aside(self, target: int, name: str, path: str) -> None:
        """Keep what is to be replaced, under its whole path."""
        aside = os.open(".", _DIRECTORY)
        for part in (self.plan["previous"], *path.split("/")[:-1]):
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=aside)
            above, aside = aside, os.open(part, _DIRECTORY, dir_fd=aside)
            os.close(above)
        try:
            _move(target, name, aside, name)
        finally:
            os.close(aside)

    def _previous(self) -> list[str]:
        """Return what was set aside, the first of it."""
        root = Path(self.plan["previous"])
        found: list[str] = []
        for directory, names, files in os.walk(root):
            here = Path(directory)
            links = [name for name in names if (here / name).is_symlink()]
            found += [str((here / name).relative_to(root)) for name in (*files, *links)]
            found += [] if names or files or here == root else [str(here.relative_to(root))]
            if len(found) >= _FIRST:
                break
        return sorted(found[:_FIRST])

    def _refuse(self, path: str, why: str, count: int) -> None:
        self.counts["refused"] += count
        if len(self.refused) < _FIRST:
            self.refused.append([path, why])


class Existing:
    """Tells which of the names that are to come are there already."""

    def __init__(self, plan: dict[str, Any]) -> None:
        """Take the plan: only `existing` and `mode` matter."""
        self.swap = plan["mode"] == "swap"
        self.first: list[dict[str, Any]] = []
        self.count = 0
        self.digest = hashlib.sha256()
        self._above: dict[str, bool] = {"": True}

    def look(self, kind: str, path: str) -> None:
        """Look at one name; `kind` is `d` for a directory."""
        if not self._enterable(path.rpartition("/")[0]):
            return
        try:
            found = os.lstat(path)
        except OSError:
            return
        if kind == "d" and stat.S_ISDIR(found.st_mode) and not self.swap:
            return
        self.count += 1
        told = {"path": path, "size": found.st_size, "mtime_ns": found.st_mtime_ns}
        self.digest.update(json.dumps([path, found.st_ino, found.st_size, found.st_mtime_ns]).encode())
        if len(self.first) < _SHOWN:
            self.first.append(told)

    def _enterable(self, path: str) -> bool:
        """Tell whether a directory is there, by no link."""
        if path not in self._above:
            try:
                there = self._enterable(path.rpartition("/")[0]) and stat.S_ISDIR(os.lstat(path).st_mode)
            except OSError:
                there = False
            self._above[path] = there
        return self._above[path]


def _path(encoded: str) -> str:
    return os.fsdecode(base64.b64decode(encoded))


@contextlib.contextmanager
def _opened(above: int, name: str) -> Generator[int]:
    try:
        opened = os.open(name, _DIRECTORY, dir_fd=above)
    except OSError as error:
        raise Refused("moved_meanwhile") from error
    try:
        yield opened
    finally:
        os.close(opened)


def _open_below(directory: int, path: str) -> int:
    for part in filter(None, path.split("/")):
        directory = os.open(part, _DIRECTORY, dir_fd=directory)
    return directory


def _there(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _move(source: int, name: str, target: int, new: str) -> None:
    """Rename, and replace nothing: Python knows no rename that refuses, but a second link to a file does."""
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=source, follow_symlinks=False).st_mode):
            if _there(target, new) is not None:
                raise Refused("exists")
            os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
            return
        try:
            os.link(name, new, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            if _there(target, new) is not None:
                raise Refused("exists") from error
            os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
        else:
            os.unlink(name, dir_fd=source)
    except OSError as error:
        if error.errno not in _WHY:
            raise
        raise Refused(_WHY[error.errno]) from error


def _make_alike(source: int, target: int) -> None:
    """Give a directory that was made the owner, rights, attributes and times of the backup's."""
    was = os.fstat(source)
    os.fchown(target, was.st_uid, was.st_gid)
    for name in os.listxattr(source):
        os.setxattr(target, name, os.getxattr(source, name))
    os.fchmod(target, stat.S_IMODE(was.st_mode))
    os.utime(target, ns=(was.st_atime_ns, was.st_mtime_ns))


def _names(directory: int, name: str) -> int:
    """Count what is no directory at and below a name."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        return 1
    with _opened(directory, name) as below:
        names: list[str] = os.listdir(below)  # noqa: PTH208 - by the descriptor
        return sum(_names(below, one) for one in names)


def main(verb: str, encoded: str) -> None:
    """Do what is asked for."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sys.setrecursionlimit(10_000)
    plan = json.loads(base64.b64decode(encoded))
    if verb == "put":
        sys.stdout.write(json.dumps(Placer(plan).put()) + "\n")
        return
    existing = Existing(plan)
    for line in sys.stdin:
        kind, _, path = line.strip().partition(" ")
        existing.look(kind, _path(path))
    found = {"count": existing.count, "first": existing.first, "digest": existing.digest.hexdigest()}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
