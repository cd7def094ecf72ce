"""Errors of the operating system in what borg says: their number, their path, and at which end they happened."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.borg.output import LogLine

_RAISED = re.compile(
    r"^(?:Borg server: )?(?:\w+\.)*(?P<kind>\w*(?:Error|Exception|Timeout)|(?<=struct\.)error): ?(?P<said>.*)$",
    re.MULTILINE,
)
"""The last line of a traceback: at the very beginning of a line, where code and paths of files never stand."""
_NUMBER = re.compile(r"\[Errno (?P<number>\d{1,9})\] [^:()\n]*(?:: (?P<quote>['\"])(?P<path>.*?)(?P=quote))?")
_LOCK = re.compile(r"Failed to create/acquire the lock (?P<lock>\S+) \((?P<said>.*)")
_FRAME = re.compile(r"borg/(?P<module>repository|cache)\.py\"")
_KEY = re.compile(r"borg/crypto/key\.py\", line \d+, in (?:_load|load|decrypt_key_file)\b")
_UNREADABLE_KINDS = frozenset({
    "UnpackException", "MissingSectionHeaderError", "ParsingError", "NoSectionError", "NoOptionError", "EOFError",
    "DuplicateSectionError", "DuplicateOptionError",
})  # fmt: skip
_UNREADABLE = re.compile(
    r"Non-hexadecimal digit|Odd-length string|unpack(?:_from)? requires|.* does not look like a Borg cache|"
    r"Unknown MAGIC in header|Could not read (?:header|buckets)|Incorrect file length"
)
"""What Python and borg say of a file of borg's own that holds no sense: after a power loss it is empty or all zeros."""
_OWNER = re.compile(r"borg/(?P<module>repository|cache|crypto/nonces)\.py\", line \d+, in ")
_NONCE = "Local security dir has an invalid nonce file"
_SERVED = re.compile(r"^sys\.argv: \[[^\]\n]*'serve'", re.MULTILINE)
"""borg's description of its own call, at the end of what it says of a crash."""
_INTEGRITY = re.compile(r"File failed integrity check: (?P<path>.*)")


@dataclass(frozen=True, slots=True)
class Trace:
    """One error of the operating system, or of Python, that borg told."""

    kind: str
    said: str
    number: int
    path: str
    remote: bool
    """It happened at the other end: the borg that serves the repository."""
    repository: bool
    """The code that failed was that of a repository, not that of a cache."""
    key: bool
    """It was the code that reads the repository's key."""
    unreadable: str = ""
    """The code that read a file of borg's own and found no sense in it: repository, cache or crypto/nonces."""

    @property
    def text(self) -> str:
        """What is shown of it."""
        return f"{self.kind}: {self.said}"


def traces(errors: Sequence[LogLine]) -> list[Trace]:
    """Return the errors that these lines tell, in their order."""
    found: list[Trace] = []
    for line in errors:
        text = line.message
        # An error of the other end comes under that error's name; borg's own has none, or "Exception".
        crash = "Traceback (most" in text
        remote = crash and (
            line.code not in ("", "Exception") or text.startswith("Remote: ") or _SERVED.search(text) is not None
        )
        if lock := _LOCK.search(text):
            found.append(_trace("LockFailed", lock["said"].rpartition(")")[0], text, remote=remote, path=lock["lock"]))
        elif integrity := _INTEGRITY.match(text):
            found.append(_trace("FileIntegrityError", integrity["path"], text, remote=False, path=integrity["path"]))
        elif line.code == "Error" and (plain := _NUMBER.match(text.removeprefix("Error: "))):
            found.append(_trace("Error", plain[0], text, remote=False))
        elif line.code == "Error" and _NONCE in text:
            found.append(
                replace(_trace("Error", text.removeprefix("Error: "), text, remote=False), unreadable="crypto/nonces")
            )
        elif crash and (unread := _unreadable(text)):
            found.append(replace(_trace(*unread[:2], text, remote=remote), unreadable=unread[2]))
        elif crash and (raised := list(_RAISED.finditer(text))):
            found.append(_trace(raised[-1]["kind"], raised[-1]["said"], text, remote=remote))
    return found


def _unreadable(text: str) -> tuple[str, str, str] | None:
    """Return the error that a file without sense raised, with its words, and whose file it was.

    Often another one came of it: a served borg cannot even pack it for its client.
    """
    owners = list(_OWNER.finditer(text))
    for raised in _RAISED.finditer(text) if owners else ():
        if raised["kind"] in _UNREADABLE_KINDS or _UNREADABLE.match(raised["said"]):
            return raised["kind"], raised["said"], owners[-1]["module"]
    return None


def _trace(kind: str, said: str, text: str, *, remote: bool, path: str = "") -> Trace:
    number = _NUMBER.search(said)
    frames = [frame["module"] for frame in _FRAME.finditer(text)]
    return Trace(
        kind=kind,
        said=said,
        number=int(number["number"]) if number else 0,
        path=path or (number["path"] or "" if number else ""),
        remote=remote,
        repository=bool(frames) and frames[-1] == "repository",
        key=_KEY.search(text) is not None,
    )
