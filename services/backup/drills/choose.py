"""Chooses a sample: from the catalogue where it knows the archive, else from borg's listing of it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.backup.drills import known
from services.backup.node.apart import apart
from shared.borg.entries import EntryReader
from shared.domain.proofs import MOST_BYTES
from shared.domain.sampling import Candidate, Sampler, choose
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from services.backup.drills.plan import DrilledArchive, DrillPlan
    from services.backup.node.views import View
    from services.backup.ports import Storage
    from shared.borg.entries import Entry
    from shared.runtime.context import Context

_SECONDS = 600.0
GONE = "archive_missing"
CORRUPT = ("repository_corrupt", "manifest_unreadable")


@dataclass
class Chosen:
    """The sample, by archive; and what could not even be listed."""

    files: dict[str, list[Candidate]] = field(default_factory=dict[str, "list[Candidate]"])
    broken: dict[str, Permanent] = field(default_factory=dict[str, Permanent])
    listed: int = 0
    """Archives that borg listed, since the catalogue does not know them."""


def candidate(entry: Entry, order: int = 0) -> Candidate:
    """Return a listed file as it may be chosen; without a catalogue its time tells when it changed."""
    return Candidate(entry.path, entry.size, entry.mode, entry.mtime, entry.mtime or order)


async def sampled(plan: DrillPlan, ctx: Context, storage: Storage, view: View, file: Path) -> Chosen:
    """Choose the sample of all archives."""
    try:
        return await _Choice(plan, ctx, storage, view, file).made()
    except (sqlite3.DatabaseError, ValueError, OSError, TimeoutError):
        ctx.log("info", "kernel", "the catalogue cannot be read now: borg lists", code="catalogue_unreadable")
        return await _Choice(plan, ctx, storage, view, None).made()


async def looked_up(work: Callable[[], Any]) -> Any:
    """Ask the catalogue, in a thread."""
    return await apart(work, _SECONDS, "catalogue")


class _Choice:
    def __init__(self, plan: DrillPlan, ctx: Context, storage: Storage, view: View, file: Path | None) -> None:
        self._plan, self._ctx, self._storage, self._view, self._file = plan, ctx, storage, view, file
        self._chosen = Chosen()

    async def made(self) -> Chosen:
        asked = self._plan.asked
        files, most = asked.most_files, asked.most_bytes or MOST_BYTES
        samplers: dict[str, Sampler] = {}
        for archive in self._plan.archives:
            self._ctx.progress("choosing", current_path=archive.name)
            sampler = Sampler(f"{self._plan.seed}:{archive.borg_id}", files, most, favour=archive.favoured)
            if await self._saw(archive, sampler):
                samplers[archive.borg_id] = sampler
        for borg_id, some in choose(samplers, files, most).items():
            self._chosen.files[borg_id] = await self._named(some)
        return self._chosen

    async def _saw(self, archive: DrilledArchive, sampler: Sampler) -> bool:
        file = self._file
        if file is not None and await looked_up(lambda: known.sample(file, archive.borg_id, sampler)):
            return True
        reader = EntryReader(lambda entry: sampler.add(candidate(entry)) if entry.type == "-" else None)
        try:
            view = self._view
            await self._storage.entries(view.place, view.grant, archive.name, reader, borg_id=archive.meant)
            reader.close()
        except Permanent as error:
            if error.code not in (GONE, *CORRUPT):
                raise
            self._chosen.broken[archive.borg_id] = error
            return False
        self._chosen.listed += 1
        return True

    async def _named(self, some: list[Candidate]) -> list[Candidate]:
        file = self._file
        found = {one.path: one for one in some if one.version is None}  # borg may list a path twice
        rows = [one for one in some if one.version is not None]
        if file is not None and rows:
            found |= {one.path: one for one in await looked_up(lambda: known.with_paths(file, rows))}
        return list(found.values())
