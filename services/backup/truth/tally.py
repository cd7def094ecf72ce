"""Counts what borg complains of, exactly, and keeps the first and last of each level: a night may have millions."""

from __future__ import annotations

import re
from collections import Counter, deque
from typing import TYPE_CHECKING

from services.backup.truth.evidence import Ended, Line, Trouble
from shared.domain.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.borg.output import LogLine

KEPT = 100
"""So many of the first and of the last lines of each level."""
_SHOWN_LENGTH = 500
_ERRNO = re.compile(r"\[Errno (\d+)\]")
_CHANGED = ": file changed while we backed it up"
_RACE = re.compile(r"changed \(race condition\), skipping file$|\(race condition, skipped file\)$")
_CHANGED_IDS = frozenset({"FileChangedWarning", "BackupRaceConditionError"})
_NO_ENTRY = {"2"}
_CACHE = re.compile(
    r"The files cache |Continuing without files cache|Discarding incompatible |Cache integrity data not available"
    r"|Could not read previous location file|Could not read/parse key type file"
)
"""What borg says of its own cache, which it makes anew: nothing is missing from the archive. No path begins so."""

_COMPLAINS = re.compile(
    r"\[Errno \d+\]|: (?:permission denied|input/output error|stale file handle|no such file or directory)\b"
    r"|: file (?:inode |type or inode )?changed\b|^\d+ bytes of lines longer than ",
    re.IGNORECASE,
)
"""As borg words its warnings, in a line that is no message; or that something of what it said was left out."""


def trouble_of(line: LogLine, sources: Sequence[str]) -> Trouble | None:
    """Tell what a line is about; None if it complains of nothing."""
    if line.is_error:
        return Trouble.ERROR
    text = line.message
    if not line.is_warning or _CACHE.match(text):
        return None
    if line.code in _CHANGED_IDS or text.endswith(_CHANGED) or _RACE.search(text):
        return Trouble.CHANGED
    # A file's name may hold such words too, but cannot take the real ones away: any other number counts as the worse.
    numbers = set(_ERRNO.findall(text))
    if not numbers:
        return Trouble.OTHER
    if numbers != _NO_ENTRY:
        return Trouble.UNREADABLE
    return Trouble.MISSING if any(text.startswith(f"{source}: ") for source in sources) else Trouble.VANISHED


class Tally:
    """Takes borg's lines as they come; memory does not grow with their number."""

    def __init__(self, sources: Sequence[str]) -> None:
        """Take the sources: that one of them is missing is not a file that vanished."""
        self._sources = sources
        self._counts: Counter[Trouble] = Counter()
        self._complaints = {level: _Ends() for level in ("warning", "error")}
        self._chatter = _Ends()
        self._heard = 0
        self._plain = 0

    def __call__(self, line: LogLine) -> None:
        """Count a line, and keep it if it is among the first or the last."""
        self._heard += 1
        trouble = trouble_of(line, self._sources)
        if trouble is None:
            self._plain += line.level == "info" and not line.code and _COMPLAINS.search(line.message) is not None
            self._chatter.add(self._heard, line)
            return
        self._counts[trouble] += 1
        self._complaints["error" if trouble is Trouble.ERROR else "warning"].add(self._heard, line)

    def ended(self, status: int) -> Ended:
        """Return how borg ended."""
        shown = tuple(
            Line(level=line.level, message=clean(line.message, _SHOWN_LENGTH), trouble=trouble)
            for line in _in_order(*self._complaints.values())
            if (trouble := trouble_of(line, self._sources))
        )
        return Ended(status=status, counts=dict(self._counts), shown=shown, plain=self._plain)

    @property
    def lines(self) -> list[LogLine]:
        """What was kept, in the order in which it came: the last words say why borg failed."""
        return _in_order(self._chatter, *self._complaints.values())


class _Ends:
    """The first and the last of a sequence."""

    def __init__(self) -> None:
        self.first: list[tuple[int, LogLine]] = []
        self.last: deque[tuple[int, LogLine]] = deque(maxlen=KEPT)

    def add(self, number: int, line: LogLine) -> None:
        (self.first if len(self.first) < KEPT else self.last).append((number, line))


def _in_order(*ends: _Ends) -> list[LogLine]:
    kept = [entry for end in ends for entry in (*end.first, *end.last)]
    return [line for _, line in sorted(kept, key=lambda entry: entry[0])]
