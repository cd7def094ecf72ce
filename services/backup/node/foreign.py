"""Repositories that plain borg made: where this node may look for one, what is there, who works on it; blocking."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.borg import views
from shared.domain.messages import importing as say
from shared.errors import Permanent, Transient

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OURS = (views.DIRECTORY, ".new-", ".broken-")
"""How the names begin of what Borgfleet itself keeps in a pool."""
_ATTIC = b"ATTICSEG"
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs"})
_PARTS = ("config", "data")


def real_place(path: str, pool: str, roots: Sequence[str]) -> str:
    """Return where a repository really lies, told as below its pool where it is there.

    Permanent where it is neither below the pool nor below a root, or where a link leads out of both.
    """
    given, target = Path(path), Path(os.path.realpath(path))
    home = Path(os.path.realpath(pool))
    inside = target.is_relative_to(home) and target != home
    if not inside and not any(target.is_relative_to(os.path.realpath(root)) for root in roots):
        if any(given.is_relative_to(one) for one in (pool, *roots)):
            raise Permanent(say.PATH_LEADS_OUT(path=path, target=str(target)))
        raise Permanent(say.PATH_REFUSED(path=path, pool=pool))
    if any(part.startswith(_OURS) for part in target.parts):
        raise Permanent(say.PATH_OURS(path=path))
    return str(Path(pool) / target.relative_to(home)) if inside else str(target)


def require_repository(path: str) -> None:
    """Raise Permanent unless a directory is a whole repository of borg 1 that this node can read."""
    place = Path(path)
    try:
        if not place.is_dir():
            raise Permanent(say.REPOSITORY_INVALID(path=path, why="there is no such directory"))
        for outer in place.parents:
            if _is_repository(outer):
                raise Permanent(say.PATH_INSIDE(path=path, outer=str(outer)))
        _require_own_parts(place)
        _require_version(place)
        _require_borgs(place)
    except OSError as error:
        why = f"{error.strerror or error} at {error.filename or path}"
        raise Permanent(say.REPOSITORY_UNREADABLE(path=path, why=why)) from error


def _is_repository(path: Path) -> bool:
    return (path / "data").is_dir() and _config(path) is not None


def _config(path: Path) -> ConfigParser | None:
    """Return a repository's configuration; None where there is none of borg's."""
    config = ConfigParser(interpolation=None)
    try:
        config.read_string((path / "config").read_text(errors="replace"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ConfigError):
        return None
    return config if config.has_section("repository") else None


def _require_own_parts(place: Path) -> None:
    """Let no part of it be a link: what it leads to was not looked at."""
    for name in _PARTS:
        if (place / name).is_symlink():
            raise Permanent(say.PATH_LEADS_OUT(path=str(place / name), target=os.path.realpath(place / name)))
    if not (place / "config").is_file() or not (place / "data").is_dir():
        missing = " and ".join(name for name in _PARTS if not (place / name).exists()) or "what belongs there"
        raise Permanent(say.REPOSITORY_INVALID(path=str(place), why=f"{missing} is missing"))
    for directory, names, files in os.walk(place / "data", onerror=_raise):
        for one in (*names, *files):
            if os.path.islink(found := os.path.join(directory, one)):  # noqa: PTH118, PTH114 - a terabyte has 2,000 of them
                raise Permanent(say.PATH_LEADS_OUT(path=found, target=os.path.realpath(found)))
            if not os.access(found, os.R_OK):
                raise PermissionError(13, "Permission denied", found)


def _raise(error: OSError) -> None:
    raise error


def _require_version(place: Path) -> None:
    config = _config(place)
    if config is None or not config.get("repository", "id", fallback="").strip():
        raise Permanent(say.REPOSITORY_INVALID(path=str(place), why="its file `config` is none of borg's"))
    version = config.get("repository", "version", fallback="").strip()
    if version != "1":
        raise Permanent(say.REPOSITORY_VERSION(path=str(place), version=version[:20] or "unknown"))


def _require_borgs(place: Path) -> None:
    segments = (file for file in _files(place / "data") if file.name.isdecimal())
    first = min(segments, key=lambda file: int(file.name), default=None)
    if first is None:
        raise Permanent(say.REPOSITORY_INVALID(path=str(place), why="its directory `data` holds nothing"))
    with first.open("rb") as stream:
        if stream.read(len(_ATTIC)) == _ATTIC:
            raise Permanent(say.REPOSITORY_ATTIC(path=str(place)))


def _files(data: Path) -> Iterator[Path]:
    for directory in data.iterdir():
        if directory.is_dir():
            yield from directory.iterdir()


def require_writable(path: str) -> None:
    """Raise Permanent unless this node can write to a repository; by writing, for root may write where nobody can."""
    place = Path(path)
    for directory in (place, place / "data"):
        probe = directory / f".borgfleet-{uuid.uuid4().hex}"
        try:
            probe.touch(mode=0o600)
            probe.unlink()
        except OSError as error:
            why = error.strerror or str(error)
            raise Permanent(say.REPOSITORY_NOT_WRITABLE(path=str(directory), why=why)) from error


def take_locks(path: str) -> tuple[str, ...]:
    """Remove the locks that dead borgs left, and return the holders; only where nothing works on the repository.

    Whoever holds the repository's lease calls this. Transient `repository_locked` where a process of this node has it
    in hand; Permanent where it is a network's disk, of whose other users this node sees nothing.
    """
    place = Path(path)
    locks = [place / "lock.exclusive", place / "lock.roster"]
    holders = [*_exclusive(locks[0]), *_roster(locks[1])]
    if (pid := _at_work(place, holders)) is not None:
        raise Transient(say.IN_USE(path=path, pid=pid))
    if not holders:
        return ()
    here = (socket.gethostname(), socket.getfqdn())
    elsewhere = [one for one in holders if not one.startswith(here)]
    if elsewhere and _file_system(place) in _NETWORK:
        raise Permanent(say.LOCKED_ELSEWHERE(path=path, holder=elsewhere[0]))
    for file in locks[0].iterdir() if locks[0].is_dir() else ():
        file.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        locks[0].rmdir()
    locks[1].unlink(missing_ok=True)
    return tuple(dict.fromkeys(holders))


def _exclusive(lock: Path) -> list[str]:
    return [file.name for file in lock.iterdir()] if lock.is_dir() else []


def _roster(roster: Path) -> list[str]:
    try:
        entries: Any = json.loads(roster.read_text())
        return [f"{host}.{pid}-{thread}" for kind in entries.values() for host, pid, thread in kind]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, AttributeError):  # none that borg heeds
        return []


def _at_work(place: Path, holders: Sequence[str]) -> int | None:
    """Return a process of this node that works on it: one that holds a lock, has a file open, or is a borg on it."""
    own, real = os.getpid(), os.path.realpath(place)
    locking = {pid for one in holders if (pid := _pid(one)) is not None}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or (pid := int(entry.name)) == own:
            continue
        with contextlib.suppress(OSError):  # it ended, or is another user's
            words = [os.fsdecode(word) for word in (entry / "cmdline").read_bytes().split(b"\0")]
            borg = any(Path(word).name.startswith("borg") for word in words[:3])
            if borg and (pid in locking or any(real in word or str(place) in word for word in words)):
                return pid
            if any(_is_below(os.readlink(handle), real) for handle in (entry / "fd").iterdir()):  # noqa: PTH115 - as text
                return pid
    return None


def _pid(holder: str) -> int | None:
    """Return the process of a lock's name, `host.pid-thread`."""
    number = holder.rpartition("-")[0].rpartition(".")[2]
    return int(number) if number.isdecimal() else None


def _is_below(target: str, real: str) -> bool:
    return target == real or target.startswith(f"{real}/")


def _file_system(place: Path) -> str:
    """Return the type of the file system that a directory lies on, as the kernel names it."""
    found, longest = "", -1
    for line in Path("/proc/self/mounts").read_text(errors="replace").splitlines():
        _, mount, kind, *_ = line.split(" ")
        mount = mount.replace("\\040", " ")
        if (mount == "/" or _is_below(os.path.realpath(place), mount)) and len(mount) > longest:
            found, longest = kind, len(mount)
    return found.removeprefix("fuse.")
