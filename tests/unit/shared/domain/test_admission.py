from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.admission import Caps, Waiting, choose

NOW = datetime(2026, 3, 4, tzinfo=UTC)
SERVERS = [uuid.UUID(int=number) for number in range(1, 5)]
POOLS = [uuid.UUID(int=number) for number in range(100, 103)]

runs = st.lists(
    st.builds(
        Waiting, st.uuids(), st.sampled_from(SERVERS), st.sampled_from(POOLS), st.integers(-2, 2),
        st.integers(0, 1000).map(lambda s: NOW + timedelta(seconds=s)),
    ),
    unique_by=lambda run: run.id, max_size=40,
)  # fmt: skip
places = st.lists(st.tuples(st.sampled_from(SERVERS), st.sampled_from(POOLS)), max_size=10)
cap = st.none() | st.integers(1, 6)
caps = st.builds(
    Caps, cap, cap, cap, st.dictionaries(st.sampled_from(SERVERS + POOLS), st.integers(1, 6), max_size=4)
)  # fmt: skip


def place_of(waiting: list[Waiting], begun: Any) -> list[tuple[uuid.UUID, uuid.UUID]]:
    known = {run.id: (run.server, run.pool) for run in waiting}
    return [known[run_id] for run_id in begun]


def room(caps: Caps, places: list[tuple[uuid.UUID, uuid.UUID]], server: uuid.UUID, pool: uuid.UUID) -> bool:
    counts = Counter([place for pair in places for place in pair])
    return all(
        limit is None or count < limit
        for limit, count in (
            (caps.fleet, len(places)),
            (caps.of_server(server), counts[server]),
            (caps.of_pool(pool), counts[pool]),
        )
    )


@given(runs, places, caps)
def test_every_cap_is_kept_and_no_place_stays_empty(waiting: list[Waiting], under_way: Any, limits: Caps) -> None:
    begun = choose(waiting, under_way, limits)
    assert len(set(begun)) == len(begun)
    taken = list(under_way)
    for server, pool in place_of(waiting, begun):
        assert room(limits, taken, server, pool)
        taken.append((server, pool))
    for run in waiting:
        assert run.id in begun or not room(limits, taken, run.server, run.pool)


@given(runs, caps)
def test_a_higher_priority_goes_first_wherever_there_is_room(waiting: list[Waiting], limits: Caps) -> None:
    begun = choose(waiting, (), limits)
    chosen = set(begun)
    for run in waiting:
        if run.id not in chosen:
            rivals = [other for other in waiting if other.id in chosen and other.priority < run.priority]
            taken = [
                place for place in place_of(waiting, begun) if place not in place_of(waiting, [r.id for r in rivals])
            ]
            assert not rivals or not room(limits, taken, run.server, run.pool) or _behind(waiting, begun, run, rivals)


def _behind(waiting: list[Waiting], begun: Any, run: Waiting, rivals: list[Waiting]) -> bool:
    """Those of lower priority began only where the other found its own server or pool full, not the fleet."""
    before = place_of(waiting, [one for one in begun if one not in {rival.id for rival in rivals}])
    counts = Counter([place for pair in before for place in pair])
    return counts[run.server] > 0 or counts[run.pool] > 0


def test_servers_take_turns_and_the_longest_wait_goes_first_within_one() -> None:
    def run(server: int, second: int) -> Waiting:
        return Waiting(uuid.uuid4(), SERVERS[server], POOLS[0], 0, NOW + timedelta(seconds=second))

    busy = [run(0, second) for second in range(5)]
    late = [run(1, 100), run(2, 200)]
    assert choose([*busy, *late], (), Caps(fleet=4)) == [busy[0].id, late[0].id, late[1].id, busy[1].id]
    assert choose([*busy, *late], [(SERVERS[0], POOLS[0])] * 2, Caps(fleet=4)) == [late[0].id, late[1].id]


def test_own_caps_stand_instead_of_the_common_ones() -> None:
    waiting = [Waiting(uuid.uuid4(), SERVERS[n % 2], POOLS[0], 0, NOW + timedelta(seconds=n)) for n in range(10)]
    begun = choose(waiting, (), Caps(server=1, own={SERVERS[0]: 3}))
    assert Counter(server for server, _ in place_of(waiting, begun)) == {SERVERS[0]: 3, SERVERS[1]: 1}
