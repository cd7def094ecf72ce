"""The life of a backup, on fakes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from services.backup.handlers import announce_failure, delete_archive, make_backup, place_backup, place_delete
from shared.borg.output import LogLine, Phase, Progress
from shared.bus.memory import MemoryBus
from shared.db.repositories.requests import request_backup, request_delete
from shared.db.repositories.secrets import FLEET_KEY
from shared.db.session import Database
from shared.db.tables import Archive, BackupJob, BackupNode, Job, OutboxRow, Repository, Server, StoragePool
from shared.domain.ids import new_id
from shared.errors import AppError, Permanent, Transient, Waiting
from shared.events.archive import ArchiveDelete
from shared.events.backup import BackupRequested
from shared.runtime.context import Context
from tests.unit.services.backup.fakes import FakeServer, FakeStorage, figures


class World:
    def __init__(self, db: Database, bus: MemoryBus) -> None:
        self.db, self.bus = db, bus
        self.storage = FakeStorage()
        self.server = FakeServer(self.storage)
        self.definition: BackupJob

    async def build(self, **values: Any) -> World:
        async def add(tx: Any) -> BackupJob:
            server = Server(
                name="web1", host="h", facts={"privilege": "sudo"}, host_key="ssh-ed25519 AAAA", state="ready"
            )
            pool = StoragePool(name="main", node="node1", path="/pool")
            node = BackupNode(name="node1", endpoint_host="n", endpoint_port=22, endpoint_user="borg")
            tx.session.add_all([server, pool, node])
            await tx.session.flush()
            repository = Repository(name="system", server_id=server.id, pool_id=pool.id, path="/pool/web1/system")
            tx.session.add(repository)
            await tx.session.flush()
            definition = BackupJob(
                **{"name": "web1-system", "server_id": server.id, "repository_id": repository.id, "sources": ["/etc"]}
                | values
            )
            tx.session.add(definition)
            await tx.secrets.put(FLEET_KEY, "key")
            await tx.session.flush()
            return definition

        self.definition = await self.db.run(add)
        return self

    async def request(self) -> Job:
        return await self.db.run(lambda tx: request_backup(tx, self.definition))

    async def backup(self, job: Job) -> Context:
        ctx = Context(self.db, self.bus, key="k", lease_seconds=30)
        await make_backup(BackupRequested(job_id=job.id), ctx, storage=self.storage, servers=self.server)
        return ctx

    async def refused(self, job: Job) -> AppError:
        ctx = Context(self.db, self.bus, key="k", lease_seconds=30)
        with pytest.raises(AppError) as caught:
            await make_backup(BackupRequested(job_id=job.id), ctx, storage=self.storage, servers=self.server)
        await self.db.run(ctx.release)
        return caught.value

    async def delete(self, job: Job) -> None:
        ctx = Context(self.db, self.bus, key="k", lease_seconds=30)
        await delete_archive(ArchiveDelete(job_id=job.id), ctx, storage=self.storage)

    async def rows(self, kind: Any) -> list[Any]:
        async with self.db.read() as session:
            return list((await session.scalars(select(kind))).all())

    async def job(self, job: Job) -> Job:
        async with self.db.read() as session:
            return await session.get_one(Job, job.id)


@pytest.fixture
async def world(db: Database, bus: MemoryBus) -> World:
    return await World(db, bus).build()


async def test_a_backup_is_recorded_with_all_its_figures_and_a_second_delivery_is_a_no_op(world: World) -> None:
    job = await world.request()
    world.server.output = [Phase("cache"), Progress(1, 10, 5, "etc/x"), LogLine("info", "hello")]
    await world.backup(job)
    ended, (archive,), (repository,) = await world.job(job), await world.rows(Archive), await world.rows(Repository)
    assert (ended.state, archive.state, archive.files, repository.archive_count) == ("succeeded", "succeeded", 3, 1)
    assert (repository.original_size, repository.deduplicated_size) == (30, 10)
    assert world.storage.calls == ["open", "ensure", "close"]
    subjects = [row.subject for row in await world.rows(OutboxRow)]
    assert subjects.count("backup.completed") == subjects.count("backup.started") == 1
    await world.backup(job)
    assert world.server.created == 1


async def test_an_archive_of_an_earlier_attempt_is_recorded_and_not_made_again(world: World) -> None:
    job = await world.request()
    await world.db.run(lambda tx: tx.session.execute(update(Job).values(attempt=1)))
    name = f"web1-system-2026-01-01T000000Z-{job.id.hex}"
    world.storage.kept[name] = figures(name)
    await world.backup(job)
    assert world.server.created == 0
    assert [archive.name for archive in await world.rows(Archive)] == [name]


async def test_a_retry_without_an_earlier_archive_makes_one(world: World) -> None:
    job = await world.request()
    await world.db.run(lambda tx: tx.session.execute(update(Job).values(attempt=1)))
    await world.backup(job)
    assert world.server.created == 1


async def test_missing_sources_are_yellow_or_red(world: World) -> None:
    world.server.missing = ["/etc"]
    job = await world.request()
    await world.backup(job)
    ended = await world.job(job)
    assert (ended.state, ended.code) == ("failed", "sources_missing")
    assert (await world.rows(Archive))[0].state == "failed"
    assert "backup.failed" in [row.subject for row in await world.rows(OutboxRow)]


async def test_hooks_run_around_and_their_failures_are_told(db: Database, bus: MemoryBus) -> None:
    world = await World(db, bus).build(pre_hook="pre", post_hook="post", hook_seconds=5)
    job = await world.request()
    world.server.statuses = {"post": 4}
    await world.backup(job)
    assert world.server.hooks == ["pre", "post"]
    assert (await world.job(job)).warnings == ["the post-hook ended with status 4"]
    for status, words in ((3, "status 3"), (TimeoutError(), "stopped after 5 seconds")):
        world.server.statuses = {"pre": status}
        error = await world.refused(await world.request())
        assert error.code == "pre_hook_failed"
        assert words in error.message
    assert world.server.hooks[-1] == "post"
    world.server.statuses, world.server.fails = {"post": Transient("gone")}, Transient("borg fell", code="borg_failed")
    assert (await world.refused(await world.request())).code == "borg_failed"
    assert world.server.hooks[-1] == "post"


async def test_a_run_over_its_limit_is_permanent(db: Database, bus: MemoryBus) -> None:
    world = await World(db, bus).build(time_limit_seconds=1)
    world.server.fails = TimeoutError()  # type: ignore[assignment]
    error = await world.refused(await world.request())
    assert (error.code, isinstance(error, Permanent)) == ("time_limit", True)


async def test_while_another_writes_it_waits_by_name(world: World) -> None:
    (repository,) = await world.rows(Repository)
    await world.db.run(lambda tx: tx.leases.acquire(f"repository:{repository.id.hex}", "other", 60))
    error = await world.refused(await world.request())
    assert isinstance(error, Waiting)
    assert error.code == "web1/system"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (update(Server).values(host_key=None), "host_key_unknown"),
        (update(Server).values(state="new"), "server_not_ready"),
        (update(BackupJob).values(transport="direct"), "no_endpoint"),
        (delete(BackupNode), "no_endpoint"),
        (delete(BackupJob), "backup_job_missing"),
    ],
)
async def test_what_cannot_work_is_refused_before_anything_is_sent(world: World, change: Any, code: str) -> None:
    job = await world.request()
    await world.db.run(lambda tx: tx.session.execute(change))
    assert (await world.refused(job)).code == code
    assert world.storage.calls == []


async def test_an_outside_request_makes_one_job_however_often_it_is_delivered(world: World) -> None:
    for _ in range(3):
        await place_backup(
            BackupRequested(backup_job="web1-system"), Context(world.db, world.bus, key="m1", lease_seconds=1)
        )
    assert len(await world.rows(Job)) == 1


@pytest.mark.parametrize(("name", "code"), [(None, "backup_job_missing"), ("nobody", "backup_job_unknown")])
async def test_an_outside_request_that_names_nothing_is_refused(world: World, name: str | None, code: str) -> None:
    with pytest.raises(Permanent) as caught:
        await place_backup(BackupRequested(backup_job=name), Context(world.db, world.bus, key="m", lease_seconds=1))
    assert caught.value.code == code


async def test_a_backup_job_that_is_off_is_not_run_from_outside(world: World) -> None:
    await world.db.run(lambda tx: tx.session.execute(update(BackupJob).values(enabled=False)))
    with pytest.raises(Permanent, match="switched off"):
        await place_backup(
            BackupRequested(backup_job="web1-system"), Context(world.db, world.bus, key="m", lease_seconds=1)
        )


async def test_a_message_without_its_job_is_refused(world: World) -> None:
    for call in (
        make_backup(BackupRequested(), Context(world.db, world.bus, key="m", lease_seconds=1), storage=world.storage,
                    servers=world.server),
        delete_archive(ArchiveDelete(), Context(world.db, world.bus, key="m", lease_seconds=1), storage=world.storage),
    ):  # fmt: skip
        with pytest.raises(Permanent, match="names its job"):
            await call


async def test_failures_are_announced_and_others_jobs_are_not(world: World) -> None:
    job = await world.request()
    await world.db.run(lambda tx: announce_failure(tx, job, Permanent("why", code="c")))
    await world.db.run(lambda tx: announce_failure(tx, Job(type="archive_delete"), Permanent("why")))
    assert [row.subject for row in await world.rows(OutboxRow)].count("backup.failed") == 1


# -- deletion ---------------------------------------------------------------------------------------------


async def backed_up(world: World, count: int = 2) -> list[Archive]:
    for _ in range(count):
        await world.backup(await world.request())
    return sorted(await world.rows(Archive), key=lambda archive: archive.created_at)


async def test_a_deletion_deletes_compacts_measures_and_forgets(world: World) -> None:
    first, second = await backed_up(world)
    job = await world.db.run(lambda tx: request_delete(tx, first))
    await world.delete(job)
    assert (await world.job(job)).state == "succeeded"
    assert [archive.id for archive in await world.rows(Archive)] == [second.id]
    assert (await world.rows(Repository))[0].archive_count == 1
    assert world.storage.calls[-3:] == [f"delete {first.name}", "compact", "close"]
    assert "archive.deleted" in [row.subject for row in await world.rows(OutboxRow)]
    await world.delete(job)  # a second delivery finds no claim


async def test_absent_is_success_in_the_repository_and_in_the_records(world: World) -> None:
    first, _ = await backed_up(world)
    world.storage.kept.pop(first.name)
    job = await world.db.run(lambda tx: request_delete(tx, first))
    again = await world.db.run(lambda tx: request_delete(tx, first))
    await world.delete(job)
    await world.delete(again)
    assert (await world.job(job)).state == "succeeded"
    assert (await world.job(again)).result == {"absent": True}


@pytest.mark.parametrize("name", ["", "::", "{now}", "a/b"])
async def test_an_archive_with_an_empty_or_broken_name_is_deleted_by_its_id(world: World, name: str) -> None:
    first, _ = await backed_up(world)
    await world.db.run(lambda tx: tx.session.execute(update(Archive).where(Archive.id == first.id).values(name=name)))
    await world.delete(await world.db.run(lambda tx: request_delete(tx, first)))
    assert first.borg_id not in [archive.borg_id for archive in world.storage.kept.values()]


async def test_a_record_without_id_and_name_touches_nothing(world: World) -> None:
    first, _ = await backed_up(world)
    await world.db.run(
        lambda tx: tx.session.execute(update(Archive).where(Archive.id == first.id).values(name="", borg_id=None))
    )
    await world.delete(await world.db.run(lambda tx: request_delete(tx, first)))
    assert not any(call.startswith("delete") for call in world.storage.calls)


async def test_a_loss_that_is_not_ours_withholds_the_compaction(world: World) -> None:
    first, second = await backed_up(world)
    world.storage.kept.pop(second.name)
    job = await world.db.run(lambda tx: request_delete(tx, first))
    await world.delete(job)
    ended = await world.job(job)
    assert ended.state == "warning"
    assert "without our doing" in ended.warnings[0]
    assert "compact" not in world.storage.calls


async def test_a_held_archive_refuses_until_its_time_is_over(world: World) -> None:
    first, _ = await backed_up(world)
    await world.db.run(lambda tx: tx.session.execute(update(Archive).values(held_reason="audit")))
    with pytest.raises(AppError) as caught:
        await world.delete(await world.db.run(lambda tx: request_delete(tx, first)))
    assert caught.value.code == "archive_held"
    past = datetime.now(UTC) - timedelta(seconds=1)
    await world.db.run(lambda tx: tx.session.execute(update(Archive).values(held_until=past)))
    await world.delete(await world.db.run(lambda tx: request_delete(tx, first)))


async def test_an_outside_deletion_by_id(world: World) -> None:
    first, _ = await backed_up(world)
    for _ in range(2):
        ctx = Context(world.db, world.bus, key="d1", lease_seconds=1)
        await place_delete(ArchiveDelete(archive_id=first.id), ctx)
    assert len([job for job in await world.rows(Job) if job.type == "archive_delete"]) == 1
    for unknown in (None, new_id()):
        with pytest.raises(Permanent, match="no backup"):
            await place_delete(
                ArchiveDelete(archive_id=unknown), Context(world.db, world.bus, key="d2", lease_seconds=1)
            )
