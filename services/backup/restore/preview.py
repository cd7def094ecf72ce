"""What a restore would do: counts, room, what is lost, and what is there already. Writes nothing."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

from services.backup.node.views import through_view
from services.backup.restore.checks import Expected
from services.backup.restore.tar import shown
from shared.borg.entries import EntryReader
from shared.errors import Permanent

if TYPE_CHECKING:
    from services.backup.node.views import View
    from services.backup.ports import Storage
    from services.backup.restore.plan import RestorePlan
    from services.backup.restore.server import Probed, RestoreServer
    from shared.borg.entries import Entry
    from shared.runtime.context import Context


async def previewed(
    plan: RestorePlan, ctx: Context, storage: Storage, server: RestoreServer, probed: Probed, *, full: bool
) -> dict[str, Any]:
    """Count what was chosen, and look at what stands in its place."""
    ctx.progress("making the view")

    async def work(view: View) -> dict[str, Any]:
        ctx.progress("counting")
        expected = Expected.of(
            plan, await storage.count_chosen(view.place, view.grant, plan.chosen(full=full, count=True))
        )
        expected.fits(plan, probed)
        existing = await _existing(plan, storage, view, server, expected)
        first = [one | {"path": shown(os.fsencode(one["path"]))} for one in existing["first"]]
        return {
            "preview": True, "mode": plan.asked.mode, "route": "stream", "metadata": "full" if full else "basic",
            "lost": expected.lost(full=full), "files": expected.files + expected.links, "original_size": expected.size,
            "entries": expected.files + expected.links + expected.others + expected.directories,
            "missing": expected.missing[:200], "damaged": expected.damaged[:200], "target": plan.told,
            "server": plan.target.name, "free_bytes": probed.free_bytes, "free_inodes": probed.free_inodes,
            "inside_sources_of": list(plan.sources_of), "shown": existing["digest"],
            "existing": {"count": existing["count"], "first": first},
        }  # fmt: skip

    return await through_view(ctx, storage, plan.repository, work)


async def judge_shown(
    plan: RestorePlan, storage: Storage, view: View, server: RestoreServer, expected: Expected
) -> None:
    """Refuse where something else is there by now than the person was shown."""
    if plan.asked.shown is None:
        return
    if (await _existing(plan, storage, view, server, expected))["digest"] != plan.asked.shown:
        message = f"on {plan.target.name} something else is there now than the preview showed; nothing was changed"
        raise Permanent(message, code="confirm_stale", remedy="look at the preview again")


async def _existing(
    plan: RestorePlan, storage: Storage, view: View, server: RestoreServer, expected: Expected
) -> dict[str, Any]:
    """Look which of the names that are to come are there: of a merge all of them, of a swap the items."""
    rows: list[tuple[str, bytes]] = []

    def take(entry: Entry) -> None:
        rows.append(("d" if entry.type == "d" else "-", plan.below_top(entry.path)))

    if plan.asked.mode == "merge":
        reader = EntryReader(take)
        await storage.entries(view.place, view.grant, plan.archive, reader, plan.asked.paths)
        reader.close()
    elif plan.asked.mode == "swap":
        found = [base64.b64decode(item) for item in plan.asked.items if item in expected.found]
        rows += [("-", plan.below_top(path)) for path in found]
    return await server.existing(rows)
