"""A backup node in one container: the service and its storage sshd, which ends after the service.

Were sshd to end first, servers that back up directly would lose their connection before the service knows of the stop.
"""

from __future__ import annotations

import asyncio
import getpass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from borgfleet.bootstrap import run
from borgfleet.children import Child, plan_sshd
from shared.domain.messages.installation import SSHD_MISSING
from shared.errors import Permanent
from shared.runtime.board import Board
from shared.runtime.supervisor import supervise
from shared.runtime.tasks import Supervised
from shared.telemetry.metrics import TaskMetrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.config.settings import Settings


async def run_with_endpoint(settings: Settings, names: Sequence[str]) -> None:
    """Run services beside a storage sshd until a signal comes; Permanent where no OpenSSH server is installed."""
    backup, directory = settings.backup, settings.data_dir / "sshd"
    argv = plan_sshd(
        directory,
        listen=backup.endpoint_listen,
        port=backup.listening_port,
        user=getpass.getuser(),
        authorized_keys=settings.state_dir / "authorized_keys",
    )
    if argv is None:
        raise Permanent(SSHD_MISSING())
    host_key = directory / "ssh_host_ed25519_key.pub"
    settings = settings.model_copy(update={"backup": backup.model_copy(update={"endpoint_host_key_file": host_key})})
    registry, stopping = CollectorRegistry(), asyncio.Event()
    board = Board(TaskMetrics(registry))
    sshd = asyncio.create_task(supervise(Supervised("child:sshd", Child("sshd", argv).run), board, stopping))
    try:
        await run(settings, names, watched=(registry, board))
    finally:
        stopping.set()
        await sshd
