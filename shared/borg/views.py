"""A view: a second name for every committed segment of a repository, so that reading it meets no writer.

Segments never change once they are committed, so they are linked and not copied. What a writer adds meanwhile is left
out: such a file is still written to, and borg would take its commit for one that the view's index lacks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from shared.borg import segments
from shared.errors import Permanent, Transient

if TYPE_CHECKING:
    from collections.abc import Callable

DIRECTORY = ".borgfleet-views"
"""In the pool itself: a link reaches no other file system."""
_TRIES = 8
_PAUSE = 0.25
_INDEX = ("index", "hints", "integrity")
_CONFIG = ("config", "README")
_CANNOT = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.ENOSPC,
           errno.EDQUOT, errno.EROFS)  # fmt: skip
"""Why a pool may refuse a link; borg on the repository itself, under its lease, needs none."""


class CannotLink(Permanent):
    """The pool makes no hard links: the repository has to be read in its place, under its lease."""


class _Moved(Exception):
    """The repository changed while it was linked."""


def path_of(pool: str, name: uuid.UUID) -> str:
    """Return where a view of that name stands."""
    return f"{pool}/{DIRECTORY}/{name.hex}"


def base_of(state_dir: Path, name: uuid.UUID) -> Path:
    """Return where borg remembers what it meets of a view."""
    return state_dir / "views" / name.hex


def take(repository: Path, view: Path, alive: Callable[[], None], *, soft: bool = False) -> int:
    """Make a view of a repository as of its last transaction, and return that; blocking.

    Whoever calls sees to it that nothing is deleted or compacted meanwhile. A backup that commits makes it begin anew.
    `soft`: segments that cannot be linked, as those of another disk or user, get symbolic links.
    """
    try:
        return _take(repository, view, alive, _link)
    except CannotLink:
        if not soft:
            raise
        return _take(repository, view, alive, _name)


def _take(repository: Path, view: Path, alive: Callable[[], None], link: Callable[[Path, Path], None]) -> int:
    for attempt in range(_TRIES):
        remove(view, alive)
        try:
            return _taken(repository, view, alive, link, without_index=attempt == _TRIES - 1)
        except _Moved:
            time.sleep(_PAUSE)
        except OSError as error:
            remove(view, alive)
            if error.errno not in _CANNOT:
                raise
            message = f"no view of {repository} can be made: {error.strerror}"
            remedy = "nothing: it is read in its place, while no backup runs; a pool with hard links needs no such wait"
            raise CannotLink(message, code="view_no_links", remedy=remedy) from error
    remove(view, alive)
    message = f"{repository} changed each of the {_TRIES} times that a view of it was made"
    raise Transient(message, code="view_moved", remedy="it is tried again")


def remove(view: Path, alive: Callable[[], None]) -> None:
    """Remove a view, whole or half made; the repository keeps its own names of the segments. Blocking."""
    for directory, names, files in os.walk(view, topdown=False):
        for name in files:
            alive()  # where compaction took the other name, this one holds all that is freed
            (Path(directory) / name).unlink(missing_ok=True)
        for name in names:
            (Path(directory) / name).rmdir()
    with contextlib.suppress(FileNotFoundError):
        view.rmdir()


def names(pool: Path) -> dict[uuid.UUID, float]:
    """Return the views that a pool holds, each with when it was made, in seconds since 1970; blocking."""
    return _named(pool / DIRECTORY)


def traces(state_dir: Path) -> set[uuid.UUID]:
    """Return the views of which a node's state directory keeps traces; blocking."""
    return set(_named(state_dir / "views"))


def _named(directory: Path) -> dict[uuid.UUID, float]:
    found: dict[uuid.UUID, float] = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(ValueError, FileNotFoundError):
                found[uuid.UUID(hex=entry.name)] = entry.stat(follow_symlinks=False).st_mtime
    return found


def can_link(pool: Path) -> bool:
    """Tell whether a pool makes hard links, by making one; blocking."""
    probe = _room(pool) / f".probe-{uuid.uuid4().hex}"
    second = probe.with_suffix(".link")
    try:
        probe.touch(mode=0o600)
        os.link(probe, second)
        return probe.samefile(second)
    except OSError:
        return False
    finally:
        for name in (probe, second):
            with contextlib.suppress(OSError):
                name.unlink(missing_ok=True)


def _taken(
    repository: Path,
    view: Path,
    alive: Callable[[], None],
    link: Callable[[Path, Path], None],
    *,
    without_index: bool,
) -> int:
    """Link what is committed. Without an index of that very transaction borg makes one of the segments, in the view."""
    upto = segments.last_transaction(str(repository), alive)
    if upto is None:
        message = f"{repository} holds nothing that was ever committed"
        raise Permanent(message, code="repository_missing", remedy="look at the storage pool's disk")
    indexed = (repository / f"index.{upto}").is_file()
    if not indexed and not without_index:
        raise _Moved  # a commit is under way: the index follows its segment
    _room(view.parent.parent)
    view.mkdir(mode=0o700)
    wanted = [*_CONFIG, *(f"{name}.{upto}" for name in _INDEX if indexed)]
    for name in wanted:
        _copy(repository / name, view / name, alive)
    numbered = list(segments.committed(str(repository), upto))
    for number, file in numbered:
        alive()
        link(file, view / "data" / file.parent.name / str(number))
    if segments.last_transaction(str(repository), alive) != upto:
        raise _Moved
    if [number for number, _ in numbered] != [number for number, _ in segments.committed(str(repository), upto)]:
        raise _Moved
    return upto


def _copy(source: Path, target: Path, alive: Callable[[], None]) -> None:
    """Copy one of the small files; an index of a terabyte has some hundred megabytes, so it gives signs of life."""
    try:
        with source.open("rb") as read, target.open("xb") as write:
            while block := read.read(1024 * 1024):
                alive()
                write.write(block)
    except FileNotFoundError as error:
        if source.name.partition(".")[0] in ("config", "index"):
            raise _Moved from error
        # An older borg writes no integrity, and none of them a README that somebody took away.


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError as error:
        raise _Moved from error
    if not source.samefile(target):  # some file systems over the network copy, and a copy may be torn
        raise OSError(errno.ENOTSUP, "its links are copies")


def _name(file: Path, target: Path) -> None:
    """Name a segment that cannot be linked. borg opens none to write to it, and what it removes is the name."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target.symlink_to(file)


def _room(pool: Path) -> Path:
    """Return the directory of a pool's views; nobody but the node's user may look into it."""
    room = pool / DIRECTORY
    with contextlib.suppress(FileExistsError):
        room.mkdir(mode=0o700)
    if room.is_symlink():
        raise OSError(errno.EPERM, "the directory of its views is a symbolic link")
    return room
