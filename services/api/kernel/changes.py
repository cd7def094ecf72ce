"""Changes: one request is one transaction, and its answer is remembered in it.

The first statement takes the request's key, the last one keeps the answer, and they commit with the change. So whoever
repeats a request, the gateway itself after a COMMIT whose answer was lost or a client with its `Idempotency-Key`, gets
the answer that was given, and nothing is done twice.
"""

from __future__ import annotations

import json
import re
import uuid
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from starlette.responses import Response

from services.api.audit.record import Watch, record
from services.api.kernel.approval import ApprovalAsked, Waits, shown
from services.api.kernel.errors import Refused
from services.api.kernel.etag import HEADER as IF_MATCH
from services.api.kernel.gateway import gateway_of
from services.api.kernel.versions import Versions
from shared.db.stores.approvals import Asker, ask
from shared.db.stores.replies import Reply, RequestKey
from shared.db.visible import seeing
from shared.domain.four_eyes import DIGEST
from shared.domain.messages.requests import IDEMPOTENCY_KEY_INVALID

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from fastapi import Request
    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.kernel.body import ReadRequest
    from services.api.kernel.gateway import Gateway
    from services.api.kernel.principal import Principal
    from shared.db.session import Late
    from shared.db.unit_of_work import UnitOfWork

T = TypeVar("T")
UNSAFE = frozenset({"DELETE", "PATCH", "POST", "PUT"})
HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_CORRELATION = uuid.UUID("3d0f6a5e-6f0c-4f0e-9a4f-5b8d0c1e7a21")
"""The name space in which a request id that is no UUID becomes one."""
_ACCEPTED, _REFUSED = 202, 400


class _Answered(Exception):
    """The request was answered before: nothing more is done."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class _Change:
    """One transaction for all that a route does: it begins with the first thing that may change something."""

    def __init__(self, gateway: Gateway, late: Late, key: RequestKey, request_id: str) -> None:
        self._gateway = gateway
        self._late = late
        self._key = key
        self._request_id = request_id
        self.watch = Watch()

    async def run(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Do work as a part of the change."""
        begins = self._late.tx is None
        tx = await self._late.begin()
        if begins:
            Versions().attach(tx.session)
            self.watch.attach(tx.session)
            tx.jobs.correlation_id = correlation_of(self._request_id)
            if (reply := await tx.replies.take(self._key)) is not None:
                raise _Answered(reply)
        # Only while the route works: who has the next slot, and what is told of jobs, is the whole fleet's.
        with seeing(tx.session, self._gateway.servers):
            made = await work(tx)
            await tx.session.flush()
        tx.session.expunge_all()  # as after a commit: what is read next is read from the database
        return made

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncSession]:
        """Read what the change sees: its own work too, once it has begun."""
        if self._late.tx is not None:
            with seeing(self._late.tx.session, self._gateway.servers):
                yield self._late.tx.session
            return
        async with self._gateway.db.read() as session:
            yield session


async def answer_once(
    request: ReadRequest, principal: Principal, route: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Let a route answer a request that may change something; one that was answered before is answered the same."""
    gateway = gateway_of(request)
    key = _key_of(request, principal)

    async def work(late: Late) -> Response:
        change = _Change(gateway, late, key, request.state.request_id)
        request.state.gateway = replace(gateway, change=change)
        try:
            response = await route(request)
        except _Answered as answered:
            return _again(answered.reply)
        if late.tx is None:
            return response  # nothing was to be changed
        if response.status_code >= _REFUSED:
            await late.tx.session.rollback()
            return response
        answer = bytes(response.body)
        await record(late.tx, request, request.state.action, watch=change.watch, answer=answer)
        headers = response.headers
        reply = Reply(response.status_code, answer.decode(), headers.get("etag", ""), headers.get("location", ""))
        await late.tx.replies.keep(key, reply)
        return response

    database = gateway.database.for_requests()
    try:
        return await database.run_late(work)
    except Waits as error:  # all that was begun is taken back
        waits = error
    return await database.run_late(lambda late: _ask(request, key, waits, late))


async def _ask(request: ReadRequest, key: RequestKey, waits: Waits, late: Late) -> Response:
    """Keep a command for a second person, and answer 202 with what waits for him."""
    tx = await late.begin()
    if (reply := await tx.replies.take(key)) is not None:
        return _again(reply)
    watch = Watch()
    watch.attach(tx.session)
    asking = waits.asking
    asker = Asker(asking.key, asking.name, asking.user_id)
    approval = await ask(tx.session, waits.command, asker, waits.about)
    out = ApprovalAsked.model_validate(shown(approval))
    out.secret = waits.secret if approval.fields.get(DIGEST) == waits.command.fields.get(DIGEST) else None
    reply = Reply(_ACCEPTED, out.model_dump_json(), "", f"/api/approvals/{approval.id}")
    await record(tx, request, request.state.action, watch=watch, answer=reply.body.encode(), asked=True)
    await tx.replies.keep(key, reply)
    return _answer(reply)


def correlation_of(request_id: str) -> uuid.UUID:
    """Return what ties a request's jobs and events to it: its id, or one that is made of it."""
    try:
        return uuid.UUID(request_id)
    except ValueError:
        return uuid.uuid5(_CORRELATION, request_id)


def _key_of(request: ReadRequest, principal: Principal) -> RequestKey:
    given = request.headers.get(HEADER)
    if given is None:
        # For this request alone: our own next try after a lost COMMIT finds it.
        return RequestKey.of(principal.key, f"made {uuid.uuid4()}", b"")
    if not _KEY.fullmatch(given):
        raise Refused(IDEMPOTENCY_KEY_INVALID())
    value = request.state.json if request.data else None
    body = json.dumps(value, sort_keys=True, separators=(",", ":"))
    asked = f"{request.method} {request.url.path}?{request.url.query}\n{body}"
    if meant_for := request.headers.getlist(IF_MATCH):
        asked += f"\n{IF_MATCH}: {', '.join(meant_for)}"
    return RequestKey.of(principal.key, given, asked.encode())


def _again(reply: Reply) -> Response:
    response = _answer(reply)
    response.headers[REPLAYED] = "true"
    return response


def _answer(reply: Reply) -> Response:
    headers = {"ETag": reply.etag, "Location": reply.location}
    media = "application/json" if reply.body else None
    return Response(reply.body, reply.status, {k: v for k, v in headers.items() if v}, media)
