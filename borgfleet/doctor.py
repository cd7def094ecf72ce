"""`borgfleet doctor`: checks what the settings point at, and says what to do about each problem."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import packages_distributions, version
from typing import TYPE_CHECKING

from sqlalchemy import select

from borgfleet.master_key import open_database, proven_database
from borgfleet.standalone import own_borg
from shared.borg import fencing
from shared.bus.jetstream import connect
from shared.bus.servers import ServerState, Silent, look
from shared.db.queries.own_backups import last_own_backup
from shared.db.tables.base import db_now
from shared.domain.messages.installation import (
    BORG_DOES_NOT_RUN,
    BORG_MISSING_DOCTOR,
    BORG_TOO_OLD,
    CLOCKS_DIFFER,
    DISK_NEARLY_FULL,
    JETSTREAM_OFF,
    NATS_SERVERS_AWAY,
    PACKAGE_NAME_TAKEN,
    STREAMS_BEHIND,
)
from shared.domain.messages.recovery_kit import KIT_LACKS
from shared.errors import AppError, Permanent
from shared.kit.cover import kit_cover
from shared.secrets.envelope import KeyRing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.config.settings import Settings

_CLOCK_SECONDS = 5.0
_FREE_BYTES = 1024**3
_BORG = (1, 4, 5)


_ADVICE = ("recovery kit",)
"""What a person should do one day, and what no machine has to be stopped or mended for."""


async def examine(settings: Settings, say: Callable[[str], None]) -> bool:
    """Print the settings and every finding; return whether all works."""
    say(json.dumps(settings.redacted(), indent=2))
    healthy = True
    for name, check in _CHECKS.items():
        try:
            say(f"ok       {name}: {await check(settings)}")
        except AppError as error:
            healthy = healthy and name in _ADVICE
            say(f"{'TO DO   ' if name in _ADVICE else 'PROBLEM '} {name}: {error.message}\n         → {error.remedy}")
    return healthy


async def _versions(_settings: Settings) -> str:
    return f"borgfleet {version('borgfleet')}, Python {sys.version.split()[0]}"


async def _names(_settings: Settings) -> str:
    owners = packages_distributions()
    for package in ("borgfleet", "services", "shared"):
        others = set(owners.get(package, [])) - {"borgfleet"}
        if others:
            raise Permanent(PACKAGE_NAME_TAKEN(package=package, others=sorted(others)))
    return "no other distribution installs our packages"


async def _disk(settings: Settings) -> str:
    directory = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
    free = shutil.disk_usage(directory).free
    if free < _FREE_BYTES:
        raise Permanent(DISK_NEARLY_FULL(free=free // 1024**2, path=directory))
    return f"{free // 1024**3} GiB free at {directory}"


async def _borg(settings: Settings) -> str:
    borg = own_borg(settings.backup.borg)
    try:
        shown = await asyncio.to_thread(
            subprocess.run, [borg, "--version"], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise Permanent(BORG_DOES_NOT_RUN(borg=borg, error=error)) from error
    found = shown.stdout.strip().removeprefix("borg ")
    if tuple(int(part) for part in found.split(".") if part.isdigit()) < _BORG:
        raise Permanent(BORG_TOO_OLD(found=found))
    return f"borg {found} ({borg})"


async def _fence(settings: Settings) -> str:
    borg = own_borg(settings.backup.borg)
    path = shutil.which(borg)
    if path is None:
        raise Permanent(BORG_MISSING_DOCTOR(borg=borg))
    found = await asyncio.to_thread(fencing.examine, path)
    return f"fits borg {found}: a server can add to its own repository and change nothing that was there"


async def _database(settings: Settings) -> str:
    db = open_database(settings, KeyRing([]))  # what is asked here needs no key
    try:
        async with db.read() as session:
            before = datetime.now(UTC)
            now = (await session.execute(select(db_now()))).scalar_one()
            after = datetime.now(UTC)
    finally:
        await db.close()
    # It told the time at some moment between the two: a slow answer is no other clock.
    drift = max((before - now).total_seconds(), (now - after).total_seconds(), 0.0)
    if drift > _CLOCK_SECONDS:
        raise Permanent(CLOCKS_DIFFER(drift=drift))
    return f"answers; clocks differ by {drift:.1f} s"


async def _bus(settings: Settings) -> str:
    bus = await connect(settings.nats, name="borgfleet-doctor")
    try:
        healthy = await bus.healthy()
    finally:
        await bus.close()
    # Who is away tells more than that JetStream does not answer, which it causes.
    states = await look(settings.nats)
    if silent := [f"{state.url} ({state.reason})" for state in states if isinstance(state, Silent)]:
        raise Permanent(NATS_SERVERS_AWAY(servers=silent))
    if not healthy:
        raise Permanent(JETSTREAM_OFF())
    servers = [state for state in states if isinstance(state, ServerState)]
    if behind := [one for server in servers for one in server.behind]:
        raise Permanent(STREAMS_BEHIND(behind=behind))
    return "; ".join(["JetStream answers", *map(str, servers)])


async def _master_key(settings: Settings) -> str:
    db = await proven_database(settings)
    try:
        keys = await db.run(lambda tx: tx.secrets.keys_at_hand())
    finally:
        await db.close()
    return f"{settings.master_key_path}, mode 0600, opens what is sealed in the database (key {keys[0]})"


async def _kit(settings: Settings) -> str:
    db = open_database(settings, KeyRing([]))  # what is asked here needs no key
    try:
        async with db.read() as session:
            cover, at = await kit_cover(session), await last_own_backup(session)
    finally:
        await db.close()
    if cover.missing:
        raise Permanent(KIT_LACKS(missing=len(cover.missing), repositories=cover.repositories))
    backed_up = f"{at:%Y-%m-%d %H:%M} UTC" if at else "never"
    return (
        f"covers {cover.covered} of {cover.repositories} repositories; Borgfleet itself was last backed up: {backed_up}"
    )


_CHECKS: dict[str, Callable[[Settings], Awaitable[str]]] = {
    "versions": _versions,
    "package names": _names,
    "disk": _disk,
    "borg": _borg,
    "fence": _fence,
    "master key": _master_key,
    "database and clock": _database,
    "message bus": _bus,
    "recovery kit": _kit,
}
