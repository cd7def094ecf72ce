"""Removes the locks that borgs of this node left when they were killed, though another process has their number by now.

borg takes a lock for dead when no process has the number in its name. After a restart of the machine, and always after
one of a container, that number is soon another's: the repository would stay locked for as long as that one lives.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.borg.fencing import SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Iterable

_BORGS = frozenset({"borg", *SCRIPTS})


def remove_dead_locks(directories: Iterable[Path], host_id: str) -> list[str]:
    """Remove from a repository, and from its cache, the locks of dead borgs with this host id; return their names.

    Only for who has the repository, and knows that nothing of ours works on it any more. A borg that a person runs by
    hand, even with our host id, is alive and keeps its lock; so does every lock of another host.
    """
    found: list[str] = []
    for directory in directories:
        with contextlib.suppress(OSError):  # whatever keeps us from it, borg meets it next and says what it is
            found += _exclusive(directory / "lock.exclusive", host_id)
            found += _roster(directory / "lock.roster", host_id)
    return found


def _exclusive(lock: Path, host_id: str) -> list[str]:
    names = [file.name for file in lock.iterdir()] if lock.is_dir() else []
    dead = [name for name in names if _is_dead(_holder(name), host_id)]
    for name in dead:
        (lock / name).unlink(missing_ok=True)
    if dead:
        with contextlib.suppress(OSError):  # not empty: another one holds it
            lock.rmdir()
    return dead


def _roster(roster: Path, host_id: str) -> list[str]:
    if not roster.exists():
        return []
    try:
        entries: dict[str, Any] = json.loads(roster.read_text())
        kept = {
            kind: [one for one in holders if not _is_dead(_entry(one), host_id)] for kind, holders in entries.items()
        }
    except (ValueError, TypeError, AttributeError):  # none that borg heeds
        return []
    dead = [f"{kind} {one}" for kind, holders in entries.items() for one in holders if one not in kept[kind]]
    if dead:
        temporary = roster.with_name(".lock.roster.new")
        temporary.write_text(json.dumps(kept))
        temporary.replace(roster)
    return dead


def _holder(name: str) -> tuple[str, int] | None:
    """Return host and process of a lock's name, `host.pid-thread`."""
    host, _, number = name.rpartition("-")[0].rpartition(".")
    return (host, int(number)) if host and number.isdecimal() else None


def _entry(entry: Any) -> tuple[str, int] | None:
    """Return host and process of an entry of a roster, `[host, pid, thread]`."""
    match entry:
        case [str() as host, int() as number, int()] if not isinstance(number, bool):
            return host, number
        case _:
            return None


def _is_dead(holder: tuple[str, int] | None, host_id: str) -> bool:
    if holder is None or holder[0] != host_id:
        return False
    try:
        words = Path(f"/proc/{holder[1]}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return True
    except OSError:  # that of another user: who knows
        return False
    return not any(Path(word.decode(errors="replace")).name in _BORGS for word in words)
