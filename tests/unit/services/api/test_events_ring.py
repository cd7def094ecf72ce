"""The ring of live events: bounded, each reader finds his place in it or is told that it is gone."""

from __future__ import annotations

import asyncio

import pytest

from services.api.features.events.ring import Ring


def told(ring: Ring, place: int) -> list[int] | None:
    entries = ring.after(place)
    return None if entries is None else [entry.seq for entry in entries]


def test_the_oldest_go_when_there_are_too_many_or_too_much() -> None:
    few, small = Ring(most=3), Ring(most_bytes=300)
    for _ in range(5):
        few.put("x", "{}")
        small.put("x", '"' + "y" * 100 + '"')
    assert told(few, 1) is None
    assert told(few, 2) == [3, 4, 5]
    assert told(few, 5) == []
    assert told(small, 2) is None
    assert told(small, 3) == [4, 5]


def test_one_event_larger_than_the_ring_leaves_it_empty_and_sound() -> None:
    ring = Ring(most_bytes=100)
    ring.put("x", "y" * 1000)
    assert told(ring, 0) is None
    assert told(ring, 1) == []


def test_a_batch_is_bounded() -> None:
    ring = Ring()
    for _ in range(10):
        ring.put("x", "y" * 30_000)
    assert told(ring, 0) == [1, 2, 3]


@pytest.mark.parametrize(
    ("last", "place"),
    [("{e}-4", 4), ("{e}-2", 2), ("{e}-5", 5), ("{e}-1", None), ("{e}-6", None), ("other-4", None), ("", None),
     ("{e}", None), ("{e}-", None), ("{e}--1", None), ("{e}-²", None), ("{e}-" + "9" * 5000, None)],
)  # fmt: skip
def test_who_comes_back_goes_on_only_where_nothing_is_missing(last: str, place: int | None) -> None:
    ring = Ring(most=3)
    for _ in range(5):
        ring.put("x", "{}")
    assert ring.resumed(last.replace("{e}", ring.epoch)) == place


async def test_news_come_to_everybody_who_waits_and_nobody_else_is_kept() -> None:
    ring = Ring()
    first, second, gone = ring.news(), ring.news(), ring.news()
    gone.cancel()
    ring.put("x", "{}")
    await asyncio.gather(first, second)
    assert ring._waiting == set()
