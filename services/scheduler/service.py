"""What the scheduler does: it listens to nothing, and looks after everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.scheduler.reaper import Reaper
from shared.runtime.service import Service

if TYPE_CHECKING:
    from shared.runtime.service import Parts


def build(parts: Parts) -> Service:
    """Wire the reaper."""
    reaper = Reaper(parts.db, parts.bus, parts.settings.worker, parts.registry)
    return Service(name="scheduler", tasks=(("reaper", reaper.run),))
