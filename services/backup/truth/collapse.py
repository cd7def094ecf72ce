"""How much less than before is too little, and how that is said: for whole archives, sources and mounts alike. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.domain.backup_state import Reason, doubt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.backup.truth.evidence import Given

ACCEPT = "or accept this backup if that is right"
_HALF = 2


def collapsed(now: int, before: int | None) -> bool:
    """Tell whether half of what there was is gone, or more."""
    return bool(before) and now * _HALF <= (before or 0)


def fell(code: str, what: str, given: Given, files: int | None, size: int | None) -> Iterator[Reason]:
    """Say that something gave half of the files or bytes that it gave before, or less."""
    if files and collapsed(given.files, files):
        text = f"{what} gave {number(given.files, 'file')}; it gave {number(files, 'file')} before."
        yield doubt(f"{code}_fewer_files", f"{text} See what is missing, {ACCEPT}.")
    if size and collapsed(given.size, size):
        text = f"{what} gave {number(given.size, 'byte')}; it gave {number(size, 'byte')} before."
        yield doubt(f"{code}_fewer_bytes", f"{text} See what is missing, {ACCEPT}.")


def number(count: int, unit: str) -> str:
    """Return `1 file`, `1,204 files`."""
    return f"{count:,} {unit}{'' if count == 1 else 's'}"
