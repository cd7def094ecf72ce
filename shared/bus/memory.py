"""The bus in memory: for unit tests; keeps to the same contract as JetStream."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import TYPE_CHECKING

from shared.bus.asking import AT_ONCE, WITHIN_SECONDS, Desk, Reply, check_request, nobody, read_reply, unanswered
from shared.bus.port import MESSAGE_ID, check_publishable
from shared.domain.messages.bus import BUS_NO_STREAM, BUS_NO_STREAM_CONSUMER, BUS_UNREACHABLE_UNPLUGGED
from shared.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.bus.asking import Answer
    from shared.bus.port import Bus, Consumer, Delivery, Listening
    from shared.events.streams import StreamSpec

_NO_STREAM = "make the streams first, with `ensure_streams`"
_KEPT_IDS = 10_000
_MOST_BYTES = 1024 * 1024
"""As nats-server by default."""


class _Message:
    def __init__(self, sequence: int, subject: str, data: bytes, headers: Mapping[str, str]) -> None:
        self.sequence = sequence
        self.subject = subject
        self.data = data
        self.headers = dict(headers)
        self.deliveries = 0
        self.timer: asyncio.TimerHandle | None = None


class _Delivery:
    def __init__(self, bus: MemoryBus, message: _Message, ack_wait: float) -> None:
        self._bus = bus
        self._message = message
        self._ack_wait = ack_wait
        self.deliveries = message.deliveries
        self.subject = message.subject
        self.data = message.data
        self.headers: Mapping[str, str] = message.headers
        self.key = f"memory:{message.sequence}"

    async def ack(self) -> None:
        self._bus.remove(self._message)

    async def term(self) -> None:
        self._bus.remove(self._message)

    async def nak(self, delay: float = 0.0) -> None:
        self._bus.give_back_in(delay, self._message)

    async def in_progress(self) -> None:
        self._bus.give_back_in(self._ack_wait, self._message)


class _Consumer:
    def __init__(self, bus: MemoryBus, subject: str, ack_wait: float) -> None:
        self._bus = bus
        self._subject = subject
        self._ack_wait = ack_wait

    async def fetch(self, timeout: float) -> Delivery | None:  # noqa: ASYNC109 - the port's word
        try:
            async with asyncio.timeout(timeout):
                message = await self._bus.take(self._subject)
        except TimeoutError:
            return None
        message.deliveries += 1
        self._bus.give_back_in(self._ack_wait, message)
        return _Delivery(self._bus, message, self._ack_wait)

    async def close(self) -> None:
        """Nothing is held."""


class _Tail:
    def __init__(self, tails: list[_Tail], subject: str, heard: Callable[[str, bytes], None]) -> None:
        self._tails, self.subject, self.heard = tails, subject, heard
        tails.append(self)

    async def close(self) -> None:
        if self in self._tails:
            self._tails.remove(self)


class _Serving:
    def __init__(self, serving: list[_Serving], subject: str, desk: Desk) -> None:
        self._serving, self.subject, self.desk = serving, subject, desk
        serving.append(self)

    async def close(self) -> None:
        if self in self._serving:
            self._serving.remove(self)
        await self.desk.close()


class MemoryBus:
    """All streams of one process, in dictionaries."""

    def __init__(self) -> None:
        """Start empty."""
        self._streams: dict[str, StreamSpec] = {}
        self._kept: list[_Message] = []
        self._ready: dict[str, deque[_Message]] = {}
        self._arrived = asyncio.Condition()
        self._ids: deque[str] = deque(maxlen=_KEPT_IDS)
        self._sequence = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._tails: list[_Tail] = []
        self._serving: list[_Serving] = []
        self.down = False

    async def ensure_streams(self, specs: Sequence[StreamSpec]) -> list[str]:
        """Remember the streams; return the new ones."""
        self._check()
        missing = [spec.name for spec in specs if spec.name not in self._streams]
        self._streams |= {spec.name: spec for spec in specs}
        return missing

    async def shape_streams(self, specs: Sequence[StreamSpec], *, within: float) -> list[str]:  # noqa: ARG002 - nothing to wait for
        """Remember the streams as they are meant; return what was changed."""
        self._check()
        changed = [spec.name for spec in specs if self._streams.get(spec.name, spec) != spec]
        self._streams |= {spec.name: spec for spec in specs}
        return changed

    async def publish(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        """Keep the message, once per message id."""
        self._check()
        check_publishable(subject, payload, headers, most=_MOST_BYTES)
        spec = next((s for s in self._streams.values() if any(_matches(p, subject) for p in s.subjects)), None)
        if spec is None:
            raise Transient(BUS_NO_STREAM(subject=subject))
        if (identity := headers.get(MESSAGE_ID)) is not None:
            if identity in self._ids:
                return
            self._ids.append(identity)
        if spec.last_per_subject:
            self._kept = [message for message in self._kept if message.subject != subject]
        message = _Message(next(self._sequence), subject, payload, headers)
        self._kept.append(message)
        await self._offer(message)
        for heard in self._listeners.get(subject, ()):
            heard()
        for tail in self._tails:
            if _matches(tail.subject, subject):  # later, as from a server: what it raises is not the publisher's
                asyncio.get_running_loop().call_soon(tail.heard, subject, payload)

    async def notify(self, subject: str, payload: bytes) -> None:
        """Publish, and never mind."""
        await self.publish(subject, payload, {})

    async def consumer(self, spec: StreamSpec, subject: str, *, ack_wait: float) -> Consumer:
        """Open a puller."""
        self._check()
        if spec.name not in self._streams:
            raise Transient(BUS_NO_STREAM_CONSUMER(stream=spec.name))
        return _Consumer(self, subject, ack_wait)

    async def listen(self, subject: str, heard: Callable[[], None]) -> None:
        """Remember whom to call."""
        self._check()
        self._listeners.setdefault(subject, []).append(heard)

    async def tail(self, subject: str, heard: Callable[[str, bytes], None]) -> Listening:
        """Remember whom to call, until it is closed."""
        self._check()
        return _Tail(self._tails, subject, heard)

    async def request(self, subject: str, payload: bytes, timeout: float) -> bytes:  # noqa: ASYNC109 - the port's word
        """Ask one of those that serve the subject."""
        headers = check_request(subject, payload, timeout, most=_MOST_BYTES)
        self._check()
        serving = [one for one in self._serving if one.subject == subject]
        if not serving:
            raise nobody(subject)
        replied: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        async def send(payload: bytes, headers: Mapping[str, str]) -> None:
            if not replied.done():
                replied.set_result(Reply(payload, headers))

        serving[next(self._sequence) % len(serving)].desk.take(payload, headers, send)
        await asyncio.wait({replied}, timeout=timeout)
        if not replied.done():
            raise unanswered(subject, timeout)
        return read_reply(replied.result(), subject)

    async def serve(
        self, subject: str, answer: Answer, *, within: float = WITHIN_SECONDS, at_once: int = AT_ONCE
    ) -> Listening:
        """Join those that serve a subject."""
        check_request(subject, b"", within, most=_MOST_BYTES)
        self._check()
        desk = Desk(subject, answer, most=lambda: _MOST_BYTES, within=within, at_once=at_once)
        return _Serving(self._serving, subject, desk)

    async def last(self, spec: StreamSpec, subject: str) -> bytes | None:
        """Return the newest of a subject."""
        found = [message.data for message in self._kept if message.subject == subject and spec.name in self._streams]
        return found[-1] if found else None

    async def count(self, spec: StreamSpec, subject: str) -> int:
        """Count what is kept."""
        return sum(message.subject == subject for message in self._kept if spec.name in self._streams)

    async def healthy(self) -> bool:
        """Tell whether a test has not pulled the plug."""
        return not self.down

    async def close(self) -> None:
        """Forget the timers, and end who answers."""
        for serving in list(self._serving):
            await serving.close()
        for message in self._kept:
            if message.timer:
                message.timer.cancel()

    async def take(self, subject: str) -> _Message:
        """Wait for the next message of a subject."""
        queue = self._ready.setdefault(subject, deque())
        async with self._arrived:
            await self._arrived.wait_for(lambda: bool(queue))
            return queue.popleft()

    def remove(self, message: _Message) -> None:
        """End a message."""
        if message.timer:
            message.timer.cancel()
        if message in self._kept:
            self._kept.remove(message)

    def give_back_in(self, seconds: float, message: _Message) -> None:
        """Deliver again after so many seconds, unless it ends before."""
        if message.timer:
            message.timer.cancel()
        message.timer = asyncio.get_running_loop().call_later(seconds, self._expire, message)

    def wipe(self) -> None:
        """Lose everything, as when the server's storage is deleted."""
        for message in list(self._kept):
            self.remove(message)
        self._ready.clear()
        self._streams.clear()
        self._ids.clear()

    def _expire(self, message: _Message) -> None:
        if message in self._kept:
            task = asyncio.get_running_loop().create_task(self._offer(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _offer(self, message: _Message) -> None:
        async with self._arrived:
            self._ready.setdefault(message.subject, deque()).append(message)
            self._arrived.notify_all()

    def _check(self) -> None:
        if self.down:
            raise Transient(BUS_UNREACHABLE_UNPLUGGED())


def _matches(pattern: str, subject: str) -> bool:
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return given[: len(wanted) - 1] == wanted[:-1] and len(given) >= len(wanted)
    return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))


if TYPE_CHECKING:
    _: type[Bus] = MemoryBus
