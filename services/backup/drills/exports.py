"""Lets what is tested of an archive pass from borg, out of a view, to who reads it."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

from services.backup.drills.choose import CORRUPT
from services.backup.restore.tar import shown
from shared.domain.messages.proofs import TAR_CUT
from shared.domain.proofs import Findings
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.backup.drills.plan import DrilledArchive
    from services.backup.drills.reader import DrillReader
    from services.backup.node.views import View
    from services.backup.ports import Storage
    from shared.runtime.context import Context

_HOSTILE = "hostile_archive"


class Exports:
    """The exports of one test, and how far it is."""

    def __init__(self, ctx: Context, storage: Storage, view: View, estimated: int | None) -> None:
        """Take where it reads from, and how many bytes that will be, if it is known."""
        self._ctx, self._storage, self._view = ctx, storage, view
        self._began = time.monotonic()
        self.estimated = estimated
        self.before = Findings()
        """Of the archives before."""

    async def counted(self, archive: DrilledArchive, items: Sequence[bytes]) -> tuple[set[bytes], set[bytes]]:
        """Return which files hold zeros for what was lost, and which of the items are there."""
        self._ctx.progress("counting", current_path=archive.name)
        plan = _export(archive, items, count=True)
        counted = await self._storage.count_chosen(self._view.place, self._view.grant, plan)
        return {base64.b64decode(one) for one in counted["damaged"]}, {*map(base64.b64decode, counted["found"])}

    async def passed(self, archive: DrilledArchive, items: Sequence[bytes], reader: DrillReader) -> Permanent | None:
        """Let these pass; return what broke it, if that is the archive's fault."""

        async def on_block(block: bytes) -> None:
            reader.feed(block)
            self._tell(reader)

        plan = _export(archive, items, count=False)
        try:
            await self._storage.export_chosen(self._view.place, self._view.grant, plan, on_block)
        except Permanent as error:
            if error.code not in (*CORRUPT, _HOSTILE):
                raise
            return error
        return None if reader.ended else Permanent(TAR_CUT())

    def _tell(self, reader: DrillReader) -> None:
        files = self.before.read + reader.passed.files
        size = self.before.bytes + reader.passed.size
        seconds = time.monotonic() - self._began
        self._ctx.progress(
            "reading", files=files, original_size=size, estimated_size=self.estimated,
            rate=size / seconds if seconds > 1 else None, current_path=shown(reader.at or b""),
        )  # fmt: skip


def _export(archive: DrilledArchive, items: Sequence[bytes], *, count: bool) -> dict[str, Any]:
    """Return the plan of `export_archive.py`."""
    return {
        "name": archive.name, "id": archive.borg_id, "by_id": archive.by_id,
        "items": [base64.b64encode(one).decode() for one in items],
        "parents": [], "full": True, "count": count,
    }  # fmt: skip
