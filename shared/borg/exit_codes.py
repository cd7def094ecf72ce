"""Who ended a run of borg, and why: from exit status and messages to a cause.

First who spoke is settled (our scripts, ssh, a shell, this borg, the one at the other end, or what never was a borg),
then what was said. Of borg's lines only its errors are read, and only their form: a number with a path, the name of an
error, the beginning of a line. Words alone are not looked for, since a file's name may hold them.
"""

from __future__ import annotations

import errno
import re
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from shared.borg import told
from shared.borg.traces import Trace, traces
from shared.domain.messages import borg_causes as causes
from shared.domain.messages.borg_causes import BY_NAME, ROLLED_BACK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.borg.output import LogLine
    from shared.domain.cause import Cause
    from shared.errors import AppError

__all__ = ["ROLLED_BACK", "WARNINGS", "Speaker", "failure"]

WARNINGS = frozenset({1, *range(100, 126)})
"""Statuses of a run that came to its end; 126 and 127 are a shell's or env's and never borg's."""
_GUARD = 211
_SIGNALLED = 128
_LAST_SIGNAL = 64
_SAID = 500
_LAST_LINES = 3
_END = 16 * 1024
_SEARCHED = 1024 * 1024
_SENTENCE = 160
_IDLE = re.compile(r"((Borg server|Remote): )?(Platform: |Traceback \(most recent|File \")")
"""Lines that are not why: what borg says of its machine, and of a traceback all but its end."""


class Speaker(StrEnum):
    """Where the borg ran whose exit status it is."""

    SERVER = "server"
    NODE = "node"
    SCRIPT = "script"
    """A script of ours on the node, run by borg's Python: what it has not foreseen is no broken borg."""


_BY_STATUS = {status: cause for status, cause in BY_NAME.values() if status != 77} | {  # noqa: PLR2004 - our own
    _GUARD: causes.LEASE,
    126: causes.NOT_EXECUTABLE,
    127: causes.NO_BORG,
}
_BY_TAIL = {name.rpartition(".")[2]: cause for name, (_, cause) in BY_NAME.items() if not name.startswith("Archive.")}
"""An error that the other borg had, and this one only passes on, comes without its class's surroundings."""

_OURS = re.compile(r"(?:Remote: )?borgfleet(?:-guard)?: (?P<said>.*)")
_NOT_CURRENT = "lease of this repository is not current"
_USAGE = re.compile(r"borg(?: \S+)?: error: ")

_STORAGE = {
    errno.ENOSPC: causes.POOL_FULL, errno.EDQUOT: causes.POOL_QUOTA, errno.EROFS: causes.POOL_READ_ONLY,
    errno.EACCES: causes.POOL_DENIED, errno.EPERM: causes.POOL_DENIED, errno.EIO: causes.CORRUPT,
    errno.EUCLEAN: causes.CORRUPT, errno.EBADMSG: causes.CORRUPT, errno.EREMOTEIO: causes.CORRUPT,
    errno.ENOMEM: causes.NODE_MEMORY,
} | dict.fromkeys(
    (
        errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN, errno.ETIMEDOUT, errno.EHOSTDOWN,
        errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.ENOKEY, errno.EKEYEXPIRED,
    ),
    causes.POOL_GONE,
)  # fmt: skip
_LIMITS = (
    errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EFBIG, errno.ENOLCK, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT,
    errno.EHOSTDOWN, errno.ENODEV, errno.ENXIO, errno.ENOKEY,
)  # fmt: skip
"""A limit of the process, or a home or cache on a network that went away."""
_LOCAL: dict[Speaker, dict[int, Cause]] = {
    Speaker.SERVER: {
        errno.ENOSPC: causes.SERVER_FULL, errno.EDQUOT: causes.SERVER_FULL, errno.EROFS: causes.SERVER_READ_ONLY,
        errno.EACCES: causes.SERVER_DENIED, errno.EPERM: causes.SERVER_DENIED, errno.EIO: causes.SERVER_DISK,
        errno.EUCLEAN: causes.SERVER_DISK, errno.EBADMSG: causes.SERVER_DISK, errno.EREMOTEIO: causes.SERVER_DISK,
        errno.ENOMEM: causes.SERVER_MEMORY, **dict.fromkeys(_LIMITS, causes.SERVER_SYSTEM),
    },
    Speaker.NODE: {
        errno.ENOSPC: causes.NODE_FULL, errno.EDQUOT: causes.NODE_FULL, errno.EROFS: causes.NODE_READ_ONLY,
        errno.EACCES: causes.NODE_DENIED, errno.EPERM: causes.NODE_DENIED, errno.EIO: causes.NODE_DISK,
        errno.EUCLEAN: causes.NODE_DISK, errno.EBADMSG: causes.NODE_DISK, errno.EREMOTEIO: causes.NODE_DISK,
        errno.ENOMEM: causes.NODE_MEMORY, **dict.fromkeys(_LIMITS, causes.NODE_SYSTEM),
    },
}  # fmt: skip
_OWN: dict[Speaker, dict[str, Cause]] = {  # by the kind of the error
    Speaker.SERVER: {
        "tmp": causes.SERVER_TMP, "MemoryError": causes.SERVER_MEMORY,
        "FileIntegrityError": causes.SERVER_CACHE_DAMAGED, "cache": causes.SERVER_CACHE_DAMAGED,
        "crypto/nonces": causes.SERVER_SECURITY_DAMAGED,
    },
    Speaker.NODE: {
        "tmp": causes.NODE_TMP, "MemoryError": causes.NODE_MEMORY, "FileIntegrityError": causes.NODE_CACHE_DAMAGED,
        "cache": causes.NODE_CACHE_DAMAGED, "crypto/nonces": causes.NODE_SECURITY_DAMAGED,
    },
}  # fmt: skip
_DENIED = {Speaker.SERVER: causes.SERVER_CACHE, Speaker.NODE: causes.NODE_DENIED}
_PASSED_ON = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.ENOENT, 0})
"""What tells that another one went, or that something is not there: it says nothing of the system itself."""
_NO_DIRECTORY = frozenset({errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG})
"""What the system says of a directory that cannot be made where it is to be."""
_OWN_DIRECTORY = re.compile(r"/(?:\.cache|\.config|\.local)/|/borg/|/(?:cache|security)/")
_SEGMENT = re.compile(r"/data/\d+/\d+$")


def failure(
    status: int, lines: Sequence[LogLine], *, speaker: Speaker = Speaker.SERVER, pool: str = "", answered: bool = False
) -> AppError | None:
    """Return why borg failed, or None if its exit status means success or warnings.

    `pool` is the path of the repository, or of the pool: an error about a path below it is the storage's. `answered`
    tells that borg said something else than these lines: its answer, or how far it is.
    """
    if status < 0:
        status = _SIGNALLED - status
    lines = _bounded(lines)
    crash = _crashed(lines, pool) if speaker is Speaker.SCRIPT and status == 1 else None
    # Pythons, linkers, env and sudo end with 1 or 125 too. What said not one word in borg's form never was borg.
    was_borg = answered or any(line.structured or line.level != "info" for line in lines)
    if crash is None and (status == 0 or (status in WARNINGS and was_borg)):
        return None
    speaker = Speaker.NODE if speaker is Speaker.SCRIPT else speaker
    found = crash or (None if was_borg else _never_begun(status, lines, speaker))
    cause, said = found or _cause(status, lines, speaker, pool) or (causes.UNKNOWN, "")
    if cause is causes.CLOSED:
        said = "; ".join(part for part in (said, _beside(lines, said)) if part)
    if said:
        return cause.error(said[:_SAID], where="borg")
    return cause.error(f"it ended with status {status}{_last(lines)}", where="borg")


def _bounded(lines: Sequence[LogLine]) -> list[LogLine]:
    """Return the last lines, and of a long one its beginning and its end: all is searched, and may be a server's."""
    kept: list[LogLine] = []
    room = _SEARCHED
    for line in reversed(lines):
        if len(line.message) > 2 * _END:
            line = replace(line, message=f"{line.message[:_END]}\n{line.message[-_END:]}")  # noqa: PLW2901 - the same
        room -= len(line.message)
        if room < 0:
            break
        kept.append(line)
    return kept[::-1]


def _cause(status: int, lines: Sequence[LogLine], speaker: Speaker, pool: str) -> tuple[Cause, str] | None:
    errors = [line for line in lines if line.is_error]
    named = next((found for line in reversed(errors) if (found := _named(line))), None)
    by_status = _BY_STATUS.get(status)
    lost = (named[0] if named else by_status or causes.CLOSED) in (causes.CLOSED, causes.GARBLED)
    # What ssh or the system says is closer to the cause than the connection that broke because of it.
    storage = told.of_the_storage(lines) if lost else None
    return (
        _ours(lines)
        or (storage if storage and storage[0] is not causes.CLOSED else None)
        or _of_the_system(errors, speaker, pool)
        or storage
        or named
        or _ended(status, lines)
        or ((by_status, _final(errors)) if by_status else None)
    )


def _of_the_system(errors: Sequence[LogLine], speaker: Speaker, pool: str) -> tuple[Cause, str] | None:
    for trace in reversed(traces(errors)):
        if cause := _of_trace(trace, speaker, pool):
            return cause, trace.text
    return None


def _never_begun(status: int, lines: Sequence[LogLine], speaker: Speaker) -> tuple[Cause, str] | None:
    """Why what was started in borg's place is none, where that is known."""
    if found := _ours(lines) or told.of_the_start(lines, _OWN[speaker]["tmp"], _OWN[speaker]["MemoryError"]):
        return found
    if status not in WARNINGS:
        return None
    said = [sentence for line in lines if (sentence := _sentence(line))]
    return causes.BROKEN, said[-1] if said else f"it ended with status {status} and said nothing"


def _ended(status: int, lines: Sequence[LogLine]) -> tuple[Cause, str] | None:
    """Tell that borg was ended from outside, or that it never began because of what it was given."""
    if _SIGNALLED < status <= _SIGNALLED + _LAST_SIGNAL:  # above them are a program's own: a single-file borg's 255
        return causes.KILLED, f"signal {status - _SIGNALLED}{_last(lines)}"
    usage = next((line.message for line in lines if _USAGE.match(line.message)), None)
    return (causes.USAGE, usage) if usage else None


def _ours(lines: Sequence[LogLine]) -> tuple[Cause, str] | None:
    """What guard.sh, serve.sh or the fence said; their tag stands at the beginning of a line."""
    for line in reversed(lines):
        if found := _OURS.match(line.message):
            return (causes.LEASE if _NOT_CURRENT in found["said"] else causes.NOT_OFFERED), found["said"]
    return None


def _named(line: LogLine) -> tuple[Cause, str] | None:
    """What an error of borg's own means, by its name."""
    row = BY_NAME.get(line.code)
    cause = row[1] if row else _BY_TAIL.get(line.code.rpartition(".")[2])
    if cause is None or (line.code.startswith("Archive.") and row is None):
        return None
    return cause, line.message.strip().splitlines()[-1] if line.message.strip() else line.code


def _of_trace(trace: Trace, speaker: Speaker, pool: str) -> Cause | None:
    """What an error of the operating system means: by its number, its path, and whose it is."""
    storage = trace.remote or (bool(pool) and trace.path.startswith(pool)) or (not trace.path and trace.repository)
    speaker = Speaker.NODE if trace.remote else speaker
    if own := _of_borgs_own(trace, speaker, storage=storage):
        return own
    # borg makes an error of its own, without a traceback, of a directory of its own that it cannot make.
    own_directory = not storage and (trace.kind == "Error" or _OWN_DIRECTORY.search(trace.path))
    unmade = _NO_DIRECTORY if trace.kind == "Error" else _NO_DIRECTORY - {errno.ENOENT, errno.EEXIST}
    if own_directory and trace.number in unmade and trace.path.startswith("/"):
        return _DENIED[speaker]
    if trace.number in _PASSED_ON:
        return _absent(trace, speaker) if trace.number == errno.ENOENT else None
    if storage:
        return _STORAGE.get(trace.number, causes.POOL_SYSTEM)
    cause = _LOCAL[speaker].get(trace.number)
    return causes.SERVER_CACHE if cause is causes.SERVER_DENIED and own_directory else cause


def _of_borgs_own(trace: Trace, speaker: Speaker, *, storage: bool) -> Cause | None:
    """What it means that a file of borg's own holds no sense, or that its Python gave up."""
    damaged = trace.kind == "FileIntegrityError" or bool(trace.unreadable)
    if trace.unreadable == "repository" or (storage and damaged):
        return causes.CORRUPT
    return causes.KEY_INVALID if trace.key else _OWN[speaker].get(trace.unreadable or trace.kind)


def _absent(trace: Trace, speaker: Speaker) -> Cause | None:
    """What it means that a file is not there."""
    if "No usable temporary directory" in trace.said:
        return _OWN[speaker]["tmp"]
    if trace.path in ("ssh", "sh"):
        return causes.SSH_MISSING
    return causes.CORRUPT if _SEGMENT.search(trace.path) else None


def _crashed(lines: Sequence[LogLine], pool: str) -> tuple[Cause, str] | None:
    """What a script of ours did not foresee: its Python ends with 1, as borg does with warnings."""
    plain = [line.message for line in lines]
    if not any(text.startswith("Traceback (most") for text in plain):
        return None
    whole = replace(lines[-1], level="error", code="", message="\n".join(plain))
    return _of_the_system([whole], Speaker.NODE, pool) or (causes.SCRIPT, plain[-1])


def _final(errors: Sequence[LogLine]) -> str:
    return errors[-1].message.strip().splitlines()[0] if errors and errors[-1].message.strip() else ""


def _beside(lines: Sequence[LogLine], said: str) -> str:
    """The last of what ssh, a shell or a relay said, where the connection broke and nobody knows why."""
    plain = [_sentence(line).removeprefix("Remote: ") for line in lines if line.level == "info"]
    shown = [sentence for sentence in plain if sentence and sentence not in said][-_LAST_LINES:]
    return f"it said: {' | '.join(shown)}" if shown else ""


def _last(lines: Sequence[LogLine]) -> str:
    """The last sentences, for an end that nobody knows."""
    errors = [sentence for line in lines if line.is_error and (sentence := _sentence(line))]
    shown = (errors or [sentence for line in lines if (sentence := _sentence(line))])[-_LAST_LINES:]
    return f"; it said: {' | '.join(shown)}" if shown else " and said nothing"


def _sentence(line: LogLine) -> str:
    """What a line says: of a traceback its last line, of borg's description of its machine nothing."""
    if told := traces([line]):
        return told[-1].text[-_SENTENCE:]
    return "" if _IDLE.match(line.message) else " ".join(line.message.split())[-_SENTENCE:]
