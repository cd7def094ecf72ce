"""What happens to the connection to nats-server: logged, and what is refused counted."""

from __future__ import annotations

import re
import ssl
import time
from typing import TYPE_CHECKING

import structlog

from shared.bus.servers import certificates
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.config.settings import NatsSettings

_log = structlog.get_logger()
_DENIED = re.compile(r"permissions violation for (publish|subscription) to \"?([^\"]*)", re.IGNORECASE)
_DENIED_TOLD_EVERY = 60.0
_BROKEN_OFF = (ConnectionAbortedError, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
_VAGUE = 2
_DENIED_REMEDY = "give nats-server the users.conf of this version, and each service the seed of its own user"


def uncounted(_direction: str) -> None:
    """Count nothing: where no metrics are kept."""


class Watch:
    """Logs what happens to the connection, until it is closed on purpose."""

    def __init__(self, settings: NatsSettings, context: ssl.SSLContext | None, denied: Callable[[str], None]) -> None:
        self.quiet = True
        self._denied = denied
        self._told_at = -_DENIED_TOLD_EVERY
        self.cause = ""
        """The most telling of what was met until now, of equals the latest."""
        self._vagueness = _VAGUE
        self._settings = settings
        self._context = context

    async def error(self, error: Exception) -> None:
        """Note what the client says of the connection."""
        text = str(error) or type(error).__name__
        # A server that refuses us says why and closes: one try reads its word, the next one only the closed socket.
        if (vague := _vagueness(error)) <= self._vagueness:
            self.cause, self._vagueness = text, vague
        # Permission denials reach a caller only as a timeout: this is where their reason shows.
        if found := _DENIED.search(text):
            self._denied(found[1].lower())
            if time.monotonic() - self._told_at >= _DENIED_TOLD_EVERY:  # what is denied once is tried again and again
                self._told_at = time.monotonic()
                _log.error("bus_denied", direction=found[1].lower(), subject=found[2], remedy=_DENIED_REMEDY)
        elif not self.quiet:
            _log.warning("bus_error", error=text)

    async def disconnected(self) -> None:
        """Say so, and read our certificates again for the next connection."""
        if not self.quiet:
            _log.warning("bus_disconnected")
        if self._context is not None:
            try:  # certificates live shorter than processes: what lies in the files by now is shown from now on
                certificates(self._settings).renew(self._context)
            except Permanent as error:
                _log.warning("bus_certificates_kept", reason=error.message)

    async def reconnected(self) -> None:
        """Say so."""
        _log.info("bus_reconnected")


def _vagueness(error: Exception) -> int:
    """Return 0 for the server's own word or what is wrong with TLS, 1 where no server is, 2 for a mere end."""
    if isinstance(error, _BROKEN_OFF) or "eof" in repr(error).lower():
        return _VAGUE
    return 1 if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else 0
