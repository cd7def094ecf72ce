"""Brings restored entries from a staging directory to the places that they had; sent to the server and run there.

Runs with nothing but Python 3.7. `placer.py put PLAN` works in the staging directory, with the directory that holds the
places open as descriptor 7; `placer.py undo -` works in that directory and reads its plan from its input. Everything
goes by directory descriptors, so that a link planted meanwhile leads nowhere. What was moved is not in the staging
directory any more: whoever begins again goes on with what is left. Answers with one line of JSON.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import resource
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_PARENT = 7
_FIRST = 200
_WHY = {
    errno.EEXIST: "exists", errno.ENOTEMPTY: "exists", errno.ENOTDIR: "exists", errno.ENOENT: "moved_meanwhile",
    errno.ENAMETOOLONG: "name_too_long", errno.EXDEV: "other_file_system", errno.EBUSY: "other_file_system",
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
        items = [_path(item) for item in self.plan["items"]]
        chosen, meant = _outermost(items), {}
        if self.plan["mode"] == "merge":
            chosen = []
            self._merge(tree, _PARENT, "")
        elif self.plan["mode"] == "swap":
            meant = _meant(tree, chosen)
        placed = [item for item in chosen if self._item(tree, item, meant.get(item, ("", None))[1])]
        swapped = [[items.index(item), *meant[item]] for item in placed if item in meant]
        os.sync()
        return {"refused": self.refused, "kept": self.kept, "counts": self.counts, "previous": self._previous(),
                "swapped": swapped}  # fmt: skip

    def _item(self, tree: int, path: str, old: str | None) -> bool:
        """Place one item, beside what is there or instead of it; False where it was refused."""
        above, name = os.path.split(path)
        try:
            source = _open_below(tree, above)
            os.stat(name, dir_fd=source, follow_symlinks=False)
        except FileNotFoundError:
            return True  # an earlier attempt placed it, or the backup does not hold it, which is told elsewhere
        try:
            target = self._open_made(source=tree, path=above)
            if self.plan["mode"] == "beside":
                _move(source, name, target, f"{name}.restored-{self.plan['stamp']}")
                return True
            aside = f"{name}.before-restore-{self.plan['stamp']}"
            if _is(_there(target, name), old):
                _move(target, name, target, aside)
            _move(source, name, target, name)
        except Refused as error:
            self._refuse(path, str(error), 1)
            return False
        return True

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


class Undo:
    """Gives back the names that a swap changed: what it placed is set aside, and what was there comes back."""

    def __init__(self, plan: dict[str, Any]) -> None:
        """Take the plan: the restore's `stamp`, and `items`: path, what was placed, what was there (None: nothing)."""
        self.stamp = plan["stamp"]
        self.items = [(_path(path), new, old) for path, new, old in plan["items"]]

    def undo(self) -> dict[str, Any]:
        """Look at everything first, and rename nothing where one thing is not as the swap left it."""
        judged = [(path, self._wrong(path, new, old)) for path, new, old in self.items]
        wrong = [[path, why] for path, why in judged if why]
        refused: list[list[str]] = []
        for path, new, old in () if wrong else self.items:
            try:
                with _above(path) as (above, name):
                    aside = f"{name}.before-restore-{self.stamp}"
                    if _is(_there(above, name), new):
                        _move(above, name, above, f"{name}.restored-{self.stamp}")
                    if _is(_there(above, aside), old):
                        _move(above, aside, above, name)
            except (Refused, OSError) as error:
                refused.append([path, str(error) if isinstance(error, Refused) else "moved_meanwhile"])
        os.sync()
        return {"wrong": wrong[:_FIRST], "wrong_count": len(wrong), "refused": refused}

    def _wrong(self, path: str, new: str, old: str | None) -> str:
        """Say what is not as the swap left it, or as an attempt left it that was cut short; empty: nothing."""
        try:
            with _above(path) as (above, name):
                place, aside = _there(above, name), _there(above, f"{name}.before-restore-{self.stamp}")
                out = _there(above, f"{name}.restored-{self.stamp}")
        except OSError as error:
            return "name_too_long" if error.errno == errno.ENAMETOOLONG else "parent"
        if out is not None and not _is(out, new):
            return "taken"
        if out is not None and _is(place, old):
            return ""  # an earlier attempt was here
        if not _is(place, new) and not (place is None and out is not None):
            return "gone" if place is None else "other"
        if old is None or _identity(aside) == old:
            return ""
        return "aside_gone" if aside is None else "aside_changed" if _is(aside, old) else "aside_other"


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


def _outermost(items: Sequence[str]) -> list[str]:
    """Leave out what comes with a directory that is an item itself."""
    chosen, cuts = set(items), [(item, [at for at, letter in enumerate(item) if letter == "/"]) for item in items]
    return list(dict.fromkeys(item for item, ats in cuts if not any(item[:at] in chosen for at in ats)))


def _meant(tree: int, items: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """Return what each item is and what it takes the place of; noted once, so that a later attempt goes by it."""
    with contextlib.suppress(FileNotFoundError):
        return {path: (new, old) for path, (new, old) in json.loads(Path("swapped").read_text()).items()}
    meant: dict[str, tuple[str, str | None]] = {}
    for item in items:
        above, name = os.path.split(item)
        with contextlib.suppress(OSError):  # the backup does not hold it
            new = os.stat(name, dir_fd=_open_below(tree, above), follow_symlinks=False)
            meant[item] = str(new.st_ino), None
            with _above(item, _PARENT) as (target, _):
                meant[item] = str(new.st_ino), _identity(_there(target, name))
    Path("swapped.new").write_text(json.dumps(meant))
    os.sync()
    Path("swapped.new").rename("swapped")
    return meant


def _identity(found: os.stat_result | None) -> str | None:
    """Return by what a thing is known again, and whether it was changed itself."""
    if found is None:
        return None
    return f"{found.st_ino}:{found.st_mtime_ns}:{'' if stat.S_ISDIR(found.st_mode) else found.st_size}"


def _is(found: os.stat_result | None, told: str | None) -> bool:
    """Tell whether this is the very thing, changed or not."""
    return found is not None and told is not None and str(found.st_ino) == told.partition(":")[0]


@contextlib.contextmanager
def _above(path: str, start: int | None = None) -> Generator[tuple[int, str]]:
    """Enter the directory of a path below the one that is open, or the working one, through no link; with its name."""
    directory = os.open(".", _DIRECTORY, dir_fd=start)
    try:
        *parts, name = path.split("/")
        for part in parts:
            outer, directory = directory, os.open(part, _DIRECTORY, dir_fd=directory)
            os.close(outer)
        yield directory, name
    finally:
        os.close(directory)


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
            if error.errno == errno.EEXIST and _is(_there(target, new), _identity(_there(source, name))):
                os.unlink(name, dir_fd=source)  # an earlier attempt was cut short between the two
                return
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
    plan = json.load(sys.stdin) if verb == "undo" else json.loads(base64.b64decode(encoded))
    sys.stdout.write(json.dumps(Placer(plan).put() if verb == "put" else Undo(plan).undo()) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
