"""One reader's stream of live events: what he may see of the ring, from his place in it."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from fastapi import Response
from sqlalchemy import select
from typing_extensions import override

from services.api.features.events.ring import FOR_ALL
from services.api.features.events.schemas import READERS, Topic
from services.api.kernel.errors import answer_error
from services.api.kernel.guard import principal_of
from services.api.kernel.head import HEAD_ONLY
from services.api.kernel.scope import servers_for
from shared.db.tables.server import Server
from shared.errors import AppError, Forbidden

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from fastapi import Request
    from starlette.types import Receive, Scope, Send

    from services.api.features.events.live import Live
    from services.api.features.events.ring import Entry
    from services.api.kernel.principal import Principal
    from shared.db.session import Database

COMMENT_SECONDS = 15.0
LONGEST_SECONDS = 600.0
SEEN_SECONDS = 5.0
"""For so long a server that lost a tag may go on being seen."""
_RETRY = (1_000, 5_000)
"""Milliseconds: not all of those that were cut off at once come back at once."""
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class EventStream(Response):
    """An answer that goes on; what is due is sent as one piece, and only then the next is looked for."""

    media_type = "text/event-stream"

    def __init__(self, live: Live, request: Request, topics: Collection[Topic], last_id: str) -> None:
        """Prepare a stream for whoever asks, from after the event that he had last; empty: from now on."""
        super().__init__()
        self._live = live
        self._request = request
        self._last_id = last_id
        self._sight = _Sight(request, topics)

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what happens until the reader leaves, may read no more, or the time is over."""
        principal = principal_of(self._request)
        try:
            with self._live.one_of(str(principal.user_id or principal.key)):
                await self._sight.look()
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                if not scope.get(HEAD_ONLY):
                    await self._told(receive, send)
        except AppError as error:
            await answer_error(error, self._request.state.request_id)(scope, receive, send)
            return
        await send({"type": "http.response.body", "body": b"retry: %d\n\n" % random.randint(*_RETRY)})  # noqa: S311 - no secret

    async def _told(self, receive: Receive, send: Send) -> None:
        left = asyncio.create_task(_left(receive))
        try:
            await self._follow(left, send)
        finally:
            left.cancel()

    async def _follow(self, left: asyncio.Task[None], send: Send) -> None:
        ring, sent = self._live.ring, time.monotonic()
        until = sent + LONGEST_SECONDS
        place = ring.resumed(self._last_id)
        first = b": live\n\n"
        if place is None:
            place, first = ring.head, _reset(ring.epoch, ring.head)
        await send({"type": "http.response.body", "body": first, "more_body": True})
        while self._live.running and not left.done() and time.monotonic() < until:
            news = ring.news()
            if place == ring.head:
                quiet = max(0.0, sent + COMMENT_SECONDS - time.monotonic())
                await asyncio.wait({news, left}, timeout=quiet, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            entries = ring.after(place)
            if entries is None or left.done():
                return  # he read too slowly: what came meanwhile is gone
            try:
                changed = await self._sight.look()
            except AppError:
                return  # he may read no more, or that cannot be known now
            place = entries[-1].seq if entries else place
            body = b"".join(entry.data for entry in entries if self._sight.sees(entry))
            # What he sees now and did not see before, he has never been told of.
            body = (_reset(ring.epoch, place) if changed else b"") + body
            if body or time.monotonic() - sent >= COMMENT_SECONDS:  # what is not for him keeps no connection alive
                await send({"type": "http.response.body", "body": body or b": live\n\n", "more_body": True})
                sent = time.monotonic()


class _Sight:
    """What somebody may see, looked up anew as for any request."""

    def __init__(self, request: Request, topics: Collection[Topic]) -> None:
        self._request = request
        self._topics = topics
        self._database: Database = request.app.state.gateway.database
        self._who: Principal | None = None
        self._until = 0.0
        self._servers: Mapping[str, frozenset[str] | None] = {}

    async def look(self) -> bool:
        """Return whether something else is seen than before; `Unauthenticated` where nobody may look any more."""
        who: Principal = await self._request.app.state.authenticate(self._request)
        if who is self._who and time.monotonic() < self._until:
            return False
        before, first = self._servers, self._who is None
        self._servers = {topic.value: await self._of(who, topic) for topic in self._topics}
        self._who, self._until = who, time.monotonic() + SEEN_SECONDS
        return not first and before != self._servers

    def sees(self, entry: Entry) -> bool:
        """Tell whether an entry is for this reader."""
        if entry.topic == FOR_ALL:
            return True
        servers = self._servers.get(entry.topic, frozenset())
        return servers is None or entry.server in servers

    async def _of(self, who: Principal, topic: Topic) -> frozenset[str] | None:
        """Return the servers whose events of a topic are seen; None: all, and what belongs to none."""
        try:
            servers = await servers_for(self._database, who, READERS[topic])
        except Forbidden:
            return frozenset()
        if servers is None:
            return None
        if topic is not Topic.ALERT:
            return frozenset(map(str, servers))
        async with self._database.for_requests().read() as session:
            return frozenset(await session.scalars(select(Server.name).where(Server.id.in_(servers))))


def _reset(epoch: str, place: int) -> bytes:
    return f"id: {epoch}-{place}\nevent: reset\ndata: {{}}\n\n".encode()


async def _left(receive: Receive) -> None:
    """Wait until the reader leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
