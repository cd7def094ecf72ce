"""What a transfer holds of the bytes that it hands on: nothing once nobody asks for them again."""

from __future__ import annotations

import asyncio

import pytest

from services.backup.transfer.outgoing import Outgoing
from shared.domain.downloads import CHUNK_BYTES, DATA, END
from shared.errors import Permanent
from tests.harness.patience import WAIT

DATA_OF_TWO = bytes(CHUNK_BYTES) + b"rest"


async def made(outgoing: Outgoing) -> None:
    await outgoing.put(DATA_OF_TWO)
    await outgoing.end()


async def test_nothing_is_held_of_what_went_out() -> None:
    outgoing = Outgoing(WAIT)
    making = asyncio.create_task(made(outgoing))
    answers = [await asyncio.wait_for(outgoing.answer(number), WAIT) for number in range(3)]
    await making
    assert [answer[:1] for answer in answers] == [DATA, DATA, END]
    assert b"".join(answer[1:] for answer in answers[:2]) == DATA_OF_TWO
    assert (outgoing._chunks, outgoing._buffer) == ({}, b"")
    assert outgoing.begun


async def test_nothing_is_held_of_what_broke_off() -> None:
    outgoing = Outgoing(WAIT)
    await outgoing.put(b"begun")
    await outgoing.fail(Permanent("borg was killed", code="borg_killed", remedy="-"))
    assert (outgoing._chunks, outgoing._buffer) == ({}, b"")
    with pytest.raises(Permanent, match="killed"):
        await outgoing.answer(0)
