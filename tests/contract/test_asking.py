"""Asking and answering over the bus: each question has one answer, in time, or an error that says why there is none."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.bus.asking import LONGEST
from shared.domain.message import plain
from shared.errors import (
    AppError,
    Conflict,
    Forbidden,
    Internal,
    Invalid,
    LeaseLost,
    NotFound,
    Permanent,
    Transient,
    Waiting,
)
from tests.harness.patience import WAIT

pytestmark = pytest.mark.measured  # on both: JetStream is reached by code of its own
_numbers = itertools.count(1)
MIB = 1024 * 1024


@pytest.fixture
def about() -> str:
    """A subject that no other test asks on."""
    return f"ask.test.{next(_numbers)}"


async def echo(payload: bytes) -> bytes:
    return payload


def raising(error: BaseException) -> Callable[[bytes], Awaitable[bytes]]:
    async def answer(_payload: bytes) -> bytes:
        raise error

    return answer


async def failed(bus: Any, about: str, payload: bytes = b"", seconds: float = WAIT) -> AppError:
    with pytest.raises(AppError) as caught:
        await bus.request(about, payload, seconds)
    return caught.value


@pytest.mark.parametrize(
    "payload", [b"", b"x", bytes(range(256)), b"\r\n\r\nPUB x 0\r\n\r\n", b"y" * (MIB - 4096)], ids=range(5)
)
async def test_a_question_is_answered_whatever_it_holds(bus: Any, about: str, payload: bytes) -> None:
    await bus.serve(about, echo)
    assert await bus.request(about, payload, WAIT) == payload


async def test_many_at_once_each_have_their_own_answer(bus: Any, about: str) -> None:
    async def later(payload: bytes) -> bytes:
        await asyncio.sleep(0.001 * (int(payload) % 7))
        return payload * 2

    await bus.serve(about, later, at_once=100)
    answers = await asyncio.gather(*(bus.request(about, b"%d" % n, WAIT) for n in range(100)))
    assert answers == [b"%d" % n * 2 for n in range(100)]


async def test_nobody_is_told_at_once_and_not_at_the_deadline(bus: Any, about: str) -> None:
    began = time.monotonic()
    error = await failed(bus, about, seconds=LONGEST)
    assert (type(error), error.code) == (Transient, "bus_nobody")
    assert about in error.message
    assert time.monotonic() - began < LONGEST / 2


async def test_who_stopped_serving_is_asked_no_more(bus: Any, about: str) -> None:
    first, second = await bus.serve(about, echo), await bus.serve(about, echo)
    await first.close()
    assert [await bus.request(about, b"x", WAIT) for _ in range(10)] == [b"x"] * 10
    await second.close()
    assert (await failed(bus, about)).code == "bus_nobody"
    await second.close()  # twice is no error
    await bus.serve(about, echo)
    assert await bus.request(about, b"x", WAIT) == b"x"


async def test_of_several_that_serve_exactly_one_answers_each_question(bus: Any, about: str) -> None:
    met: list[tuple[int, bytes]] = []

    def numbered(number: int) -> Callable[[bytes], Awaitable[bytes]]:
        async def answer(payload: bytes) -> bytes:
            met.append((number, payload))
            return b"%d" % number

        return answer

    for number in range(3):
        await bus.serve(about, numbered(number))
    questions = [b"%d" % n for n in range(90)]
    answers = [await bus.request(about, question, WAIT) for question in questions]
    assert sorted(payload for _, payload in met) == sorted(questions)
    assert [b"%d" % number for number, _ in met] == answers
    assert {number for number, _ in met} == {0, 1, 2}


async def test_an_answer_that_takes_too_long_is_broken_off_where_it_is_made(bus: Any, about: str) -> None:
    ended, began = asyncio.Event(), asyncio.Event()

    async def slow(_payload: bytes) -> bytes:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return b""

    await bus.serve(about, slow)
    error = await failed(bus, about, seconds=0.3)
    assert (type(error), error.code) == (Transient, "bus_timeout")
    await asyncio.wait_for(began.wait(), WAIT)
    await asyncio.wait_for(ended.wait(), WAIT)


async def test_whoever_serves_may_allow_less_time_than_is_asked_for(bus: Any, about: str) -> None:
    async def slow(_payload: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    await bus.serve(about, slow, within=0.2)
    error = await failed(bus, about, seconds=LONGEST)
    assert error.code == "bus_timeout"


async def test_an_answer_that_comes_too_late_is_not_taken_for_that_of_the_next_question(bus: Any, about: str) -> None:
    free = asyncio.Event()

    async def stubborn(payload: bytes) -> bytes:
        while payload == b"first" and not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue
        return payload

    await bus.serve(about, stubborn)
    assert (await failed(bus, about, b"first", 0.2)).code == "bus_timeout"
    second = asyncio.create_task(bus.request(about, b"second", WAIT))
    free.set()
    assert await second == b"second"


ERRORS: list[tuple[AppError, type[AppError]]] = [
    (NotFound("no such thing", code="gone", remedy="look elsewhere"), NotFound),
    (Conflict("it is so", code="is_so", remedy="r"), Conflict),
    (Forbidden("no", code="not_you", remedy="r"), Forbidden),
    (Invalid("what", code="nonsense", remedy="r"), Invalid),
    (Transient("later", code="later", remedy="r", retry_after=7.5), Transient),
    (Permanent("never \u2603 <b>", code="never", remedy="r"), Permanent),
    (Internal("ours", code="internal", remedy="r"), Internal),
    (Waiting(plain("for it", code="waiting"), waiting_for="web1/system"), Transient),
    (LeaseLost("passed on"), Transient),
]


@pytest.mark.parametrize(("error", "kind"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])
async def test_an_error_arrives_as_what_it_was(bus: Any, about: str, error: AppError, kind: type[AppError]) -> None:
    """But never as one that says something of whoever asks: that its own lease is lost, that it waits."""
    await bus.serve(about, raising(error))
    met = await failed(bus, about)
    assert type(met) is kind
    assert (met.code, met.message, met.remedy) == (error.code, error.message, error.remedy)
    assert getattr(met, "retry_after", None) == getattr(error, "retry_after", None)


@pytest.mark.parametrize(
    "error", [ValueError("the secret is hunter2"), asyncio.CancelledError(), TimeoutError()], ids=repr
)
async def test_a_fault_of_whoever_answers_ends_neither_it_nor_its_secrecy(
    bus: Any, about: str, error: BaseException
) -> None:
    broken = [True]

    async def answer(payload: bytes) -> bytes:
        if broken[0]:
            raise error
        return payload

    await bus.serve(about, answer)
    met = await failed(bus, about)
    assert isinstance(met, (Internal, Transient))
    assert "hunter2" not in met.message + met.remedy
    broken[0] = False
    assert await bus.request(about, b"x", WAIT) == b"x"


async def test_what_is_too_large_is_refused_on_both_ways_and_the_connection_lives(bus: Any, about: str) -> None:
    async def much(payload: bytes) -> bytes:
        return payload * 1024

    await bus.serve(about, much)
    assert (await failed(bus, about, b"x" * (MIB + 1))).code == "message_too_large"
    error = await failed(bus, about, b"x" * 2048)
    assert (type(error), error.code) == (Permanent, "message_too_large")
    assert await bus.request(about, b"x", WAIT) == b"x" * 1024
    assert await bus.healthy()


async def test_more_than_can_be_answered_at_once_are_sent_away_and_not_kept_waiting(bus: Any, about: str) -> None:
    free, inside = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(payload: bytes) -> bytes:
        inside.release()
        await free.wait()
        return payload

    await bus.serve(about, slow, at_once=2)
    two = [asyncio.create_task(bus.request(about, b"%d" % n, WAIT)) for n in range(2)]
    for _ in two:
        await asyncio.wait_for(inside.acquire(), WAIT)
    assert (await failed(bus, about)).code == "bus_busy"
    free.set()
    assert await asyncio.gather(*two) == [b"0", b"1"]
    assert await bus.request(about, b"again", WAIT) == b"again"


async def test_who_stops_tells_those_that_wait_for_it(bus: Any, about: str) -> None:
    inside = asyncio.Event()

    async def slow(_payload: bytes) -> bytes:
        inside.set()
        await asyncio.Event().wait()
        return b""

    serving = await bus.serve(about, slow)
    asking = asyncio.create_task(failed(bus, about))
    await asyncio.wait_for(inside.wait(), WAIT)
    await serving.close()
    error = await asking
    assert (type(error), error.code) == (Transient, "bus_busy")


async def test_nothing_is_held_of_who_stopped_serving(bus: Any, about: str) -> None:
    """A subject of its own for each download would else stay in memory for as long as the service runs."""

    async def serve_once() -> weakref.ref[Any]:
        held = bytearray(1)

        async def answer(_payload: bytes) -> bytes:
            return bytes(held)

        serving = await bus.serve(about, answer)
        assert await bus.request(about, b"", WAIT) == b"\0"
        await serving.close()
        return weakref.ref(answer)

    answers = [await serve_once() for _ in range(3)]
    assert (await failed(bus, about)).code == "bus_nobody"
    gc.collect()
    assert [answer() for answer in answers] == [None] * 3


async def test_a_bus_that_is_closed_ends_all_that_still_serve(bus: Any, about: str) -> None:
    inside, ended, count = asyncio.Semaphore(0), asyncio.Semaphore(0), 3

    async def slow(_payload: bytes) -> bytes:
        inside.release()
        try:
            await asyncio.Event().wait()
        finally:
            ended.release()
        return b""

    for number in range(count):
        await bus.serve(f"{about}.{number}", slow)
    asking = [asyncio.create_task(failed(bus, f"{about}.{number}")) for number in range(count)]
    for _ in asking:
        await asyncio.wait_for(inside.acquire(), WAIT)
    await bus.close()
    for _ in asking:
        await asyncio.wait_for(ended.acquire(), WAIT)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


@pytest.mark.parametrize(
    "subject", ["", "ask", "ask.", "ask..x", "ask.*", "ask.>", "ask.a b", "ask.\u00e9 ", "backup.requested", "progress.x", "$JS.API.INFO", "dead.x", "_INBOX.x"],
)  # fmt: skip
async def test_a_subject_that_is_not_for_questions_is_refused(bus: Any, subject: str) -> None:
    """A stream that holds a subject would answer in place of whoever serves it, and keep the question as a job."""
    for call in (bus.request(subject, b"", WAIT), bus.serve(subject, echo)):
        with pytest.raises(Permanent) as caught:
            await call
        assert caught.value.code in ("request_subject_invalid", "message_subject_invalid")
        assert caught.value.remedy


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), LONGEST + 1])
async def test_a_deadline_that_is_none_is_refused(bus: Any, about: str, seconds: float) -> None:
    await bus.serve(about, echo)
    assert (await failed(bus, about, seconds=seconds)).code == "request_deadline_invalid"


async def test_who_no_longer_wants_to_know_leaves_nothing_behind(bus: Any, about: str) -> None:
    begun, free = asyncio.Event(), asyncio.Event()

    async def slow(payload: bytes) -> bytes:
        begun.set()
        await free.wait()
        return payload

    await bus.serve(about, slow)
    asking = asyncio.create_task(bus.request(about, b"x", WAIT))
    await asyncio.wait_for(begun.wait(), WAIT)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    free.set()
    assert await bus.request(about, b"y", WAIT) == b"y"


@pytest.mark.parametrize("bus", ["jetstream"], indirect=True)
@pytest.mark.parametrize("reply", ["", "backup.requested", "progress.x", "$JS.API.STREAM.DELETE.JOBS", "_INBOXES.x"])
async def test_an_answer_goes_to_inboxes_alone(bus: Any, about: str, reply: str) -> None:
    """Who may only ask would else publish what it likes, where it likes, in the name of a service."""
    met: list[bytes] = []

    async def answer(payload: bytes) -> bytes:
        met.append(payload)
        return payload

    await bus.serve(about, answer)
    await bus._client.publish(about, b'{"backup_job": "web1"}', reply=reply)
    assert await bus.request(about, b"after it", WAIT) == b"after it"
    assert met == [b"after it"]


@pytest.mark.parametrize("bus", ["jetstream"], indirect=True)
@pytest.mark.parametrize("within", ["", "x", "nan", "inf", "-1", "0", "1e400", "9" * 400])
async def test_a_deadline_in_a_message_that_makes_no_sense_is_the_servers_own(
    bus: Any, about: str, within: str
) -> None:
    await bus.serve(about, echo)
    message = await bus._client.request(about, b"x", timeout=WAIT, headers={"Borgfleet-Within": within or "-"})
    assert message.data == b"x"


async def test_whoever_tails_has_each_message_with_its_subject(bus: Any) -> None:
    number = next(_numbers)
    heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    tail = await bus.tail("progress.*", lambda subject, payload: heard.put_nowait((subject, payload)))
    for n in range(3):
        await bus.notify(f"progress.t{number}-{n}", json.dumps({"n": n}).encode())
    met = [await asyncio.wait_for(heard.get(), WAIT) for _ in range(3)]
    assert met == [(f"progress.t{number}-{n}", b'{"n": %d}' % n) for n in range(3)]
    await tail.close()
    await tail.close()
    last: asyncio.Queue[str] = asyncio.Queue()
    await bus.tail(f"progress.t{number}-9", lambda subject, _: last.put_nowait(subject))
    await bus.notify(f"progress.t{number}-9", b"x")
    await asyncio.wait_for(last.get(), WAIT)
    assert heard.empty()


async def test_a_tail_that_raises_stops_neither_the_publisher_nor_the_others(
    bus: Any, caplog: pytest.LogCaptureFixture
) -> None:
    subject = f"progress.raising{next(_numbers)}"
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    def breaks(_subject: str, _payload: bytes) -> None:
        raise ValueError("no")

    await bus.tail(subject, breaks)
    await bus.tail(subject, lambda _, payload: heard.put_nowait(payload))
    for payload in (b"1", b"2"):
        await bus.notify(subject, payload)
        assert await asyncio.wait_for(heard.get(), WAIT) == payload
