"""What comes over the bus in place of an answer: from another version, or from whoever may publish there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from shared.bus.asking import ERROR, Desk, Reply, read_reply, refused
from shared.errors import AppError, Permanent, Transient
from tests.harness.patience import WAIT


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "bus_answer_unreadable"),
        (b"{", "bus_answer_unreadable"),
        (b"[]", "bus_answer_unreadable"),
        (b'"x"', "bus_answer_unreadable"),
        (b"\xff\xfe\x00", "bus_answer_unreadable"),
        (b"{}", "error"),
        (b'{"code": null, "message": null}', "error"),
        (b'{"code": {"a": 1}, "message": [1], "remedy": 7, "retry_after": "soon"}', "{'a': 1}"),
        (b'{"code": "c", "message": "m", "remedy": "r", "retry_after": 1e308, "more": 1}', "c"),
    ],
)
@pytest.mark.parametrize("kind", ["Transient", "Permanent", "KeyboardInterrupt", "", "LeaseLost"])
def test_an_error_that_cannot_be_read_is_an_error_all_the_same(kind: str, payload: bytes, code: str) -> None:
    with pytest.raises(AppError) as caught:
        read_reply(Reply(payload, {ERROR: kind}), "ask.x")
    assert caught.value.code == code
    assert isinstance(caught.value, (Transient, Permanent))
    assert getattr(caught.value, "retry_after", None) is None


def test_an_error_of_any_length_holds_no_control_signs_and_ends_somewhere() -> None:
    told = {"code": "c" * 10_000, "message": "a\x1b[2Jb" + "m" * 100_000, "remedy": "r" * 100_000}
    with pytest.raises(Permanent) as caught:
        read_reply(Reply(json.dumps(told).encode(), {ERROR: "Permanent"}), "ask.x")
    assert "\x1b" not in caught.value.message
    assert len(caught.value.code) <= 60
    assert len(caught.value.message) + len(caught.value.remedy) < 5000
    again = refused(Permanent("m" * 100_000, code="c" * 1000, remedy="r" * 100_000))
    assert len(again.payload) < 5000


async def answered(desk: Desk, headers: Mapping[str, str]) -> Reply:
    replied: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    async def send(payload: bytes, headers: Mapping[str, str]) -> None:
        replied.set_result(Reply(payload, headers))

    desk.take(b"", headers, send)
    return await asyncio.wait_for(replied, WAIT)


async def never(_payload: bytes) -> bytes:
    await asyncio.Event().wait()
    return b""


@pytest.mark.parametrize("within", ["", "x", "nan", "inf", "-1", "0", "1e400", "-inf", "1e9"])
async def test_no_deadline_in_a_message_outlasts_the_servers_own(within: str) -> None:
    desk = Desk("ask.x", never, most=lambda: 1000, within=0.1, at_once=1)
    with pytest.raises(Transient) as caught:
        read_reply(await answered(desk, {"Borgfleet-Within": within}), "ask.x")
    assert caught.value.code == "bus_timeout"


async def test_a_bus_that_is_gone_when_the_answer_is_there_ends_nothing() -> None:
    tried = asyncio.Event()

    async def send(_payload: bytes, _headers: Mapping[str, str]) -> None:
        tried.set()
        raise Transient("gone", code="bus_unreachable")

    async def echo(payload: bytes) -> bytes:
        return payload

    desk = Desk("ask.x", echo, most=lambda: 1000, within=WAIT, at_once=1)
    desk.take(b"", {}, send)
    await asyncio.wait_for(tried.wait(), WAIT)
    assert (await answered(desk, {})).payload == b""


async def test_an_answer_that_cannot_be_broken_off_keeps_its_place_and_no_more() -> None:
    free, calls = asyncio.Event(), [0]

    async def stubborn(_payload: bytes) -> bytes:
        calls[0] += 1
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue
        return b"late"

    desk = Desk("ask.x", stubborn, most=lambda: 1000, within=0.05, at_once=1)
    assert _code(await answered(desk, {})) == "bus_timeout"
    assert _code(await answered(desk, {})) == "bus_busy"
    free.set()
    while (reply := await answered(desk, {})).payload != b"late":
        assert _code(reply) == "bus_busy"
        await asyncio.sleep(0)
    assert calls[0] == 2


async def test_a_desk_that_is_closed_answers_nothing_more() -> None:
    desk = Desk("ask.x", never, most=lambda: 1000, within=WAIT, at_once=1)
    await desk.close()
    assert _code(await answered(desk, {})) == "bus_busy"


def _code(reply: Reply) -> Any:
    return json.loads(reply.payload)["code"]
