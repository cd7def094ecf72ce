from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from services.stats.handlers import collect_stats
from services.stats.ports import ProbeResult, Subject
from shared.bus.memory import MemoryBus
from shared.config.settings import StatsSettings
from shared.db.session import Database
from shared.db.stores.requests import request_collect
from shared.db.stores.secrets import FLEET_KEY
from shared.db.tables import Job, OutboxRow, Server, ServerMount, ServerStats, ServerStatus
from shared.domain.job import JobState
from shared.domain.stats import Mount, Sample
from shared.errors import AppError, LeaseLost, Permanent, Transient
from shared.events.stats import StatsCollect
from shared.runtime.context import Context
from shared.ssh.port import Credentials

SETTINGS = StatsSettings()
MOUNT = Mount("/srv", "/dev/sdb1", "ext4", 100, 50, 50, 50.0)


class FakeProbe:
    """Answers for each server by name; an AppError is why it does not."""

    def __init__(self, **answers: Sample | AppError) -> None:
        self.answers = answers
        self.seen: list[str] = []

    async def probe(self, subject: Subject, credentials: Credentials) -> ProbeResult:
        assert credentials.private_key == "fleet"
        self.seen.append(subject.target.name)
        answer = self.answers[subject.target.name]
        return ProbeResult(subject, error=answer) if isinstance(answer, AppError) else ProbeResult(subject, answer)


def sample(**values: Any) -> Sample:
    return Sample(**{"collected_at": datetime.now(UTC), "cpu_usage_percent": 0.0, "mounts": (MOUNT,)} | values)


@pytest.fixture
async def servers(db: Database) -> dict[str, Server]:
    async def add(tx: Any) -> dict[str, Server]:
        await tx.secrets.put(FLEET_KEY, "fleet")
        made = {
            name: Server(name=name, host=name, host_key="ssh-ed25519 AAAA" if name != "new" else None, facts={})
            for name in ("one", "two", "three", "new")
        }
        tx.session.add_all(made.values())
        return made

    return await db.run(add)


async def collect(
    db: Database, bus: MemoryBus, probe: FakeProbe, servers: list[Server] | None, job: Job | None = None
) -> Job:
    asked = job or await db.run(lambda tx: request_collect(tx, servers))
    ctx = Context(db, bus, key="k", lease_seconds=30)
    await collect_stats(StatsCollect(job_id=asked.id), ctx, probe=probe, settings=SETTINGS, learnt=lambda: None)
    async with db.read() as session:
        return await session.get_one(Job, asked.id)


async def rows(db: Database, table: Any) -> list[Any]:
    async with db.read() as session:
        return list(await session.scalars(select(table)))


async def test_a_sweep_stores_every_answer_and_why_there_is_none(
    db: Database, bus: MemoryBus, servers: dict[str, Server]
) -> None:
    probe = FakeProbe(one=sample(), two=Transient("no answer", code="server_unreachable"), three=sample())
    job = await collect(db, bus, probe, None)
    assert job.state == JobState.SUCCEEDED
    assert job.result == {"collected": 2, "unreachable": 1, "left_alone": 0}
    assert sorted(probe.seen) == ["one", "three", "two"]  # the new one has no pinned host key: nothing is sent to it
    assert {row.server_id for row in await rows(db, ServerStats)} == {servers["one"].id, servers["three"].id}
    assert [row.mount_point for row in await rows(db, ServerMount)] == ["/srv", "/srv"]
    status = {row.server_id: row for row in await rows(db, ServerStatus)}
    assert status[servers["one"].id].up
    assert status[servers["one"].id].sample["cpu_usage_percent"] == 0.0
    dead = status[servers["two"].id]
    assert (dead.up, dead.code, dead.reason, dead.failures) == (False, "server_unreachable", "no answer", 1)
    subjects = [row.subject for row in await rows(db, OutboxRow)]
    assert subjects.count("server.unreachable") == 1
    assert subjects.count("stats.collected") == 1


async def test_a_dead_server_is_left_alone_by_sweeps_but_not_when_asked_for(
    db: Database, bus: MemoryBus, servers: dict[str, Server]
) -> None:
    dead = Transient("no answer", code="server_unreachable")
    await collect(db, bus, FakeProbe(one=sample(), two=dead, three=sample()), None)
    probe = FakeProbe(one=sample(), two=sample(), three=sample())
    assert (await collect(db, bus, probe, None)).result["left_alone"] == 1
    assert "two" not in probe.seen
    job = await collect(db, bus, probe, [servers["two"], servers["one"]])
    assert job.title == "2 servers"
    assert "two" in probe.seen
    subjects = [row.subject for row in await rows(db, OutboxRow)]
    assert subjects.count("server.reachable") == 1


async def test_a_sweep_taken_over_goes_on_where_the_dead_worker_stopped(
    db: Database, bus: MemoryBus, servers: dict[str, Server]
) -> None:
    job = await db.run(lambda tx: request_collect(tx, None))

    async def half_done(tx: Any) -> None:
        tx.session.add(ServerStatus(server_id=servers["one"].id, up=True))

    await db.run(half_done)
    probe = FakeProbe(two=sample(), three=sample())
    assert (await collect(db, bus, probe, None, job)).result["collected"] == 3  # by both workers together
    assert sorted(probe.seen) == ["three", "two"]
    again = FakeProbe()
    await collect(db, bus, again, None, job)
    assert again.seen == []  # a second delivery finds no claim


async def test_asked_for_alone_a_server_that_does_not_answer_fails_the_job_with_the_reason(
    db: Database, bus: MemoryBus, servers: dict[str, Server]
) -> None:
    job = await collect(db, bus, FakeProbe(one=Permanent("who?", code="host_key_changed")), [servers["one"]])
    assert (job.state, job.code, job.reason) == (JobState.FAILED, "host_key_changed", "who?")
    with pytest.raises(Permanent) as refusal:
        await collect(db, bus, FakeProbe(), [servers["new"]])
    assert refusal.value.code == "host_key_unknown"


async def test_rates_come_from_two_samples_and_are_unknown_after_a_reboot(
    db: Database, bus: MemoryBus, servers: dict[str, Server]
) -> None:
    one = [servers["one"]]
    first = sample(network_received_bytes=1000, network_sent_bytes=0, uptime_seconds=5000)
    later = replace(first, collected_at=first.collected_at + timedelta(seconds=10), network_received_bytes=3000)
    rebooted = replace(first, collected_at=first.collected_at + timedelta(seconds=20), uptime_seconds=3)
    for at in (first, later, rebooted):
        await collect(db, bus, FakeProbe(one=at), one)
    stored = sorted(await rows(db, ServerStats), key=lambda row: row.collected_at)
    assert [row.network_received_rate for row in stored] == [None, 200.0, None]
    assert [row.network_sent_rate for row in stored] == [None, 0.0, None]


async def test_a_server_deleted_while_it_was_looked_at_is_no_error(
    db: Database, bus: MemoryBus, servers: dict[str, Server]
) -> None:
    class Deleting(FakeProbe):
        async def probe(self, subject: Subject, credentials: Credentials) -> ProbeResult:
            async def delete(tx: Any) -> None:
                await tx.session.delete(await tx.session.get_one(Server, subject.server_id))

            await db.run(delete)
            return await super().probe(subject, credentials)

    job = await collect(db, bus, Deleting(one=sample()), [servers["one"]])
    assert job.state == JobState.SUCCEEDED
    assert await rows(db, ServerStats) == []


async def test_many_servers_are_stored_batch_by_batch_and_no_more_at_once_than_allowed(
    db: Database, bus: MemoryBus, servers: dict[str, Server]
) -> None:
    async def add(tx: Any) -> None:
        tx.session.add_all(Server(name=f"s{n}", host="h", host_key="ssh-ed25519 AAAA", facts={}) for n in range(120))

    await db.run(add)
    at_once = most = 0

    class Busy(FakeProbe):
        async def probe(self, subject: Subject, credentials: Credentials) -> ProbeResult:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1
            return ProbeResult(subject, sample())

    asked = await db.run(lambda tx: request_collect(tx, None))
    ctx = Context(db, bus, key="k", lease_seconds=30)
    settings = StatsSettings(concurrency=7)
    await collect_stats(StatsCollect(job_id=asked.id), ctx, probe=Busy(), settings=settings, learnt=lambda: None)
    assert most == 7
    assert len(await rows(db, ServerStats)) == 123


async def test_a_worker_that_lost_its_lease_stores_nothing_more(
    db: Database, bus: MemoryBus, servers: dict[str, Server]
) -> None:
    job = await db.run(lambda tx: request_collect(tx, None))

    class Late(FakeProbe):
        async def probe(self, subject: Subject, credentials: Credentials) -> ProbeResult:
            taken = update(Job).where(Job.id == job.id).values(lease="another's")
            await db.run(lambda tx: tx.session.execute(taken))
            return ProbeResult(subject, sample())

    ctx = Context(db, bus, key="k", lease_seconds=30)
    with pytest.raises(LeaseLost):
        await collect_stats(StatsCollect(job_id=job.id), ctx, probe=Late(), settings=SETTINGS, learnt=lambda: None)
    assert await rows(db, ServerStats) == []


async def test_a_database_that_fails_in_the_middle_is_tried_again_as_what_it_is(
    db: Database, bus: MemoryBus, servers: dict[str, Server]
) -> None:
    class Unlucky(FakeProbe):
        async def probe(self, subject: Subject, credentials: Credentials) -> ProbeResult:
            message = "gone"
            raise Transient(message, code="database_busy")

    with pytest.raises(Transient) as error:
        await collect(db, bus, Unlucky(), None)
    assert error.value.code == "database_busy"


async def test_an_outside_request_by_name_or_for_all_makes_one_job(
    db: Database, bus: MemoryBus, servers: dict[str, Server]
) -> None:
    for key, event in (("m1", StatsCollect(server="one")), ("m1", StatsCollect(server="one")), ("m2", StatsCollect())):
        await collect_stats(
            event,
            Context(db, bus, key=key, lease_seconds=30),
            probe=FakeProbe(),
            settings=SETTINGS,
            learnt=lambda: None,
        )
    jobs = {job.request_key: job for job in await rows(db, Job)}
    assert set(jobs) == {"m1", "m2"}
    assert jobs["m1"].server_id == servers["one"].id
    assert jobs["m2"].server_id is None
    with pytest.raises(Permanent, match="no server is named"):
        ctx = Context(db, bus, key="m3", lease_seconds=30)
        await collect_stats(
            StatsCollect(server="nobody"), ctx, probe=FakeProbe(), settings=SETTINGS, learnt=lambda: None
        )


@pytest.mark.parametrize("asked_for", [None, "bad"])
async def test_a_server_whose_answer_nobody_foresaw_costs_only_its_own_probe(
    db: Database, bus: MemoryBus, servers: dict[str, Server], asked_for: str | None
) -> None:
    class Crashing(FakeProbe):
        async def probe(self, subject: Subject, credentials: Credentials) -> ProbeResult:
            if subject.target.name == "two":
                raise KeyError("nobody foresaw this")
            return ProbeResult(subject, sample())

    job = await collect(db, bus, Crashing(), [servers["two"]] if asked_for else None)
    status = {one.server_id: (one.up, one.code) for one in await rows(db, ServerStatus)}
    assert status[servers["two"].id] == (False, "answer_unusable")
    if asked_for:
        assert (job.state, job.code) == (JobState.FAILED, "answer_unusable")
    else:
        assert job.state == JobState.SUCCEEDED
        assert status[servers["one"].id] == status[servers["three"].id] == (True, "")


@pytest.mark.parametrize(
    "bad",
    [
        {"hostname": "caf\udce9"},
        {"memory_total_mb": 2**70},
        {"os_version": {"no": "text"}},
        {"mounts": (replace(MOUNT, mount_point="/\ud800"),)},
    ],
)
async def test_one_value_that_cannot_be_stored_loses_none_of_its_batch(
    db: Database, bus: MemoryBus, servers: dict[str, Server], bad: dict[str, Any]
) -> None:
    probe = FakeProbe(one=sample(), two=sample(**bad), three=sample())
    job = await collect(db, bus, probe, None)
    assert job.state == JobState.SUCCEEDED
    assert job.result["collected"] == 2
    status = {one.server_id: (one.up, one.code) for one in await rows(db, ServerStatus)}
    assert status == {
        servers["one"].id: (True, ""),
        servers["two"].id: (False, "answer_unusable"),
        servers["three"].id: (True, ""),
    }
    assert {row.server_id for row in await rows(db, ServerStats)} == {servers["one"].id, servers["three"].id}
