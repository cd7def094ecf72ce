"""`/api/events`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request

from services.api.features.events.live import Live
from services.api.features.events.schemas import LiveEvent, Topic
from services.api.features.events.stream import EventStream
from services.api.kernel.guard import Allow, GuardedRoute, Open
from shared.domain.values import CleanText

router = APIRouter(tags=["live events"], route_class=GuardedRoute)


@router.get(
    "/api/events",
    dependencies=[Allow(Open.ACCOUNT)],
    status_code=200,
    response_class=EventStream,
    response_model=LiveEvent,
)
async def follow_events(
    request: Request,
    topics: Annotated[list[Topic] | None, Query(description="Only these; all without.", max_length=10)] = None,
    last_event_id: Annotated[
        CleanText | None,
        Header(description="`id` of the last event one had: what came after it follows.", max_length=64),
    ] = None,
) -> EventStream:
    """Follow what happens, as server-sent events: of each topic that one may read, and of the servers one may see.

    A stream ends after ten minutes at the latest; connect again then. It begins with `reset` unless it goes on where
    an earlier one ended.
    """
    live: Live = request.app.state.live
    return EventStream(live, request, topics or tuple(Topic), last_event_id or "")
