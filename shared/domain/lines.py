"""Lines out of a stream of blocks, in linear time and bounded memory, whatever a program writes."""

from __future__ import annotations

LONGEST_LINE = 64 * 1024
"""Bytes of a line that are kept; the rest of a longer one is dropped and counted."""

_MOST_LINES = 5_000
_MOST_CHARACTERS = 512 * 1024

CUT = "{} bytes of lines longer than 64 KiB were left out here"
"""How it is told that something was dropped."""


def some_lines(text: str, most: int = _MOST_LINES) -> list[str]:
    """Return the first lines of a server's answer: of one that sends millions, the rest would hold the event loop."""
    return text[:_MOST_CHARACTERS].split("\n", most)[:most]


class LineCutter:
    """Takes blocks of bytes and gives whole lines without their newline; a line that is too long is cut."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        """Take how many bytes of a line are kept."""
        self._longest = longest
        self._rest = bytearray()
        self.dropped = 0
        """Bytes of lines that were too long."""

    def feed(self, block: bytes) -> list[bytes]:
        """Return the lines that end in this block."""
        *whole, rest = block.split(b"\n")
        lines: list[bytes] = []
        for part in whole:
            self._keep(part)
            lines.append(bytes(self._rest))
            self._rest.clear()
        self._keep(rest)
        return lines

    def end(self) -> list[bytes]:
        """Return what came after the last newline, if anything did."""
        last = bytes(self._rest)
        self._rest.clear()
        return [last] if last else []

    def _keep(self, part: bytes) -> None:
        # Joining the rest to each new block, the obvious way, is quadratic: 32 MiB without a newline took 25 s.
        room = self._longest - len(self._rest)
        self._rest += part[:room]
        self.dropped += max(0, len(part) - room)


class ShownLines(LineCutter):
    """Gives lines as a terminal shows them: of one that is written over again and again the last state alone."""

    def _keep(self, part: bytes) -> None:
        text = part.rstrip(b"\r")  # what ends a line of Windows writes nothing over
        if text and self._rest.endswith(b"\r"):
            self._rest.clear()
        over = text.rfind(b"\r") + 1
        if over:
            self._rest.clear()
        super()._keep(part[over:])
