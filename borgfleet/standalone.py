"""`borgfleet up`: one process, all services, its own nats-server and storage sshd, SQLite in one data directory."""

from __future__ import annotations

import asyncio
import getpass
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from borgfleet.bootstrap import run
from borgfleet.children import Child, NatsChild, plan_nats, plan_sshd, wait_for_port
from borgfleet.people import keep_cli_token, new_setup_link, setup_url
from borgfleet.preparation import prepare
from borgfleet.registry import SERVICES
from shared.domain.names import shown_address
from shared.runtime.board import Board
from shared.runtime.supervisor import supervise
from shared.runtime.tasks import Supervised
from shared.telemetry.metrics import TaskMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.config.settings import BackupSettings, Settings


async def up(settings: Settings, announce: Callable[[str, str | None, str | None], None]) -> None:
    """Run until a signal comes; `announce(url, first_token, first_link)` once everything is about to start."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    stopping, children_stopping = asyncio.Event(), asyncio.Event()
    nats = plan_nats(settings.data_dir)
    registry = CollectorRegistry()
    board = Board(TaskMetrics(registry))

    def child(name: str, argv: Sequence[str]) -> asyncio.Task[None]:
        return asyncio.create_task(
            supervise(Supervised(f"child:{name}", Child(name, argv).run), board, children_stopping)
        )

    children = [child("nats-server", nats.argv)]
    try:
        await wait_for_port(nats.url)
        settings = settings.model_copy(update={"backup": _as_ourselves(settings.backup)})
        backup = settings.backup
        sshd = plan_sshd(
            settings.data_dir / "sshd",
            listen=backup.endpoint_listen,
            port=backup.listening_port,
            user=backup.endpoint_user,
            authorized_keys=settings.state_dir / "authorized_keys",
        )
        if sshd is not None:
            children.append(child("sshd", sshd))
        settings = standalone_settings(settings, nats, has_sshd=sshd is not None)
        made = await prepare(settings)
        if made.token is not None:
            keep_cli_token(settings.data_dir, made.token)
        link = setup_url(settings, made.link) if made.link else await new_setup_link(settings)
        announce(f"http://{shown_address(settings.api.host, settings.api.port)}", made.token, link)
        await run(settings, list(SERVICES), stopping, (registry, board))
    finally:
        children_stopping.set()
        await asyncio.gather(*children)


def _as_ourselves(backup: BackupSettings) -> BackupSettings:
    """Let servers log in to the storage sshd as the user who runs it, unless told otherwise."""
    if "endpoint_user" in backup.model_fields_set:
        return backup
    return backup.model_copy(update={"endpoint_user": getpass.getuser()})


def standalone_settings(settings: Settings, nats: NatsChild, *, has_sshd: bool) -> Settings:
    """Point the settings at the children, and at the borg that is installed beside this program."""
    bus = settings.nats.model_copy(
        update={
            "url": nats.url,
            "monitor_url": nats.monitor_url,
            "token_file": nats.token_file,
            "urls": (),
            "monitor_urls": (),
            "nkey_seed_file": None,
            "ca_file": None,
            "cert_file": None,
            "key_file": None,
        }
    )
    host_key = settings.data_dir / "sshd" / "ssh_host_ed25519_key.pub" if has_sshd else None
    backup = settings.backup.model_copy(
        update={"endpoint_host_key_file": host_key, "borg": own_borg(settings.backup.borg)}
    )
    return settings.model_copy(update={"nats": bus, "backup": backup})


def own_borg(borg: str) -> str:
    """Prefer the borg of this Python environment to an older one of the system."""
    if "/" in borg:
        return borg
    return shutil.which(borg, path=str(Path(sys.executable).parent)) or borg
