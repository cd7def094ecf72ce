"""What the setup service listens to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from services.setup.handlers import announce_failure, setup_server
from shared.events.progress import JobChanged
from shared.events.server import ServerReady, ServerSetup, ServerUnreachable
from shared.runtime.service import Route, Service
from shared.ssh.asyncssh import AsyncSsh

if TYPE_CHECKING:
    from shared.runtime.service import Parts

_CONCURRENCY = 8


def build(parts: Parts) -> Service:
    """Wire the handler to SSH."""
    handler = partial(setup_server, ssh=AsyncSsh(parts.settings.ssh), password_days=parts.settings.keep.passwords_days)
    return Service(
        name="setup",
        routes=(Route(ServerSetup, handler, _CONCURRENCY, on_failure=announce_failure),),
        emits=(ServerSetup, ServerReady, ServerUnreachable, JobChanged),
    )
