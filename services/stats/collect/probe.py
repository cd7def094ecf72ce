"""One look at a server: one round trip over a kept connection."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING

from services.stats.collect.parse import parse_sample
from services.stats.ports import ProbeResult
from shared.errors import AppError, Transient

if TYPE_CHECKING:
    from services.stats.collect.connection_pool import ConnectionPool
    from services.stats.ports import Probe, Subject
    from shared.domain.stats import Sample
    from shared.ssh.port import Connection, Credentials

_PROBE = files("services.stats.collect").joinpath("probe.sh").read_text()


class SshProbe:
    """Feeds the probe to a shell on the server and reads its answer."""

    def __init__(self, kept: ConnectionPool, *, seconds: float) -> None:
        """Take the connections, and how long a server may take to answer once it let us in."""
        self._kept = kept
        self._seconds = seconds

    async def probe(self, subject: Subject, credentials: Credentials) -> ProbeResult:
        """Return a sample, or the reason why there is none."""
        try:
            return ProbeResult(subject, await self._probe(subject, credentials))
        except AppError as error:
            return ProbeResult(subject, error=error)

    async def _probe(self, subject: Subject, credentials: Credentials) -> Sample:
        was_kept = False
        try:
            async with self._kept.connection(subject.server_id, subject.target, credentials) as (connection, was_kept):
                return await self._ask(connection)
        except Transient:
            if not was_kept:
                raise
        # A kept connection may have died unnoticed, with its server rebooted: only a fresh one tells.
        async with self._kept.connection(subject.server_id, subject.target, credentials) as (connection, _):
            return await self._ask(connection)

    async def _ask(self, connection: Connection) -> Sample:
        asked_at = datetime.now(UTC)
        done = await connection.run("exec sh -s", stdin=_PROBE, seconds=self._seconds)
        return parse_sample(done.stdout, asked_at=asked_at, answered_at=datetime.now(UTC))


if TYPE_CHECKING:
    _: type[Probe] = SshProbe
