"""A clean-up of a million rows ends when the process does, and when there is nothing left; never before, never after."""

from __future__ import annotations

import asyncio
import time

import pytest

from shared.errors import Transient
from shared.runtime.batches import in_batches
from tests.harness.patience import WAIT


class Rows:
    """So many rows, of which each batch takes some."""

    def __init__(self, rows: int, size: int) -> None:
        self.rows, self.size, self.batches = rows, size, 0
        self.stopping = asyncio.Event()
        self.stop_after = 0

    async def take(self) -> int:
        self.batches += 1
        if self.batches == self.stop_after:
            self.stopping.set()
        taken = min(self.size, self.rows)
        self.rows -= taken
        return taken


@pytest.mark.parametrize(
    ("rows", "size", "batches"),
    [(0, 10, 1), (1, 10, 1), (9, 10, 1), (10, 10, 2), (11, 10, 2), (20, 10, 3), (95, 10, 10)],
)
async def test_everything_goes_and_no_batch_more_than_needed_is_asked_for(rows: int, size: int, batches: int) -> None:
    waiting = Rows(rows, size)
    assert await in_batches(waiting.take, waiting.stopping, full=size) == rows
    assert (waiting.rows, waiting.batches) == (0, batches)


async def test_work_that_only_says_whether_there_was_any_goes_on_until_there_is_none() -> None:
    left = [True, True, False]

    async def any_more() -> bool:
        return left.pop(0)

    assert await in_batches(any_more, asyncio.Event()) == 2
    assert left == []


@pytest.mark.parametrize("after", [1, 2, 5])
async def test_a_shutdown_ends_it_after_the_batch_that_is_under_way(after: int) -> None:
    waiting = Rows(1000, 10)
    waiting.stop_after = after
    assert await in_batches(waiting.take, waiting.stopping, full=10) == 10 * after
    assert waiting.rows == 1000 - 10 * after


async def test_a_process_that_stops_already_begins_nothing() -> None:
    waiting = Rows(1000, 10)
    waiting.stopping.set()
    assert await in_batches(waiting.take, waiting.stopping, full=10) == 0
    assert waiting.batches == 0


async def test_a_shutdown_cuts_the_rest_between_two_batches_short() -> None:
    waiting = Rows(1000, 10)
    task = asyncio.create_task(in_batches(waiting.take, waiting.stopping, full=10, rest=10 * WAIT))
    async with asyncio.timeout(WAIT):
        while waiting.batches == 0:
            await asyncio.sleep(0)
        waiting.stopping.set()
        assert await task == 10


async def test_others_have_the_database_between_two_batches_and_nothing_waits_after_the_last() -> None:
    waiting, began = Rows(25, 10), time.monotonic()
    await in_batches(waiting.take, waiting.stopping, full=10, rest=0.05)
    assert time.monotonic() - began >= 0.09  # twice
    waiting, began = Rows(5, 10), time.monotonic()
    await asyncio.wait_for(in_batches(waiting.take, waiting.stopping, full=10, rest=10 * WAIT), WAIT)


async def test_an_error_is_not_swallowed_and_ends_it() -> None:
    async def fails() -> int:
        raise Transient("the database is away")

    with pytest.raises(Transient):
        await in_batches(fails, asyncio.Event())
