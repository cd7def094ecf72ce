"""An answer that is ready only after the connection broke goes nowhere: nats-server would refuse it, and count that."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shared.bus.jetstream import connect
from shared.domain.files import VERBS, subject
from shared.errors import AppError
from tests.harness.accounts import Accounts, violations
from tests.harness.patience import WAIT


async def test_what_was_asked_before_a_reconnection_is_not_answered_after_it(scratch: Path) -> None:
    accounts = Accounts(scratch / "late-seeds")
    server = accounts.server(scratch / "late-nats").start()
    node = await connect(accounts.settings(server, "backup"), name="borgfleet-backup")
    api = await connect(accounts.settings(server, "api"), name="borgfleet-api")
    asked, ready = asyncio.Event(), asyncio.Event()
    about = subject(next(iter(VERBS)), "node1")

    async def answer(payload: bytes) -> bytes:
        asked.set()
        if payload == b"slow":
            await ready.wait()
        return b"answer"

    try:
        await node.serve(about, answer, within=WAIT)
        slow = asyncio.create_task(api.request(about, b"slow", WAIT))
        await asyncio.wait_for(asked.wait(), WAIT)
        server.kill()
        server.start()
        async with asyncio.timeout(WAIT):
            while True:  # until both are back, and who is asked now answers
                try:
                    assert await api.request(about, b"quick", 5.0) == b"answer"
                    break
                except AppError:
                    await asyncio.sleep(0.05)
        ready.set()
        assert await api.request(about, b"quick", WAIT) == b"answer"  # it goes the same way, after the late one
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
    finally:
        await api.close()
        await node.close()
        server.stop()  # its log is whole then
    assert violations(server) == []
