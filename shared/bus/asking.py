"""Request and reply: what a request must look like, and how whoever serves a subject answers within its deadline.

An error is an answer too: it travels as code, sentence and remedy, and is raised again where the question was asked.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import structlog

from shared.bus.port import check_publishable, too_large
from shared.domain.messages.bus import (
    BUS_ANSWER_UNREADABLE,
    BUS_BUSY,
    BUS_BUSY_BROKEN_OFF,
    BUS_BUSY_STOPPING,
    BUS_NOBODY,
    BUS_UNANSWERED,
    INTERNAL_ANSWER,
    REQUEST_DEADLINE_INVALID,
    REQUEST_SUBJECT_INVALID,
)
from shared.domain.text import clean
from shared.errors import AppError, Conflict, Forbidden, Internal, Invalid, NotFound, Permanent, Transient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_log = structlog.get_logger()
Answer: TypeAlias = "Callable[[bytes], Awaitable[bytes]]"
"""Takes a request's payload, returns the reply's; an AppError that it raises reaches whoever asked."""
Send: TypeAlias = "Callable[[bytes, Mapping[str, str]], Awaitable[None]]"

PREFIX = "ask."
"""Requests have subjects of their own: a stream that held the subject would answer in place of whoever serves it."""
WITHIN, ERROR = "Borgfleet-Within", "Borgfleet-Error"
LONGEST = 300.0
"""Seconds an answer may take at most; what lasts longer is a job."""
WITHIN_SECONDS = 30.0
AT_ONCE = 32
_CLOSE_SECONDS = 5.0
_CODE, _WORDS = 60, 2000
_KINDS: dict[str, type[AppError]] = {
    kind.__name__: kind for kind in (NotFound, Conflict, Forbidden, Invalid, Transient, Permanent, Internal)
}
_INTERNAL = "a fault of whoever answers this; its words are in that service's log"


class Reply(NamedTuple):
    """What travels back."""

    payload: bytes
    headers: Mapping[str, str]


def check_request(subject: str, payload: bytes, seconds: float, *, most: int) -> dict[str, str]:
    """Refuse what cannot be asked; return the headers that tell for how long the answer is of use."""
    if not subject.startswith(PREFIX):
        raise Permanent(REQUEST_SUBJECT_INVALID(subject=subject[:200], prefix=PREFIX))
    if not (math.isfinite(seconds) and 0 < seconds <= LONGEST):
        raise Permanent(REQUEST_DEADLINE_INVALID(seconds=seconds, most=LONGEST))
    headers = {WITHIN: f"{seconds:.3f}"}
    check_publishable(subject, payload, headers, most=most)
    return headers


def nobody(subject: str) -> Transient:
    """Return the error of a request that nobody serves."""
    return Transient(BUS_NOBODY(subject=subject[:200]))


def unanswered(subject: str, seconds: float) -> Transient:
    """Return the error of a request whose answer did not come in time; whether it was acted on is not known."""
    return Transient(BUS_UNANSWERED(subject=subject[:200], seconds=seconds))


def read_reply(reply: Reply, subject: str) -> bytes:
    """Return a reply's payload, or raise the error that it carries."""
    kind = reply.headers.get(ERROR)
    if kind is None:
        return reply.payload
    try:
        told = json.loads(reply.payload)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Permanent(BUS_ANSWER_UNREADABLE(subject=subject[:200]))
    raise _error(kind, cast("dict[str, Any]", told))


def _error(kind: str, told: dict[str, Any]) -> AppError:
    of = _KINDS.get(kind, Permanent)
    code, remedy = clean(str(told.get("code") or "error"), _CODE), clean(str(told.get("remedy") or ""), _WORDS)
    error = of(clean(str(told.get("message") or kind), _WORDS), code=code, remedy=remedy)
    after = told.get("retry_after")
    if isinstance(error, Transient) and isinstance(after, (int, float)) and 0 <= after <= LONGEST:
        error.retry_after = float(after)
    return error


def refused(error: AppError) -> Reply:
    """Return the reply that carries an error. A kind that says something of our own run only, is told as passing."""
    kind = next((name for name in (type(error).__name__,) if name in _KINDS), "")
    kind = kind or ("Permanent" if isinstance(error, Permanent) else "Transient")
    told = {
        "code": error.code[:_CODE], "message": error.message[:_WORDS], "remedy": error.remedy[:_WORDS],
        "retry_after": getattr(error, "retry_after", None),
    }  # fmt: skip
    return Reply(json.dumps(told).encode(), {ERROR: kind})


class Desk:
    """Answers the requests of one subject, several at once, each within its deadline."""

    def __init__(self, subject: str, answer: Answer, *, most: Callable[[], int], within: float, at_once: int) -> None:
        """Take who answers, the most bytes that a reply may have, and the most seconds an answer may take."""
        self._subject, self._answer, self._most, self._within, self._at_once = subject, answer, most, within, at_once
        self._tasks: set[asyncio.Task[None]] = set()
        self._working: set[asyncio.Task[bytes]] = set()
        self._closing = False

    def take(self, payload: bytes, headers: Mapping[str, str], send: Send) -> None:
        """Begin to answer; who asks more than can be answered at once is told so, and does not wait for nothing."""
        task = asyncio.create_task(self._reply(payload, headers, send))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what is under way; whoever waits for it is told."""
        self._closing = True
        for task in list(self._working):
            task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=_CLOSE_SECONDS)
            for task in late:
                task.cancel()

    async def _reply(self, payload: bytes, headers: Mapping[str, str], send: Send) -> None:
        reply = await self._answered(payload, headers)
        if len(reply.payload) > self._most():
            reply = refused(too_large())
        try:
            await send(reply.payload, reply.headers)
        except AppError as error:  # whoever asked hears nothing, and asks again
            _log.warning("reply_lost", subject=self._subject, code=error.code)

    async def _answered(self, payload: bytes, headers: Mapping[str, str]) -> Reply:
        if self._closing or len(self._working) >= self._at_once:
            busy = BUS_BUSY(subject=self._subject, most=self._at_once)
            said = BUS_BUSY_STOPPING(subject=self._subject) if self._closing else busy
            return refused(Transient(said))
        seconds = self._seconds(headers)
        task: asyncio.Task[bytes] = asyncio.create_task(_begun(self._answer, payload))
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            task.cancel()  # nobody waits for it any more
            return refused(unanswered(self._subject, seconds))
        return self._said(task)

    def _said(self, task: asyncio.Task[bytes]) -> Reply:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            return Reply(task.result(), {})
        if isinstance(error, AppError):
            return refused(error)
        if isinstance(error, asyncio.CancelledError):
            return refused(Transient(BUS_BUSY_BROKEN_OFF(subject=self._subject)))
        _log.error("answer_crashed", subject=self._subject, exc_info=error)
        return refused(Internal(INTERNAL_ANSWER()))

    def _seconds(self, headers: Mapping[str, str]) -> float:
        """Return for how long an answer is of use: what the request says, if it says what makes sense."""
        try:
            asked = float(headers.get(WITHIN, ""))
        except ValueError:
            return self._within
        return min(asked, self._within) if asked > 0 else self._within


class Open:
    """A subscription, and the desk behind it if it answers."""

    def __init__(
        self, leave: Callable[[], Awaitable[None]], desk: Desk | None = None, among: set[Open] | None = None
    ) -> None:
        """Take what ends the subscription, and those that are open, of which this is one until it is closed."""
        self._leave = leave
        self._desk = desk
        self._among = among
        if among is not None:
            among.add(self)

    async def close(self) -> None:
        """Hear no more; break off what is being answered."""
        await self._leave()
        if self._desk is not None:
            await self._desk.close()
        if self._among is not None:
            self._among.discard(self)


async def _begun(answer: Answer, payload: bytes) -> bytes:
    return await answer(payload)
