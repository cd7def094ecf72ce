from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from services.stats.collect.connection_pool import ConnectionPool
from services.stats.collect.probe import SshProbe
from services.stats.ports import Subject
from shared.errors import Transient
from shared.ssh.port import Completed, Credentials, Target
from tests.unit.services.stats.outputs import DEBIAN

TARGET = Target("web1", "192.0.2.1", 22, "root", "ssh-ed25519 AAAA")
CREDENTIALS = Credentials(private_key="key")


class Door:
    """Counts logins; `broken` connections fail when used."""

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.broken: set[int] = set()

    @contextlib.asynccontextmanager
    async def connect(self, target: Target, credentials: Credentials) -> AsyncIterator[Any]:
        self.opened += 1
        try:
            yield Line(self, self.opened)
        finally:
            self.closed += 1


class Line:
    def __init__(self, door: Door, number: int) -> None:
        self._door, self._number = door, number

    async def run(self, script: str, *, stdin: str, seconds: float) -> Completed:
        assert "@" in stdin or "section" in stdin
        if self._number in self._door.broken:
            raise Transient("gone", code="connection_lost")
        return Completed(0, DEBIAN, "")


def made(door: Door, limit: int = 2, idle: float = 100.0) -> ConnectionPool:
    return ConnectionPool(door, limit=limit, idle_seconds=idle)  # type: ignore[arg-type] - as much of a door as it needs


async def test_a_second_look_pays_no_handshake() -> None:
    door = Door()
    probe = SshProbe(made(door), seconds=5)
    subject = Subject(uuid.uuid4(), TARGET)
    for _ in range(3):
        result = await probe.probe(subject, CREDENTIALS)
        assert result.sample is not None
    assert (door.opened, door.closed) == (1, 0)


async def test_a_kept_connection_that_died_unnoticed_is_opened_afresh_once() -> None:
    door = Door()
    probe = SshProbe(made(door), seconds=5)
    subject = Subject(uuid.uuid4(), TARGET)
    await probe.probe(subject, CREDENTIALS)
    door.broken = {1}
    assert (await probe.probe(subject, CREDENTIALS)).error is None
    assert (door.opened, door.closed) == (2, 1)


async def test_a_fresh_connection_that_fails_is_a_reason_and_not_tried_twice() -> None:
    door = Door()
    door.broken = {1}
    result = await SshProbe(made(door), seconds=5).probe(Subject(uuid.uuid4(), TARGET), CREDENTIALS)
    assert result.error is not None
    assert result.error.code == "connection_lost"
    assert (door.opened, door.closed) == (1, 1)


async def test_no_more_than_the_limit_are_kept_and_the_longest_unused_goes() -> None:
    door = Door()
    kept = made(door, limit=2)
    names = [uuid.uuid4() for _ in range(3)]
    for name in names:
        async with kept.connection(name, TARGET, CREDENTIALS):
            pass
    assert (len(kept), door.closed) == (2, 1)
    async with kept.connection(names[2], TARGET, CREDENTIALS) as (_, was_kept):
        assert was_kept
    async with kept.connection(names[0], TARGET, CREDENTIALS) as (_, was_kept):
        assert not was_kept


@pytest.mark.parametrize("change", [{"host_key": "ssh-ed25519 BBBB"}, {"host": "192.0.2.2"}, {"username": "eve"}])
async def test_a_changed_server_gets_nothing_over_the_old_connection(change: dict[str, str]) -> None:
    door = Door()
    kept = made(door)
    name = uuid.uuid4()
    async with kept.connection(name, TARGET, CREDENTIALS):
        pass
    async with kept.connection(name, replace(TARGET, **change), CREDENTIALS) as (_, was_kept):
        assert not was_kept
    assert (door.opened, door.closed) == (2, 1)


async def test_stopping_closes_all() -> None:
    door = Door()
    kept = made(door, idle=0.0)
    for _ in range(2):
        async with kept.connection(uuid.uuid4(), TARGET, CREDENTIALS):
            pass
    await kept.close()
    assert (len(kept), door.closed) == (0, 2)
