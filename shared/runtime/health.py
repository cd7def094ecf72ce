"""`/livez`, `/readyz` and `/metrics` of one process, on a port of its own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from typing_extensions import override

from shared.errors import Transient
from shared.runtime.http import BoundedHttp

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from prometheus_client import CollectorRegistry, Gauge
    from starlette.requests import Request

    from shared.bus.port import Bus
    from shared.config.settings import HealthSettings
    from shared.db.session import Database
    from shared.runtime.board import Board

_PROBE_SECONDS = 3.0


class Health:
    """Alive: the event loop turns. Ready: database and bus answer, and no task of this process is down.

    Who only takes orders, as the API does, is ready without the bus: they lie in the database until it is back.
    """

    def __init__(
        self,
        db: Database,
        bus: Bus,
        registry: CollectorRegistry,
        board: Board | None = None,
        *,
        needs_bus: bool = True,
        bus_up: Gauge | None = None,
    ) -> None:
        """Watch these."""
        self._needs_bus = needs_bus
        self._bus_up = bus_up
        self._board = board
        self._db = db
        self._bus = bus
        self._registry = registry

    async def problems(self) -> dict[str, str]:
        """Return what does not answer, by name; empty when ready."""
        return (await self._found())[0]

    async def _found(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return what keeps this process from its work, and what only slows it down."""
        database, bus = await asyncio.gather(self._database(), self._bus_answers())
        tasks = self._board.problems() if self._board else {}
        stalled = self._board.stalled_by(("bus_", "stream_")) if self._board and not self._needs_bus else set[str]()
        problems = {name: text for name, text in tasks.items() if name not in stalled}
        degraded = {name: text for name, text in tasks.items() if name in stalled}
        if database:
            problems["database"] = database
        if not bus:
            (problems if self._needs_bus else degraded)["bus"] = "does not answer"
        return problems, degraded

    async def _bus_answers(self) -> bool:
        answers = await self._bus.healthy()
        if self._bus_up is not None:
            self._bus_up.set(answers)
        return answers

    def app(self) -> Starlette:
        """Return the application with the three paths."""
        return Starlette(
            routes=[Route("/livez", self._livez), Route("/readyz", self._readyz), Route("/metrics", self._metrics)]
        )

    async def _database(self) -> str:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._db.require_writable()
        except (Transient, TimeoutError) as error:
            return str(error) or "does not answer"
        return ""

    async def _livez(self, _request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _readyz(self, _request: Request) -> Response:
        problems, degraded = await self._found()
        status = 503 if problems else 200
        word = "unready" if problems else "degraded" if degraded else "ready"
        return JSONResponse({"status": word, "problems": problems, "degraded": degraded}, status_code=status)

    async def _metrics(self, _request: Request) -> Response:
        await self._bus_answers()
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


async def serve(
    app: object, settings: HealthSettings, stopping: asyncio.Event, *, trusted_proxies: Sequence[str] = ()
) -> None:
    """Serve an ASGI application until told to stop; X-Forwarded-* headers are believed of these proxies alone."""
    config = uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType] - uvicorn takes any ASGI application
        http=BoundedHttp,
        host=settings.host,
        port=settings.port,
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=5,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
    )
    server = QuietServer(config)
    task = asyncio.create_task(server.serve())
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    server.should_exit = True
    await task


class QuietServer(uvicorn.Server):
    """A server that leaves signals to the supervisor."""

    @contextlib.contextmanager
    @override
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield
