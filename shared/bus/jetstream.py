"""The bus on NATS JetStream; with `streams.py` the only file that knows nats-py."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.js import api

from shared.bus import streams
from shared.bus.asking import AT_ONCE, WITHIN_SECONDS, Desk, Open, Reply, check_request, nobody, read_reply, unanswered
from shared.bus.headers import DESCRIPTION, STATUS, parse_headers
from shared.bus.port import check_publishable, durable_name, too_large
from shared.bus.servers import certificates, inbox_of, log_in, refusal, unreachable
from shared.bus.watch import Watch, uncounted
from shared.domain.messages.bus import BUS_GONE, BUS_REFUSED, BUS_TIMEOUT, BUS_UNREACHABLE, STREAM_FULL
from shared.errors import Permanent, Transient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from shared.bus.asking import Answer
    from shared.bus.port import Bus, Consumer, Delivery, Listening
    from shared.config.settings import NatsSettings
    from shared.events.streams import StreamSpec

_log = structlog.get_logger()
_PUBLISH_SECONDS = 5.0
_CONNECT_SECONDS = 8.0
_CLOSE_SECONDS = 5.0
_HEALTHY_SECONDS = 2.0
_INBOX = re.compile(r"_INBOX(_[\w-]+)?\.")
_HEARTBEAT, _NOTHING = "100", ("404", "408", "409")
"""What the server answers to a fetch: it lives; no message came, or not to this fetch."""
_OVER_STREAM_LIMIT = 10_054
"""nats-server's own code: larger than the stream allows a message to be."""
_STREAM_FULL = 10_077
"""nats-server's own code: a limit of the stream, or its store, keeps the message out."""
_GONE = (
    nats.errors.NoRespondersError, nats.js.errors.NotFoundError, nats.js.errors.ServiceUnavailableError,
    nats.js.errors.ServerError, nats.errors.ConnectionClosedError,
)  # fmt: skip


class _Delivery:
    def __init__(self, message: Msg, stream: str) -> None:
        self._message = message
        self.subject = message.subject
        self.data = message.data
        self.headers: Mapping[str, str] = message.headers or {}
        meta = message.metadata
        self.deliveries = meta.num_delivered or 1
        # A stream that was wiped counts from 1 again: only with the time is the key unique for ever.
        self.key = f"{stream}:{meta.sequence.stream}:{meta.timestamp.timestamp():.6f}"

    async def ack(self) -> None:
        with _translated():
            await self._message.ack_sync(timeout=_PUBLISH_SECONDS)

    async def nak(self, delay: float = 0.0) -> None:
        with _translated():
            await self._message.nak(delay=delay or None)

    async def in_progress(self) -> None:
        with _translated():
            await self._message.in_progress()

    async def term(self) -> None:
        with _translated():
            await self._message.term()


async def _unsubscribe(subscription: Subscription) -> None:
    with contextlib.suppress(nats.errors.Error):
        await subscription.unsubscribe()


class _Client(Client):
    """nats-py's client: safe from what a publisher writes into headers, and never in the clear by mistake."""

    def __init__(self, *, needs_tls: bool) -> None:
        super().__init__()
        self._needs_tls = needs_tls

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # What asks for TLS is the server's word alone, sent in the clear: who stands between could leave it out.
        if initial_connection and self._needs_tls and not info.get("tls_required"):
            raise nats.errors.Error("the server offers no TLS, and the settings ask for it")
        await super()._process_info(info, initial_connection)

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        return parse_headers(headers)


class _Consumer:
    """Pulls by itself: nats-py's `fetch` takes each message with a header `Status` for the server's own word.

    What the stream delivers asks for an acknowledgement, and what the server says for itself never does.
    """

    def __init__(self, client: Client, subscription: Subscription, inbox: str, pull: tuple[str, str]) -> None:
        self._client = client
        self._subscription = subscription
        self._inbox = inbox
        self._stream, name = pull
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{name}"

    async def fetch(self, timeout: float) -> Delivery | None:  # noqa: ASYNC109 - passed on to the server
        try:
            with _translated():
                message = await self._waiting() or await self._pulled(timeout)
        except Transient as error:
            if error.code == "bus_timeout":
                return None
            raise
        return _Delivery(message, self._stream) if message else None

    async def close(self) -> None:
        await _unsubscribe(self._subscription)

    async def _waiting(self) -> Msg | None:
        """Return what an earlier fetch asked for and was gone before it came; drop the server's words to that one."""
        while self._subscription.pending_msgs:
            message = await self._subscription.next_msg(_PUBLISH_SECONDS)
            if _is_delivery(message):
                return message
        return None

    async def _pulled(self, seconds: float) -> Msg | None:
        # The server gives up a little before we do, else a message could go to a fetch that has ended.
        asked = {"batch": 1, "expires": max(1, int(seconds * 1_000_000_000) - 100_000)}
        await self._client.publish(self._next, json.dumps(asked).encode(), self._inbox)
        async with asyncio.timeout(seconds):
            while True:
                message = await self._subscription.next_msg(None)
                if _is_delivery(message):
                    return message
                status = (message.headers or {}).get(STATUS, "")
                if status in _NOTHING:
                    return None
                if status != _HEARTBEAT:
                    said = (message.headers or {}).get(DESCRIPTION, "")
                    raise Transient(BUS_GONE(error=f"{status} {said}"))


def _is_delivery(message: Msg) -> bool:
    return message.reply.startswith("$JS.ACK.")


class JetStreamBus:
    """One connection to a NATS server or cluster."""

    def __init__(self, client: Client, settings: NatsSettings, watch: Watch) -> None:
        """Wrap a connected client; use `connect`."""
        self._client = client
        self._watch = watch
        self._js = client.jetstream(timeout=_PUBLISH_SECONDS)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves **kwargs untyped
        self._settings = settings
        self._serving = set[Open]()

    async def ensure_streams(self, specs: Sequence[StreamSpec]) -> list[str]:
        """Create what is missing, add subjects that a newer version brings, and leave the rest as it is."""
        with _translated():
            return await streams.ensure(self._js, specs, replicas=self._settings.replicas)

    async def shape_streams(self, specs: Sequence[StreamSpec], *, within: float) -> list[str]:
        """Change replicas and limits of one stream after another, and wait until each replica holds all."""
        with _translated():
            return await streams.shape(self._js, specs, replicas=self._settings.replicas, within=within)

    async def publish(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        """Publish and wait for the stream's acknowledgement."""
        # The client measures the payload alone; one that is too large with its headers has the server close the
        # connection, and whatever else was under way on it is lost with it.
        check_publishable(subject, payload, headers, most=self._client.max_payload)
        with _translated():
            await self._js.publish(subject, payload, headers=dict(headers))

    async def notify(self, subject: str, payload: bytes) -> None:
        """Publish without waiting; nothing at all while disconnected."""
        if self._client.is_connected:
            with contextlib.suppress(nats.errors.Error):
                await self._client.publish(subject, payload)

    async def consumer(self, spec: StreamSpec, subject: str, *, ack_wait: float) -> Consumer:
        """Create the durable consumer if it is missing, and open a puller of it."""
        name = durable_name(subject)
        config = api.ConsumerConfig(
            name=name,  # asked for by name and subject both: nats-server can hold the one against the other then
            durable_name=name,
            filter_subject=subject,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=ack_wait,
            max_deliver=-1,
            max_ack_pending=10_000,
        )
        with _translated():
            await self._js.add_consumer(spec.name, config)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves **kwargs untyped
            inbox = self._client.new_inbox()
            subscription = await self._client.subscribe(inbox)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves its callback untyped
            return _Consumer(self._client, subscription, inbox, (spec.name, name))

    async def listen(self, subject: str, heard: Callable[[], None]) -> None:
        """Subscribe, the stream left out: again by itself after a reconnection."""
        await self.tail(subject, lambda _subject, _payload: heard())

    async def tail(self, subject: str, heard: Callable[[str, bytes], None]) -> Listening:
        """Subscribe, the stream left out; what comes faster than it is heard is dropped by the client in the end."""

        async def called(message: Msg) -> None:
            heard(message.subject, message.data)

        return Open(await self._subscribed(subject, called))

    async def request(self, subject: str, payload: bytes, timeout: float) -> bytes:  # noqa: ASYNC109 - told to who answers
        """Ask; the server says at once if nobody serves the subject."""
        headers = check_request(subject, payload, timeout, most=self._client.max_payload)
        with _translated():
            try:
                message = await self._client.request(subject, payload, timeout=timeout, headers=headers)
            except nats.errors.NoRespondersError as error:
                raise nobody(subject) from error
            except (nats.errors.TimeoutError, TimeoutError) as error:
                raise unanswered(subject, timeout) from error
        return read_reply(Reply(message.data, message.headers or {}), subject)

    async def serve(
        self, subject: str, answer: Answer, *, within: float = WITHIN_SECONDS, at_once: int = AT_ONCE
    ) -> Listening:
        """Join those that serve a subject: the server hands each request to one of them."""
        check_request(subject, b"", within, most=self._client.max_payload)
        desk = Desk(subject, answer, most=lambda: self._client.max_payload, within=within, at_once=at_once)

        async def called(message: Msg) -> None:
            # An answer goes to an inbox: to any other subject we would publish in the name of whoever asks.
            if _INBOX.match(message.reply):
                desk.take(message.data, message.headers or {}, partial(self._send, self._connection, message.reply))

        return Open(await self._subscribed(subject, called, durable_name(subject)), desk, self._serving)

    @property
    def _connection(self) -> int:
        """Which connection this is: those before it are gone."""
        return self._client.stats["reconnects"]

    async def _send(self, asked_on: int, reply: str, payload: bytes, headers: Mapping[str, str]) -> None:
        # nats-server lets us answer on the connection that was asked; who asked has been told, or asks again.
        if asked_on != self._connection or not self._client.is_connected:
            return
        with _translated():
            await self._client.publish(reply, payload, headers=dict(headers) or None)

    async def _subscribed(
        self, subject: str, called: Callable[[Msg], Awaitable[None]], queue: str = ""
    ) -> Callable[[], Awaitable[None]]:
        async with contextlib.AsyncExitStack() as undo:
            with _translated():
                subscription = await self._client.subscribe(subject, queue=queue, cb=called)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves its callback untyped
                undo.push_async_callback(_unsubscribe, subscription)
                # Told before the server has it, we would miss what others publish. A ping overtakes what waits to be
                # written: only the answer to the second one says that the subscription has arrived.
                await self._client.flush()
                await self._client.flush()
            undo.pop_all()
        return partial(_unsubscribe, subscription)

    async def last(self, spec: StreamSpec, subject: str) -> bytes | None:
        """Return the newest of a subject."""
        with _translated():
            try:
                return (await self._js.get_last_msg(spec.name, subject, direct=True)).data
            except nats.js.errors.NotFoundError:
                return None

    async def count(self, spec: StreamSpec, subject: str) -> int:
        """Ask the stream how many it holds."""
        with _translated():
            info = await self._js.stream_info(spec.name, subjects_filter=subject)
        return sum((info.state.subjects or {}).values())

    async def count_streams(self) -> int:
        """Return how many streams there are: what a user without a right to any of them may ask."""
        with _translated():
            return (await self._js.account_info()).streams

    async def healthy(self) -> bool:
        """Tell whether JetStream answers, not only TCP."""
        try:
            with _translated():
                async with asyncio.timeout(_HEALTHY_SECONDS):
                    await self._js.account_info()
        except (Transient, Permanent):
            return False
        return True

    async def close(self) -> None:
        """Flush and disconnect; a drain may hang, so it is bounded."""
        self._watch.quiet = True
        for serving in list(self._serving):
            await serving.close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._client.flush()
        except (TimeoutError, nats.errors.Error):
            _log.warning("bus_flush_failed")
        with contextlib.suppress(nats.errors.Error):
            await self._client.close()


async def connect(settings: NatsSettings, *, name: str, denied: Callable[[str], None] = uncounted) -> JetStreamBus:
    """Connect to one of the servers, and refuse them if one is too old or may lose acknowledged messages.

    `denied` is called with `publish` or `subscription` each time a server refuses one of a subject.
    """
    options = log_in(settings)
    context = certificates(settings).context() if settings.encrypted else None
    watch = Watch(settings, context, denied)
    client = _Client(needs_tls=context is not None)
    try:
        with _translated():
            async with asyncio.timeout(_CONNECT_SECONDS):  # on its own the first connection is tried for ever
                await client.connect(  # pyright: ignore[reportUnknownMemberType] - nats-py leaves **kwargs untyped
                    list(settings.servers),
                    name=name,
                    inbox_prefix=inbox_of(name.removeprefix("borgfleet-")),
                    connect_timeout=3,  # two nodes of three that do not answer leave time for the third
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=1,
                    ping_interval=5,
                    max_outstanding_pings=2,
                    tls=context,
                    error_cb=watch.error,
                    disconnected_cb=watch.disconnected,
                    reconnected_cb=watch.reconnected,
                    **options,
                )
    except Transient as error:
        await client.close()
        raise unreachable(settings, watch.cause) from error
    watch.quiet = False
    try:
        if refused := await refusal(str(client.connected_server_version), settings, context):
            raise refused
    except (Transient, Permanent):
        await client.close()
        raise
    return JetStreamBus(client, settings, watch)


class _translated:  # noqa: N801 - reads as a phrase: with _translated()
    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (nats.errors.TimeoutError, TimeoutError)):
            raise Transient(BUS_TIMEOUT()) from error
        if isinstance(error, nats.errors.MaxPayloadError):
            raise too_large() from error
        if isinstance(error, nats.js.errors.APIError) and error.err_code == _OVER_STREAM_LIMIT:
            raise too_large() from error
        if isinstance(error, nats.js.errors.APIError) and error.err_code == _STREAM_FULL:
            raise Transient(STREAM_FULL(description=error.description)) from error
        if isinstance(error, nats.js.errors.BadRequestError):
            raise Permanent(BUS_REFUSED(description=error.description)) from error
        if isinstance(error, _GONE):
            raise Transient(BUS_GONE(error=error)) from error
        if isinstance(error, (nats.errors.Error, OSError)):
            raise Transient(BUS_UNREACHABLE(error=error)) from error


if TYPE_CHECKING:
    _: type[Bus] = JetStreamBus
