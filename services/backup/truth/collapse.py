"""How much less than before is too little, and how that is said: for whole archives, sources and mounts alike. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.domain.backup_state import Reason, doubt
from shared.domain.messages.counts import BYTES, FILES, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.backup.truth.evidence import Given
    from shared.domain.message import Message

_HALF = 2


def collapsed(now: int, before: int | None) -> bool:
    """Tell whether half of what there was is gone, or more."""
    return bool(before) and now * _HALF <= (before or 0)


def fell(
    fewer: tuple[Message, Message], given: Given, files: int | None, size: int | None, **where: str
) -> Iterator[Reason]:
    """Say that something gave half of the files or bytes that it gave before, or less; `fewer`: how of either."""
    fewer_files, fewer_bytes = fewer
    if files and collapsed(given.files, files):
        yield doubt(fewer_files(**where, now=number(given.files, FILES), before=number(files, FILES)))
    if size and collapsed(given.size, size):
        yield doubt(fewer_bytes(**where, now=number(given.size, BYTES), before=number(size, BYTES)))
