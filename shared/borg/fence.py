"""Serves one repository to its server: what was there before stays, whatever the client asks.

A script, run by the Python that runs the node's borg: `fence.py GRANT EPOCH serve ... PATH` for a session, `fence.py
probe` for the proof of set-up, `fence.py check` when a node starts. It holds the grant, the lock and the report of a
session; what a client may ask is in fence_server.py. borg's own main then runs, so that its signals, umask and logging
stay as they are.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import resource
import select
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_CURRENT, REFUSED = 75, 77
"""Exit statuses that borg does not use: the lease is over; this is not offered."""
_GRANT = "the lease of this repository is not current"
_WATCH_SECONDS = 1.0
_TERM_SECONDS = (0.0, 2.0, 2.0)
_KILL_SECONDS = 2.0
_FORMER_SECONDS = 10.0
_PROBE_SECONDS = 10
_ENOUGH = 100
_WORDS = 200
_REPORT_BYTES = 1 << 20
_OBJECT_BYTES = 64 << 20
_OBJECT = struct.Struct("<32sI")


class Grant:
    """Leave to serve one repository: a file that says `EPOCH UNTIL QUOTA PATH` for as long as the lease is current."""

    def __init__(self, file: str, epoch: str, path: str) -> None:
        """Take the file, and the epoch and path that it must name."""
        self.file = Path(file)
        self.epoch = epoch
        self.path = path

    @property
    def quota(self) -> int | None:
        """Return the bytes that the repository may take; None where it has no quota."""
        return int(self._read()[2]) or None

    def current(self) -> bool:
        """Tell whether the file names this epoch and its time is not over."""
        return self.seconds_left() > 0

    def seconds_left(self) -> float:
        """Return for how long it is current by its file; 0 or less: no longer. Waits for a disk that hangs."""
        epoch, until, _, path = self._read()
        if epoch != self.epoch or path != self.path or not until.isdecimal():
            return 0.0
        return int(until) - time.time()

    def _read(self) -> tuple[str, str, str, str]:
        try:
            words = self.file.read_text().rstrip("\n").split(" ", 3)
        except (OSError, UnicodeDecodeError):  # whatever keeps us from reading a grant, there is none
            words = []
        epoch, until, quota, path = words if len(words) == 4 else ("", "0", "0", "")  # noqa: PLR2004 - as written by the node
        return epoch, until, quota, path

    def beside(self, directory: str, suffix: str) -> Path:
        """Return a file of this repository in another directory of the node's state."""
        repository = self.file.name.rsplit(".", 1)[-1]
        return self.file.parent.parent / directory / f"{repository}.{suffix}"


class Report:
    """What a session refused and left out; each line is written at once, so that a kill loses none.

    An honest session writes nothing. The files are bounded: a client must not fill the node's disk with them.
    """

    def __init__(self, file: Path) -> None:
        """Take the report's file; that of the objects' bytes lies beside it."""
        self._file = file
        self._objects = file.with_suffix(".objects")
        self._left_out: set[bytes] = set()
        self.refusals = 0

    @property
    def full(self) -> bool:
        """Tell whether this lease had so many refusals that nothing more is served."""
        return _size(self._file) > 2 * _REPORT_BYTES

    def refused(self, what: str) -> None:
        """Note that a client asked for what is not offered."""
        self.refusals += 1
        self._write({"refused": what[:_WORDS]})

    def left_out(self, object_id: bytes, data: bytes) -> None:
        """Note that a client sent an object that is there from before, and keep the bytes that it sent."""
        known = object_id in self._left_out
        kept = _size(self._objects) + len(data) <= _OBJECT_BYTES
        if kept:
            _append(self._objects, _OBJECT.pack(object_id, len(data)) + data)
        if (not known or not kept) and _size(self._file) < _REPORT_BYTES:
            self._left_out.add(object_id)
            self._write({"left_out": object_id.hex(), "bytes": len(data), "kept": kept})

    def _write(self, line: dict[str, Any]) -> None:
        _append(self._file, json.dumps(line).encode() + b"\n")

    @property
    def enough(self) -> bool:
        """Tell whether the session is to end: no honest client goes on asking."""
        return self.refusals >= _ENOUGH


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _append(file: Path, data: bytes) -> None:
    with file.open("ab", buffering=0) as stream:
        stream.write(data)


def refuse(text: str, status: int) -> NoReturn:
    """End with a sentence for the client."""
    sys.stderr.write(f"borgfleet: {text}\n")
    sys.exit(status)


def take(grant: Grant, report: Report) -> int:
    """Be the one session of this repository; return the lock's descriptor, which the kernel frees however we end.

    The node waits for the former lease's session before it works, so a lock of another epoch is about to go; one of
    this epoch is a second session, which no honest client opens.
    """
    lock = os.open(grant.beside("locks", "session"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _FORMER_SECONDS
    while not _locked(lock):
        if os.pread(lock, 40, 0).decode() == grant.epoch:
            report.refused("a second session at the same time")
            refuse("this repository is being served already", REFUSED)
        if time.monotonic() > deadline or not grant.current():
            refuse(_GRANT, NOT_CURRENT)
        select.select((), (), (), 0.1)
    os.ftruncate(lock, 0)
    os.pwrite(lock, grant.epoch.encode(), 0)
    return lock


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Term:
    """Until when a grant holds by what its file last said: its disk may hang, and time passes all the same."""

    def __init__(self, grant: Grant) -> None:
        """Read it once."""
        self._grant = grant
        self._ends_at = 0.0
        self._read()

    def follow(self) -> None:
        """Read it again and again until it has ended; in a thread of its own, that nobody waits for."""
        while self.lasts():
            select.select((), (), (), _WATCH_SECONDS)
            self._read()

    def lasts(self) -> bool:
        """Tell whether it holds; waits for nothing."""
        return time.monotonic() < self._ends_at

    def _read(self) -> None:
        asked = time.monotonic()  # what a disk says late, it says of the time when it was asked
        self._ends_at = asked + self._grant.seconds_left()


def end_with(grant: Grant) -> None:
    """End this process when its grant is no longer current: by borg's own way, then by force."""
    term = Term(grant)
    threading.Thread(target=term.follow, daemon=True).start()
    while term.lasts():
        select.select((), (), (), _WATCH_SECONDS / 4)
    for seconds in _TERM_SECONDS:  # borg answers a signal that comes within a call as if the call had failed
        select.select((), (), (), seconds)
        os.kill(os.getpid(), signal.SIGTERM)
    select.select((), (), (), _KILL_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def serve(grant: Grant, argv: Sequence[str]) -> None:
    """Serve one repository for as long as its grant is current."""
    report = Report(grant.beside("sessions", f"{grant.epoch}.report"))
    if not grant.current():
        refuse(_GRANT, NOT_CURRENT)
    if report.full:
        refuse("this server asked too often for what is not offered", REFUSED)
    lock = take(grant, report)
    if not grant.current():  # it may have passed on while we waited
        refuse(_GRANT, NOT_CURRENT)
    threading.Thread(target=end_with, args=(grant,), daemon=True).start()
    if wrong := _beside("fence_check").differences():
        refuse(f"this node's borg does not fit its fence: {'; '.join(wrong)}", REFUSED)
    try:
        _beside("fence_server").run(argv, path=grant.path, quota=grant.quota, report=report)
    finally:
        os.close(lock)


def probe() -> None:
    """Answer a handshake as borg does for a repository that is not there; write no byte, and end after ten seconds."""
    os.environ["BORG_SELFTEST"] = "disabled"  # it writes temporary files
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_PROBE_SECONDS)
    _beside("fence_server").run(("serve", "--umask=077"), path="", quota=None, report=None)


def check() -> None:
    """Say as JSON whether this borg is sound and the fence fits it: its version, and what is wrong."""
    examined = _beside("fence_check")
    wrong = examined.differences() or examined.trial() or examined.self_test()
    sys.stdout.write(json.dumps({"borg": examined.VERSION, "wrong": wrong}) + "\n")


def _beside(name: str) -> Any:
    """Load a script that stands on borg only now: importing borg takes most of a session's start."""
    directory = str(Path(__file__).resolve().parent)
    if directory not in sys.path:
        sys.path.append(directory)
    return importlib.import_module(name)


def main(argv: Sequence[str]) -> None:
    """Do what the command line says."""
    os.environ.pop("SSH_ORIGINAL_COMMAND", None)  # borg would take options of the client from it
    if argv == ["check"]:
        check()
    elif argv == ["probe"]:
        probe()
    else:
        file, epoch, *rest = argv
        serve(Grant(file, epoch, rest[-1]), rest)


if __name__ == "__main__":
    main(sys.argv[1:])
