"""What the scheduler does: it listens to nothing, and looks after everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.scheduler.ahead import AheadOfTime
from services.scheduler.canary import Canary
from services.scheduler.housekeeping import Housekeeping
from services.scheduler.reaper import Reaper
from services.scheduler.schedules import Schedules
from services.scheduler.sweeps import Sweeps
from shared.events.backup import BackupMissed
from shared.events.progress import JobChanged
from shared.events.repository import MaintenanceMissed
from shared.events.streams import COMMANDS
from shared.runtime.service import Service

if TYPE_CHECKING:
    from shared.runtime.service import Parts


def build(parts: Parts) -> Service:
    """Wire the reaper, and what is due by the clock."""
    sent_kept = parts.settings.keep.sent_events_days * 86_400
    reaper = Reaper(parts.db, parts.bus, parts.settings.worker, parts.registry, sent_kept)
    sweeps = Sweeps(parts.db, parts.settings.stats.every)
    schedules = Schedules(parts.db, parts.registry)
    housekeeping = Housekeeping(parts.db, parts.settings.keep)
    return Service(
        name="scheduler",
        emits=(*COMMANDS, BackupMissed, MaintenanceMissed, JobChanged),
        sweeps=True,
        tasks=(
            *reaper.tasks(),
            sweeps.task(),
            schedules.task(),
            AheadOfTime(parts.db).task(),
            housekeeping.task(),
            Canary(parts.bus).task(),
        ),
    )
