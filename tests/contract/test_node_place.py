"""A backup node works in one place at a time: who comes second from elsewhere is refused, and takes over who is gone."""

from __future__ import annotations

import asyncio
import socket
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from shared.db.tables.base import db_now
from shared.db.tables.kernel import Lease, ServiceInstance
from shared.errors import Permanent
from shared.runtime.node_place import NodePlace, here

NODE = "node1"


def place(db: Any, where: str) -> NodePlace:
    return NodePlace(db, NODE, where)


async def take(of: NodePlace, within: float = 0.0) -> None:
    await of.take(asyncio.Event(), within)


async def renewed(of: NodePlace) -> bool:
    """Whether a process goes on after its next look at the lease."""
    stopping = asyncio.Event()
    await of.task(stopping).work(stopping)
    return not stopping.is_set()


async def run_out(db: Any, seconds: float = 1.0) -> None:
    """As if so much more time had gone by than a lease lasts."""
    await db.run(lambda tx: tx.session.execute(update(Lease).values(until=db_now(-seconds))))


async def test_a_second_place_is_refused_and_the_first_goes_on(db: Any) -> None:
    await take(place(db, "boot1 pid:[1] /data"))
    for other in ("boot2 pid:[1] /data", "boot1 pid:[2] /data", "boot1 pid:[1] /other"):
        with pytest.raises(Permanent, match="boot1 pid") as refusal:
            await take(place(db, other))
        assert refusal.value.code == "node_taken"
        assert other in refusal.value.message
    assert await renewed(place(db, "boot1 pid:[1] /data"))


async def test_several_processes_of_one_place_work_together(db: Any) -> None:
    for _ in range(3):
        await take(place(db, "here"))
    assert await renewed(place(db, "here"))


async def test_another_node_is_not_concerned(db: Any) -> None:
    await take(place(db, "here"))
    await take(NodePlace(db, "node2", "there"))


async def test_who_is_gone_is_followed_when_the_lease_ran_out(db: Any) -> None:
    old, new = place(db, "old"), place(db, "new")
    await take(old)
    waiting = asyncio.create_task(take(new, within=600.0))
    await run_out(db)
    await waiting
    # The old one was only asleep: it must not work on beside the new one.
    assert not await renewed(old)
    assert await renewed(new)


async def test_who_slept_longer_than_its_lease_goes_on_if_nobody_came(db: Any) -> None:
    await take(place(db, "here"))
    await run_out(db, 3600.0)
    assert await renewed(place(db, "here"))


async def test_who_stops_makes_way_at_once_unless_another_of_its_place_is_at_work(db: Any) -> None:
    async def present(tx: Any) -> None:
        tx.session.add(ServiceInstance(id=uuid.uuid4(), service="backup", node=NODE, version="1"))

    first = place(db, "here")
    await take(first)
    for _ in range(2):
        await db.run(present)
    await first.leave()
    with pytest.raises(Permanent):
        await take(place(db, "there"))
    await db.run(lambda tx: tx.session.execute(update(ServiceInstance).values(seen_at=db_now(-60.0))))
    await first.leave()
    await take(place(db, "there"))


async def test_who_is_told_to_stop_waits_no_longer(db: Any) -> None:
    await take(place(db, "here"))
    stopping = asyncio.Event()
    waiting = asyncio.create_task(place(db, "there").take(stopping, within=600.0))
    await asyncio.sleep(0)
    stopping.set()
    await waiting
    assert await renewed(place(db, "here"))


async def test_a_place_has_a_name_that_can_be_kept_and_says_which_host(
    db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here(tmp_path).startswith(socket.gethostname()[:40] + " ")
    assert here(tmp_path) == here(tmp_path) != here(tmp_path / "other")
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 253)
    await take(place(db, here(tmp_path / ("deep/" * 200))))
    assert await renewed(place(db, here(tmp_path / ("deep/" * 200))))
