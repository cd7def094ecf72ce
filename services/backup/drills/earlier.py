"""Holds what was read against what earlier restore tests read of the same files."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from services.backup.drills import known
from services.backup.drills.choose import looked_up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from services.backup.drills.read import ArchiveTested
    from shared.runtime.context import Context


async def held_against_earlier(ctx: Context, tested: Sequence[ArchiveTested], file: Path) -> None:
    """Compare hashes with those of earlier tests, and keep the new ones; the catalogue is only a cache."""
    new: dict[tuple[int, int, int], bytes] = {}
    try:
        for one in tested:
            borg_id, paths = one.archive.borg_id, list(one.hashes)
            rows: dict[bytes, known.Known] = await looked_up(lambda of=borg_id, some=paths: known.known(file, of, some))
            for path, row in rows.items():
                _, sha256 = one.hashes[path]
                if not row.told:
                    continue
                if row.sha256 is None:
                    new[row.version] = sha256
                elif row.sha256 == sha256:
                    one.tested.hashed += 1
                else:
                    one.differs(path)
        await looked_up(lambda: known.remember(file, new))
    except (sqlite3.DatabaseError, OSError, TimeoutError):
        ctx.log("info", "kernel", "hashes of earlier tests cannot be read now", code="catalogue_unreadable")
