"""A sample holds the newest, the largest and some by chance, never more than its limits, and the same each time."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.sampling import Candidate, Sampler, choose

FILES = [Candidate(b"f%d" % number, number * 10, changed=(number * 7) % 100) for number in range(100)]


def sampler(
    candidates: list[Candidate], *, seed: str = "s", files: int = 50, most: int = 10**6, favour: bool = True
) -> Sampler:
    made = Sampler(seed, files, most, favour=favour)
    for one in candidates:
        made.add(one)
    return made


def names(chosen: dict[str, list[Candidate]]) -> set[bytes]:
    return {one.path for some in chosen.values() for one in some}


def test_the_newest_and_the_largest_are_in_it_and_the_rest_is_by_chance() -> None:
    chosen = choose({"a": sampler(FILES)}, 50, 10**6)
    assert len(names(chosen)) == 50
    assert {one.path for one in sorted(FILES, key=lambda one: one.changed)[-10:]} <= names(chosen)
    assert {one.path for one in sorted(FILES, key=lambda one: one.size)[-10:]} <= names(chosen)


def test_the_same_seed_chooses_the_same_in_whatever_order_and_another_one_others() -> None:
    shuffled = FILES[:]
    random.Random(1).shuffle(shuffled)
    first, again = (names(choose({"a": sampler(some)}, 30, 10**6)) for some in (FILES, shuffled))
    assert first == again
    assert names(choose({"a": sampler(FILES, seed="t")}, 30, 10**6)) != first


def test_of_other_archives_only_some_by_chance() -> None:
    other = [Candidate(b"old%d" % number, 1) for number in range(100)]
    chosen = choose({"new": sampler(FILES), "old": sampler(other, favour=False)}, 50, 10**6)
    assert len(chosen["old"]) > 5
    assert len(chosen["new"]) + len(chosen["old"]) == 50
    assert sampler(other, favour=False).newest == sampler(other, favour=False).largest == []


def test_one_file_that_is_chosen_for_two_reasons_is_read_once() -> None:
    few = FILES[:5]
    assert len([one for some in choose({"a": sampler(few)}, 50, 10**6).values() for one in some]) == 5


def test_rows_of_a_catalogue_are_told_apart_before_they_have_a_path() -> None:
    rows = [Candidate(b"", 10, changed=number, version=(number, 1, 1)) for number in range(20)]
    (some,) = choose({"a": sampler(rows)}, 12, 10**6).values()
    assert len({one.version for one in some}) == 12


@given(st.lists(st.integers(0, 500), max_size=60), st.integers(1, 30), st.integers(1, 2000))
def test_no_limit_is_ever_passed(sizes: list[int], files: int, most: int) -> None:
    made = sampler([Candidate(b"%d" % nth, size) for nth, size in enumerate(sizes)], files=files, most=most)
    some = [one for part in choose({"a": made}, files, most).values() for one in part]
    assert len(some) <= files
    assert sum(one.size for one in some) <= most
    assert bool(some) == any(size <= most for size in sizes)
