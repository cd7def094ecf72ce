"""A program that writes without newlines, or without end, costs neither memory nor the event loop."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.lines import LineCutter, ShownLines
from shared.domain.reading import clean_all, each_line, whole


def cut(blocks: list[bytes], longest: int) -> tuple[list[bytes], int]:
    cutter = LineCutter(longest)
    lines = [line for block in blocks for line in cutter.feed(block)]
    return [*lines, *cutter.end()], cutter.dropped


@given(st.lists(st.binary(max_size=40)), st.integers(1, 50))
def test_lines_do_not_depend_on_where_blocks_end_and_nothing_is_lost_uncounted(
    blocks: list[bytes], longest: int
) -> None:
    data = b"".join(blocks)
    wanted = data.split(b"\n")
    if not wanted[-1]:
        wanted.pop()
    assert cut(blocks, longest) == cut([data], longest)
    assert cut(blocks, longest) == (
        [line[:longest] for line in wanted],
        sum(max(0, len(line) - longest) for line in wanted),
    )


def test_a_line_longer_than_all_memory_for_it_is_cut_and_what_was_dropped_is_counted() -> None:
    cutter = LineCutter()
    for _ in range(32 * 16):
        assert cutter.feed(b"x" * 65536) == []
    assert cutter.feed(b"\nnext\n") == [b"x" * 65536, b"next"]
    assert cutter.dropped == 32 * 16 * 65536 - 65536
    assert cutter.end() == []


SHOWN = {
    b"a\rb\n": [b"b"],
    b"a\r\nb\r\n": [b"a\r", b"b\r"],
    b"10%\r20%\r": [b"20%\r"],
    b"10%\r20%\r\nnext": [b"20%\r", b"next"],
    b"\r\r\n\n": [b"\r\r", b""],
    b"a\r\rb\n": [b"b"],
    b"1\r" * 200_000 + b"the end\n": [b"the end"],
}


@pytest.mark.parametrize("data", SHOWN)
@pytest.mark.parametrize("size", [1, 2, 3, 65536])
def test_of_a_line_that_is_written_over_the_last_state_is_kept(data: bytes, size: int) -> None:
    """It was one line of megabytes, cut before the program's last word."""
    cutter = ShownLines()
    lines = [line for at in range(0, len(data), size) for line in cutter.feed(data[at : at + size])]
    assert [*lines, *cutter.end()] == SHOWN[data]
    assert cutter.dropped == 0


HELD = 0.1
"""Seconds, where coverage is not measured."""


class Stream:
    """So many bytes, made of one block again and again."""

    def __init__(self, block: bytes, total: int) -> None:
        self.block, self.left = block, total

    async def read(self, _n: int) -> bytes:
        block = self.block[: self.left]
        self.left -= len(block)
        return block


async def longest_pause(task: asyncio.Task[object]) -> float:
    """How long one turn of the event loop took at most, in seconds of this thread's own work."""
    gc.disable()  # to look through all that the tests before have left takes longer, and is no part of this
    try:
        longest, seen = 0.0, time.thread_time()
        while not task.done():
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, seen = max(longest, now - seen), now
        return longest
    finally:
        gc.enable()


@pytest.mark.unmeasured
async def test_a_flood_of_lines_or_one_without_end_never_holds_the_event_loop() -> None:
    heard: list[bytes] = []
    for block, total in (
        (b"x" * 65536, 32 << 20),
        (b"\n" * 65536, 1 << 20),
        (b"a line of usual length\n" * 2849, 8 << 20),
    ):
        heard.clear()
        reading = asyncio.create_task(each_line(Stream(block, total).read, heard.append))
        held = await longest_pause(reading)
        assert held < HELD
        assert await reading + sum(map(len, heard)) + block.count(b"\n") * (total // len(block)) >= total - len(block)


async def test_an_answer_is_read_to_its_end_and_what_is_too_much_is_counted() -> None:
    assert await whole(Stream(b"abc" * 1000, 100_000_000).read, 10) == (b"abcabcabca", 99_999_990)
    assert await whole(Stream(b"abc", 6).read, 10) == (b"abcabc", 0)


@pytest.mark.unmeasured
@pytest.mark.parametrize("data", [b"\x00" * (4 << 20), b"\xff" * (4 << 20), b"plain text\n" * 400_000])
async def test_cleaning_megabytes_never_holds_the_event_loop(data: bytes) -> None:
    cleaning = asyncio.create_task(clean_all(data))
    assert await longest_pause(cleaning) < HELD
    assert await cleaning == data.decode("utf-8", "backslashreplace").replace("\x00", "\\x00")


async def test_a_character_on_the_border_of_two_pieces_stays_whole() -> None:
    data = b"x" * 8191 + "é\r\n".encode() * 3 + b"\xc3"
    assert await clean_all(data) == "x" * 8191 + "é\n" * 3 + "\\xc3"
    assert await clean_all(b"") == ""
