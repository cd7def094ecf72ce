"""What the kernel needs of a message bus."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from shared.domain.messages.bus import MESSAGE_SUBJECT_INVALID, MESSAGE_TOO_LARGE
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from shared.events.streams import StreamSpec

MESSAGE_ID = "Nats-Msg-Id"
EVENT_TYPE = "Event-Type"


class Delivery(Protocol):
    """One delivery of one message; delivered again unless ended or extended within the consumer's `ack_wait`."""

    @property
    def subject(self) -> str:
        """The subject it was published on."""
        ...

    @property
    def data(self) -> bytes:
        """The payload, whatever a publisher put there."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, perhaps none."""
        ...

    @property
    def deliveries(self) -> int:
        """How often it was delivered, this time included; rises with every restart, so no count of failures."""
        ...

    @property
    def key(self) -> str:
        """The same for each delivery of one message, and for no other message ever."""
        ...

    async def ack(self) -> None:
        """End it, and wait until the server knows."""
        ...

    async def nak(self, delay: float = 0.0) -> None:
        """Give it back, to be delivered again after so many seconds."""
        ...

    async def in_progress(self) -> None:
        """Hold it for another `ack_wait`."""
        ...

    async def term(self) -> None:
        """End it for good without success."""
        ...


class Consumer(Protocol):
    """One puller of a durable consumer."""

    async def fetch(self, timeout: float) -> Delivery | None:  # noqa: ASYNC109 - passed on to the server
        """Wait up to so many seconds for one message; Transient if the consumer is gone."""
        ...

    async def close(self) -> None:
        """Stop pulling."""
        ...


class Listening(Protocol):
    """Whoever hears or answers until it is closed."""

    async def close(self) -> None:
        """Hear no more; what is being answered is broken off, and whoever waits for it is told."""
        ...


class Bus(Protocol):
    """Publishing, consuming, asking and answering, and what the reaper must know."""

    async def ensure_streams(self, specs: Sequence[StreamSpec]) -> list[str]:
        """Create the streams that are missing, and return their names; add subjects that one lacks."""
        ...

    async def shape_streams(self, specs: Sequence[StreamSpec], *, within: float) -> list[str]:
        """Make streams that exist as they are meant: replicas, limits, subjects; return what was changed, in words.

        Returns when every replica holds all that its stream holds; Transient `stream_not_current` after `within`
        seconds for one. Permanent if a stream would have to be made anew, or has no room for its replicas.
        """
        ...

    async def publish(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        """Publish into a stream and wait for its acknowledgement.

        Transient means unknown: publish again. Permanent means that the bus will never take this message.
        """
        ...

    async def notify(self, subject: str, payload: bytes) -> None:
        """Publish without waiting: for progress, which may be lost."""
        ...

    async def consumer(self, spec: StreamSpec, subject: str, *, ack_wait: float) -> Consumer:
        """Open a puller of the one durable consumer of this subject."""
        ...

    async def listen(self, subject: str, heard: Callable[[], None]) -> None:
        """Call at each message published from now on, for as long as the bus is open; a reconnection may miss some."""
        ...

    async def tail(self, subject: str, heard: Callable[[str, bytes], None]) -> Listening:
        """Call with subject and payload of each message published from now on; the subject may hold wildcards.

        For live events: a reconnection may miss some. What `heard` raises is logged and stops nothing.
        """
        ...

    async def request(self, subject: str, payload: bytes, timeout: float) -> bytes:  # noqa: ASYNC109 - told to who answers
        """Ask whoever serves a subject `ask...`, and return the answer.

        Transient `bus_nobody` at once where nobody serves it, `bus_timeout` where no answer came in so many seconds:
        whether it was acted on is not known then. An AppError of the one that answers is raised here.
        """
        ...

    async def serve(
        self, subject: str, answer: Callable[[bytes], Awaitable[bytes]], *, within: float = 30.0, at_once: int = 32
    ) -> Listening:
        """Answer the requests of a subject; of several that serve it, in any process, exactly one gets each.

        An answer is broken off when nobody waits for it any more, after `within` seconds at the latest. Who asks while
        `at_once` requests are being answered gets Transient `bus_busy`.
        """
        ...

    async def last(self, spec: StreamSpec, subject: str) -> bytes | None:
        """Return the newest message of a subject."""
        ...

    async def count(self, spec: StreamSpec, subject: str) -> int:
        """Return how many messages of a subject the stream holds."""
        ...

    async def healthy(self) -> bool:
        """Tell whether the server answers now."""
        ...

    async def close(self) -> None:
        """Disconnect, in bounded time."""
        ...


def durable_name(subject: str) -> str:
    """Return the name of the one durable consumer of a subject."""
    return subject.replace(".", "-").replace("*", "any")


def check_publishable(subject: str, payload: bytes, headers: Mapping[str, str], *, most: int) -> None:
    """Refuse, before anything is sent, what no server takes: a message of over `most` bytes, a broken subject."""
    if not _SUBJECT.fullmatch(subject):
        raise Permanent(MESSAGE_SUBJECT_INVALID(subject=subject[:200]))
    size = len(payload) + _HEADERS + sum(len(name) + len(value.encode()) + _HEADER for name, value in headers.items())
    if size > most:
        raise too_large()


def too_large() -> Permanent:
    """Return the error of a message that is larger than the server or the stream allows."""
    return Permanent(MESSAGE_TOO_LARGE())


_SUBJECT = re.compile(r"[^\s.*>\x00-\x1f]+(\.[^\s.*>\x00-\x1f]+)*")
_HEADERS = len(b"NATS/1.0\r\n\r\n")
_HEADER = len(b": \r\n")
