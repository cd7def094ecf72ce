"""Marks around what a command says, so that neither login scripts nor children left behind are taken for it.

The shell prints `<token> <pid>` on both outputs before the command and `<token> end <status> <left>` behind it. What
comes before is noise of the login; what comes behind is of processes that the command left running, which may hold
the outputs open for ever. So the end of the command is the end of its output, not the end of the stream.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

BEGIN = 'printf \'%s %s\\n\' "$0" "$$"; printf \'%s %s\\n\' "$0" "$$" >&2'
_SCRIPT = (
    BEGIN
    + """
(
{script}
)
borgfleet_status=$?
printf '\\n%s end %s 0\\n' "$0" "$borgfleet_status"
printf '\\n%s end %s 0\\n' "$0" "$borgfleet_status" >&2
exit "$borgfleet_status"
"""
)
_LONGEST_MARK = 100


def new_token() -> str:
    """Return a word that no other output holds."""
    return f"borgfleet-begin-{secrets.token_hex(8)}"


def framed(script: str) -> str:
    """Return the script with its marks; the token is its `$0`."""
    return _SCRIPT.format(script=script)


@dataclass(frozen=True, slots=True)
class End:
    """How a command ended, as its shell says."""

    status: int
    left: bool
    """Processes of its group were still running."""


class Answer:
    """One output of a command, bounded, found between its marks in linear time."""

    def __init__(self, token: str, limit: int) -> None:
        """Take the token of the marks and how many bytes are kept."""
        self._begin = re.compile(rb"%s (\d+)\n" % token.encode())
        self._end = re.compile(rb"\n%s end (\d+) ([01])\n" % token.encode())
        self._limit = limit
        self._data = bytearray()
        self._tail = b""
        self._total = 0
        self.end: End | None = None

    def feed(self, block: bytes) -> None:
        """Take a block; `end` is set when the end mark is in it."""
        if self.end is not None:
            return
        seen = self._tail + block
        found = self._end.search(seen)
        if found:
            self.end = End(int(found[1]), found[2] == b"1")
        self._total += len(block) if found is None else max(0, found.start() - len(self._tail))
        self._data += block[: max(0, self._limit - len(self._data))]
        self._tail = seen[-_LONGEST_MARK:]

    @property
    def dropped(self) -> int:
        """How many bytes of the command were too many."""
        return max(0, self._total - self._limit)

    @property
    def pid(self) -> int | None:
        """The process id of the command's shell; None if it did not begin."""
        found = self._begin.search(self._data)
        return int(found[1]) if found else None

    @property
    def noise(self) -> bytes:
        """What came before the command began: all of it if it never did."""
        found = self._begin.search(self._data)
        return bytes(self._data[: found.start()] if found else self._data)

    @property
    def output(self) -> bytes:
        """What the command itself said."""
        begun = self._begin.search(self._data)
        if begun is None:
            return b""
        ended = self._end.search(self._data, begun.end() - 1)
        return bytes(self._data[begun.end() : ended.start() if ended else len(self._data)])
