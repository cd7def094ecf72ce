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
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_FIRST = 200
_WHY = {
    errno.EEXIST: "exists", errno.ENOTEMPTY: "exists", errno.ENOTDIR: "exists", errno.ENOENT: "moved_meanwhile",
    errno.ENAMETOOLONG: "name_too_long", errno.EXDEV: "other_file_system", errno.EBUSY: "other_file_system",
    errno.EPERM: "not_permitted", errno.EACCES: "not_permitted", errno.EROFS: "not_permitted",
    errno.ENOSPC: "no_room", errno.EDQUOT: "no_room",
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
        self.again = Path("swapped").exists()
        self.aside: set[str] = set()
        """Items whose place nothing took, and whose former thing could not be given its name again."""

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
        swapped += [[items.index(item), "", meant[item][1]] for item in chosen if item in self.aside]
        os.sync()
        return {"refused": self.refused, "kept": self.kept, "counts": self.counts, "previous": self._previous(),
                "swapped": swapped}  # fmt: skip

    def _item(self, tree: int, path: str, old: str | None) -> bool:
        """Place one item, beside what is there or instead of it; False where it was refused."""
        try:
            self._place(tree, path, old)
        except (Refused, OSError) as error:
            why = _code(error)
            if self.again and not self._is_whole(path, old):
                why = "set_aside"
            self.aside |= {path} if why == "set_aside" else set()
            self._refuse(path, why, 1)
            return False
        return True

    def _place(self, tree: int, path: str, old: str | None) -> None:
        above, name = os.path.split(path)
        try:
            source = _open_below(tree, above)
            os.stat(name, dir_fd=source, follow_symlinks=False)
        except FileNotFoundError:
            return  # an earlier attempt placed it, or the backup does not hold it, which is told elsewhere
        target = self._open_made(source=tree, path=above)
        if self.plan["mode"] == "beside":
            _move(source, name, target, f"{name}.restored-{self.plan['stamp']}")
        else:
            _instead(source, name, target, (target, self._aside(name)), old)

    def _aside(self, name: str) -> str:
        return f"{name}.before-restore-{self.plan['stamp']}"

    def _is_whole(self, path: str, old: str | None) -> bool:
        """Give back what an earlier attempt set aside; False where it is not at its name, as far as can be seen."""
        with contextlib.suppress(OSError), _above(path, _PARENT) as (target, name):
            return _back((target, self._aside(name)), (target, name), old)
        return old is None

    def _open_made(self, source: int, path: str) -> int:
        """Open a directory below the common one; what is missing on the way is made as the backup has it."""
        target = _PARENT
        for part in filter(None, path.split("/")):
            source = os.open(part, _DIRECTORY, dir_fd=source)
            found = _there(target, part)
            if found is None:
                target = _made_alike(source, target, part)
                continue
            if not stat.S_ISDIR(found.st_mode):
                raise Refused("parent_symlink" if stat.S_ISLNK(found.st_mode) else "parent_no_directory")
            target = os.open(part, _DIRECTORY, dir_fd=target)
            if os.fstat(target).st_dev != self.device:
                raise Refused("other_file_system")
        return target

    def _merge(self, source: int, target: int, path: str) -> None:
        names = os.listdir(source)
        for name in sorted(names):
            below = f"{path}/{name}" if path else name
            try:
                self._merge_one(source, target, name, below)
            except (Refused, OSError) as error:
                self._refuse(below, _code(error), _names(source, name))

    def _merge_one(self, source: int, target: int, name: str, path: str) -> None:
        found = _there(target, name)
        new = os.stat(name, dir_fd=source, follow_symlinks=False)
        if found is None:
            _move(source, name, target, name)
        elif stat.S_ISDIR(new.st_mode) and stat.S_ISDIR(found.st_mode):
            with _above(f"{name}/.", source) as (ours, _), _above(f"{name}/.", target) as (theirs, _):
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
            with self._previous_of(path) as aside:
                _instead(source, name, target, (aside, name), _identity(found))

    @contextlib.contextmanager
    def _previous_of(self, path: str) -> Generator[int]:
        """Make and enter the directory that keeps what is replaced, under its whole path."""
        aside = os.open(".", _DIRECTORY)
        try:
            for part in (self.plan["previous"], *path.split("/")[:-1]):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=aside)
                above, aside = aside, os.open(part, _DIRECTORY, dir_fd=aside)
                os.close(above)
            yield aside
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
                why = self._wrong(path, new, old) or self._put_back(path, new, old)
            except (Refused, OSError) as error:
                why = _code(error)
            refused += [[path, why]] if why else []
        os.sync()
        return {"wrong": wrong[:_FIRST], "wrong_count": len(wrong), "refused": refused}

    def _put_back(self, path: str, new: str, old: str | None) -> str:
        with _above(path) as (above, name):
            aside = f"{name}.before-restore-{self.stamp}"
            if _is(_there(above, name), new):
                _move(above, name, above, f"{name}.restored-{self.stamp}")
            if _is(_there(above, aside), old):
                _move(above, aside, above, name)
            now = _there(above, name)
            return "" if (_is(now, old) if old else not _is(now, new)) else "moved_meanwhile"

    def _wrong(self, path: str, new: str, old: str | None) -> str:
        """Say what is not as the swap left it, or as an attempt left it that was cut short; empty: nothing."""
        try:
            with _above(path) as (above, name):
                place, aside = _there(above, name), _there(above, f"{name}.before-restore-{self.stamp}")
                out = _there(above, f"{name}.restored-{self.stamp}") if new else None
        except OSError as error:
            if error.errno not in (*_GONE, errno.ENAMETOOLONG):
                raise
            return "name_too_long" if error.errno == errno.ENAMETOOLONG else "parent"
        if out is not None and not _is(out, new):
            return "taken"
        if _is(place, old) and (out is not None or not new):
            return ""  # an earlier attempt was here
        if not _is(place, new) and not (place is None and (out is not None or not new)):
            return "gone" if place is None else "other"
        if old is None or _identity(aside) == old:
            return ""
        return "aside_gone" if aside is None else "aside_changed" if _is(aside, old) else "aside_other"


def _path(encoded: str) -> str:
    return os.fsdecode(base64.b64decode(encoded))


def _code(error: Refused | OSError) -> str:
    """Return why something stays, in the one word that is told."""
    return str(error) if isinstance(error, Refused) else _WHY.get(error.errno or 0, "failed")


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


def _instead(source: int, name: str, target: int, aside: tuple[int, str], old: str | None) -> None:
    """Place something instead of what is there, which keeps its name, or gets it again, where nothing can come."""
    new = _identity(os.stat(name, dir_fd=source, follow_symlinks=False))
    try:
        if _is(_there(target, name), old):
            _move(target, name, *aside)
        _move(source, name, target, name)
    except (Refused, OSError) as error:
        with contextlib.suppress(OSError):
            if _is(_there(target, name), new):
                return  # it came, and only its name in the staging directory stayed
        if not _back(aside, (target, name), old):
            raise Refused("set_aside") from error
        raise


def _back(aside: tuple[int, str], place: tuple[int, str], old: str | None) -> bool:
    """Give what was set aside its name again; False where it has to stay aside."""
    with contextlib.suppress(Refused, OSError):
        if _is(_there(*aside), old):
            _move(*aside, *place)
        return True
    with contextlib.suppress(OSError):
        return _is(_there(*place), old)
    return False


def _move(source: int, name: str, target: int, new: str) -> None:
    """Rename, and replace nothing: Python knows no rename that refuses, but a second link to a file does."""
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


def _made_alike(source: int, above: int, name: str) -> int:
    """Make and open a directory with the owner, rights, attributes and times of the backup's, or leave none."""
    os.mkdir(name, 0o700, dir_fd=above)
    try:
        made = os.open(name, _DIRECTORY, dir_fd=above)
        was = os.fstat(source)
        os.fchown(made, was.st_uid, was.st_gid)
        for attribute in os.listxattr(source):
            os.setxattr(made, attribute, os.getxattr(source, attribute))
        os.fchmod(made, stat.S_IMODE(was.st_mode))
        os.utime(made, ns=(was.st_atime_ns, was.st_mtime_ns))
    except OSError:
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=above)
        raise
    return made


def _names(directory: int, name: str) -> int:
    """Count what is no directory at and below a name, as far as it can be seen."""
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            with _above(f"{name}/.", directory) as (below, _):
                names: list[str] = os.listdir(below)  # noqa: PTH208 - by the descriptor
                return sum(_names(below, one) for one in names)
    return 1


def main(verb: str, encoded: str) -> None:
    """Do what is asked for."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sys.setrecursionlimit(10_000)
    plan = json.load(sys.stdin) if verb == "undo" else json.loads(base64.b64decode(encoded))
    sys.stdout.write(json.dumps(Placer(plan).put() if verb == "put" else Undo(plan).undo()) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
