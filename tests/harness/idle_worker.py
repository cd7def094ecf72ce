"""A worker process whose runs do nothing: what is left is the kernel. `python -m tests.harness.idle_worker NODE`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import borgfleet.bootstrap
from borgfleet.registry import SERVICES
from borgfleet.registry import SLOTS as SLOTS_OF
from shared.config.settings import Settings
from shared.domain.job import JobState
from shared.events.backup import BackupRequested
from shared.runtime.context import Context
from shared.runtime.service import Route, Service
from shared.telemetry.logging import configure_logging
from tests.harness.untraced import untraced

if TYPE_CHECKING:
    from tests.harness.fleet import Fleet

SLOTS = 24


def start_idle_worker(fleet: Fleet, node: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "tests.harness.idle_worker", node]
    return subprocess.Popen(argv, env=untraced(fleet.environment) | {"BORGFLEET_HEALTH__PORT": "0"})


async def _do_nothing(event: BackupRequested, ctx: Context) -> None:
    assert event.job_id is not None
    if await ctx.claim(event.job_id) is not None:
        await ctx.run(lambda tx: ctx.finish(tx, JobState.SUCCEEDED))


def main(node: str) -> None:
    settings = Settings()
    configure_logging(settings.log)
    route = Route(BackupRequested, _do_nothing, SLOTS, node=node)
    SLOTS_OF["idle"] = lambda _settings: SLOTS
    SERVICES["idle"] = lambda _parts: Service("idle", (route,))
    asyncio.run(borgfleet.bootstrap.run(settings, ["idle"]))


if __name__ == "__main__":
    main(sys.argv[1])
