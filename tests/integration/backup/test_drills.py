"""Restore tests on real repositories: what can be read proves something, and whatever cannot never does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from services.backup.drills.choose import sampled
from services.backup.drills.plan import load_test
from services.backup.handlers import drill_in
from services.backup.node.storage import NodeStorage
from services.backup.node.views import View
from services.backup.plan import load_repository
from services.backup.work import work_on
from shared.db.stores.requests import request_maintenance
from shared.db.tables import Archive, BackupJob, Job, RestoreProof, Server
from shared.domain.job import JobType
from shared.events.repository import RestoreTest
from shared.runtime.context import Abort, Context
from tests.harness.patience import WAIT
from tests.integration.backup.test_catalogue import catalogue, index
from tests.integration.backup.yard import NODES_BORG, Yard, files


class Drills:
    """Restore tests of one backup job's repository."""

    def __init__(self, yard: Yard, definition: BackupJob) -> None:
        self.yard, self.definition = yard, definition

    async def request(self, **asked: Any) -> Job:
        return await self.yard.db.run(
            lambda tx: request_maintenance(tx, JobType.RESTORE_TEST, self.definition.repository_id, **asked)
        )

    def start(self, job: Job, storage: Any = None) -> tuple[Context, asyncio.Task[None]]:
        ctx = Context(self.yard.db, self.yard.bus, key="k", lease_seconds=600)
        work = drill_in(self.yard.directory / "catalogue", self.yard.ssh)
        return ctx, asyncio.create_task(
            work_on(RestoreTest(job_id=job.id), ctx, work=work, storage=storage or self.yard.storage)
        )

    async def end(self, job: Job) -> Job:
        while (ended := await self.yard.job(job)).state == "queued":
            ctx, task = self.start(job)
            await self.yard.dispose(ctx, task, job)
        return ended

    async def run(self, state: str = "succeeded", **asked: Any) -> Job:
        job = await self.end(await self.request(**asked))
        assert job.state == state, f"{job.state} {job.code} {job.reason} {job.warnings}\n{await self.yard.log(job)}"
        return job

    async def proofs(self) -> list[RestoreProof]:
        async with self.yard.db.read() as session:
            return list(await session.scalars(select(RestoreProof).order_by(RestoreProof.ended_at)))


async def test_a_sample_of_a_sound_backup_is_a_proof(yard: Yard, tmp_path: Path) -> None:
    definition = await yard.backup_job(files(tmp_path / "src", 60, 1000))
    await yard.run(definition, "succeeded", "warning")
    drills = Drills(yard, definition)
    job = await drills.run()
    assert (job.result["proof"], job.result["files"], job.result["chosen"]) == ("good", 50, 50)
    assert job.result["source"] == {"compared": 50, "problem": "", "differing": []}
    (proof,) = await drills.proofs()
    assert (proof.state, proof.kind, proof.files, proof.bytes) == ("good", "sample", 50, 50_000)
    assert (proof.backup_job_id, proof.damaged, proof.unread) == (definition.id, 0, 0)


def segments(yard: Yard, definition: BackupJob) -> list[Path]:
    found = (yard.pool / "web1" / definition.name / "data").rglob("*")
    return sorted((one for one in found if one.is_file()), key=lambda one: int(one.name))


async def damage_of(yard: Yard, definition: BackupJob) -> list[str]:
    return [one.damage for one in await yard.archives(definition)]


def left(yard: Yard) -> list[Path]:
    views = yard.pool / ".borgfleet-views"
    return list(views.iterdir()) if views.is_dir() else []


async def test_a_flipped_byte_is_damage_that_names_its_file_and_reads_the_others(yard: Yard, tmp_path: Path) -> None:
    source = files(tmp_path / "src", 12, 200_000)
    definition = await yard.backup_job(source)
    await yard.run(definition, "succeeded", "warning")
    largest = max(segments(yard, definition), key=lambda one: one.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    drills = Drills(yard, definition)
    job = await drills.run("failed")
    assert (job.code, job.result["proof"], job.result["files"], job.result["unread"]) == (
        "archive_damaged", "damaged", 11, 0,
    )  # fmt: skip
    (name,) = job.result["damaged"]
    assert name.startswith(str(source).lstrip("/"))
    (proof,) = await drills.proofs()
    assert (proof.state, proof.damaged, proof.files, proof.chosen) == ("damaged", 1, 11, 12)
    assert name in (await damage_of(yard, definition))[0]
    whole = await drills.run("failed", kind="all")
    assert (whole.code, whole.result["proof"]) == ("archive_damaged", "damaged")
    sound = next(one for one in source.iterdir() if not name.endswith(one.name))
    named = await drills.run(kind="named", paths=[str(sound).lstrip("/")])
    assert (named.result["proof"], named.result["files"]) == ("good", 1)
    assert left(yard) == []


async def test_a_segment_that_is_gone_is_damage(yard: Yard, tmp_path: Path) -> None:
    definition = await yard.backup_job(files(tmp_path / "src", 5, 200_000))
    await yard.run(definition, "succeeded", "warning")
    max(segments(yard, definition), key=lambda one: one.stat().st_size).unlink()
    drills = Drills(yard, definition)
    for asked in ({}, {"kind": "all"}):
        job = await drills.run("failed", **asked)
        assert (job.code, (job.result or {}).get("proof")) == ("archive_damaged", "damaged"), (
            f"{job.reason} {await yard.log(job)}"
        )
    assert {one.state for one in await drills.proofs()} == {"damaged"}
    assert all(await damage_of(yard, definition))


async def test_zeros_that_a_repair_put_in_the_place_of_data_are_damage(yard: Yard, tmp_path: Path) -> None:
    source = files(tmp_path / "src", 4, 200_000)
    os.link(source / "f000", source / "f000-too")
    definition = await yard.backup_job(source)
    await yard.run(definition, "succeeded", "warning")
    place = await yard.db.run(lambda tx: load_repository(tx, definition.repository_id))
    largest = max(segments(yard, definition), key=lambda one: one.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    environment = os.environ | {
        "BORG_PASSPHRASE": place.passphrase, "BORG_BASE_DIR": str(tmp_path / "base"),
        "BORG_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
    }  # fmt: skip
    repaired = subprocess.run(
        [NODES_BORG, "check", "--repair", place.path], env=environment, capture_output=True, check=False
    )
    assert repaired.returncode in (0, 1), repaired.stderr
    (archive,) = await yard.archives(definition)
    done = subprocess.run(
        [NODES_BORG, "list", "--format={name} {id}{NL}", place.path],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    name, borg_id = done.stdout.split()
    found = update(Archive).where(Archive.id == archive.id).values(name=name, borg_id=borg_id)
    await yard.db.run(lambda tx: tx.session.execute(found))
    drills = Drills(yard, definition)
    for asked in ({}, {"kind": "all"}):
        job = await drills.run("failed", **asked)
        assert (job.code, job.result["proof"]) == ("archive_damaged", "damaged")
        assert len(job.result["damaged"]) in (1, 2)


async def test_a_file_that_was_changed_with_its_time_put_back_differs_and_proves_nothing(
    yard: Yard, tmp_path: Path
) -> None:
    source = files(tmp_path / "src", 6, 1000)
    definition = await yard.backup_job(source)
    await yard.run(definition, "succeeded", "warning")
    changed, later = source / "f001", source / "f002"
    times = changed.stat()
    changed.write_bytes(os.urandom(1000))
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
    later.write_bytes(os.urandom(1000))  # changed in honesty since
    (source / "f003").unlink()
    (source / "f003").symlink_to(source / "f004")
    drills = Drills(yard, definition)
    for kind in ("sample", "all"):
        job = await drills.run("warning", kind=kind)
        assert "another content" in job.warnings[0]
        assert job.result["source"]["differing"] == [str(changed).lstrip("/")]
        assert job.result["source"]["compared"] == 4
    assert {one.state for one in await drills.proofs()} == {"source_differs"}
    assert (await drills.run(compare_source=False)).result["proof"] == "good"


async def test_hostile_names_links_and_odd_entries_are_proven_as_they_are(backed_up: tuple[Yard, Archive]) -> None:
    yard, archive = backed_up
    definition = BackupJob(id=archive.backup_job_id, repository_id=archive.repository_id)
    drills = Drills(yard, definition)
    for kind in ("sample", "all"):
        job = await drills.run(kind=kind)
        assert job.result["proof"] == "good"
        assert job.result["chosen"] == job.result["files"] > 10
    inside = os.fsencode(yard.directory / "src" / "data").lstrip(b"/")
    names = [one.path for one in os.scandir(b"/" + inside) if one.is_file(follow_symlinks=False)]
    encoded = [base64.b64encode(one.lstrip(b"/")).decode() for one in names]
    job = await drills.run(kind="named", paths_b64=encoded)
    assert (job.result["proof"], job.result["chosen"]) == ("good", len(names))


async def test_what_is_not_there_is_missing_and_no_proof(yard: Yard, tmp_path: Path) -> None:
    source = files(tmp_path / "src", 2)
    definition = await yard.backup_job(source)
    await yard.run(definition, "succeeded", "warning")
    drills = Drills(yard, definition)
    there = str(source / "f000").lstrip("/")
    for paths, files_read in (([there, "srv/none"], 1), (["srv/none"], 0)):
        job = await drills.run("failed", kind="named", paths=paths)
        assert (job.code, job.result["files"], job.result["missing"]) == (
            "restore_test_failed",
            files_read,
            ["srv/none"],
        )
    small = await drills.run("failed", kind="all", max_bytes=10)
    assert small.code == "restore_test_too_large"


async def test_where_there_is_no_file_nothing_is_proven_and_it_is_said(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "src" / "empty").mkdir(parents=True)
    definition = await yard.backup_job(tmp_path / "src")
    drills = Drills(yard, definition)
    none = await drills.run("warning")
    await yard.run(definition, "succeeded", "warning", "failed")
    for kind in ("sample", "all"):
        job = await drills.run("warning", kind=kind)
        assert "no file that could be tested" in job.warnings[0]
    assert "no file that could be tested" in none.warnings[0]
    assert {one.state for one in await drills.proofs()} == {"nothing"}


async def test_with_a_catalogue_hashes_are_kept_and_a_content_that_changed_without_a_trace_is_told(
    yard: Yard, tmp_path: Path
) -> None:
    definition = await yard.backup_job(files(tmp_path / "src", 8, 1000))
    await yard.run(definition, "succeeded", "warning")
    await index(yard, definition)
    drills = Drills(yard, definition)
    first, second = await drills.run(), await drills.run(kind="all")
    assert (first.result["hashed"], second.result["hashed"], first.result["listed_by_borg"]) == (0, 8, 0)
    with contextlib.closing(sqlite3.connect(catalogue(yard, definition))) as connection, connection:
        connection.execute("UPDATE version SET sha256 = zeroblob(32) WHERE node = (SELECT max(node) FROM version)")
    job = await drills.run("failed")
    assert (job.code, job.result["files"], len(job.result["differing"])) == ("restore_test_failed", 7, 1)
    with contextlib.closing(sqlite3.connect(catalogue(yard, definition))) as connection, connection:
        connection.execute(
            "UPDATE version SET sha256 = NULL, size = size + 1 WHERE node = (SELECT max(node) FROM version)"
        )
    job = await drills.run("failed")
    assert (job.code, len(job.result["differing"])) == ("restore_test_failed", 1)
    catalogue(yard, definition).write_bytes(b"no database at all")
    assert (await drills.run()).result["listed_by_borg"] == 1


async def test_a_retry_tests_the_same_and_another_test_others(yard: Yard, tmp_path: Path) -> None:
    definition = await yard.backup_job(files(tmp_path / "src", 60, 10))
    await yard.run(definition, "succeeded", "warning")
    place = await yard.db.run(lambda tx: load_repository(tx, definition.repository_id))
    drills = Drills(yard, definition)
    seen: list[set[bytes]] = []
    for job in (await drills.request(files=20), await drills.request(files=20)):
        for _ in range(2):
            plan = await yard.db.run(lambda tx, of=job: load_test(tx, of, place))
            ctx = Context(yard.db, yard.bus, key="k", lease_seconds=600)
            async with yard.storage.open(place, 10**6) as grant:
                view = View(place, grant, linked=False)
                chosen = await sampled(plan, ctx, yard.storage, view, tmp_path / "none")
            seen.append({one.path for some in chosen.files.values() for one in some})
    assert seen[0] == seen[1]
    assert seen[2] == seen[3]
    assert seen[0] != seen[2]
    assert len(seen[0]) == 20


async def test_a_prune_and_a_backup_go_on_meanwhile_and_what_they_delete_is_no_loss(yard: Yard, tmp_path: Path) -> None:
    source = files(tmp_path / "src", 5, 1000)
    definition = await yard.backup_job(source)
    await yard.run(definition, "succeeded", "warning")
    (source / "new").write_bytes(b"x" * 1000)
    await yard.run(definition, "succeeded", "warning")
    drills = Drills(yard, definition)
    job = await drills.request()
    old, new = await yard.archives(definition)
    taken = Storage(yard.storage)
    ctx, task = drills.start(job, taken)
    await asyncio.wait_for(taken.viewed.wait(), WAIT)
    assert (await yard.delete(old)).state in ("succeeded", "warning")
    await yard.run(definition, "succeeded", "warning")
    taken.go.set()
    await yard.dispose(ctx, task, job)
    ended = await yard.job(job)
    assert (ended.state, ended.result["proof"]) == ("succeeded", "good"), await yard.log(job)
    assert new.name in ended.result["archives"]
    assert left(yard) == []


@pytest.mark.parametrize("reason", [Abort.CANCELLED, Abort.SHUTDOWN])
async def test_one_that_is_stopped_leaves_nothing(yard: Yard, tmp_path: Path, reason: Abort) -> None:
    definition = await yard.backup_job(files(tmp_path / "src", 5, 1000))
    await yard.run(definition, "succeeded", "warning")
    drills = Drills(yard, definition)
    job = await drills.request()
    taken = Storage(yard.storage)
    ctx, task = drills.start(job, taken)
    await asyncio.wait_for(taken.viewed.wait(), WAIT)
    yard.cancel(ctx, task, reason)
    await yard.dispose(ctx, task, job)
    ended = await yard.job(job)
    assert ended.state == ("cancelled" if reason is Abort.CANCELLED else "queued")
    assert left(yard) == []
    assert await drills.proofs() == []
    if ended.state == "queued":
        assert (await drills.end(job)).result["proof"] == "good"


async def test_a_server_that_cannot_be_asked_changes_nothing_of_what_is_proven(yard: Yard, tmp_path: Path) -> None:
    definition = await yard.backup_job(files(tmp_path / "src", 3))
    await yard.run(definition, "succeeded", "warning")
    away = update(Server).values(port=1)
    await yard.db.run(lambda tx: tx.session.execute(away))
    job = await Drills(yard, definition).run()
    assert (job.result["proof"], job.result["source"]["compared"]) == ("good", 0)
    assert job.result["source"]["problem"]


class Storage:
    """A node's storage that waits, once its view is there, until a test goes on."""

    def __init__(self, storage: NodeStorage) -> None:
        self._storage = storage
        self.viewed, self.go = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def take_view(self, *arguments: Any) -> int:
        return await self._storage.take_view(*arguments)

    async def count_chosen(self, *arguments: Any) -> Any:
        self.viewed.set()
        await self.go.wait()
        return await self._storage.count_chosen(*arguments)


async def test_what_a_server_with_borg_1_4_backed_up_is_proven_and_its_damage_found(yard: Yard, tmp_path: Path) -> None:
    """The servers of the other tests have 1.2."""
    yard.wrap_borg(f'exec {NODES_BORG} "$@"')
    source = files(tmp_path / "src", 6, 200_000)
    os.link(source / "f000", source / "g-too")
    os.utime(source / "f002", ns=(0, -1_500_000_001))
    definition = await yard.backup_job(source)
    await yard.run(definition, "succeeded", "warning")
    drills = Drills(yard, definition)
    sample, everything = await drills.run(), await drills.run(kind="all")
    assert (sample.result["proof"], sample.result["chosen"]) == ("good", 6)
    assert (everything.result["proof"], everything.result["chosen"]) == ("good", 7)  # with the other name
    other = await drills.run(kind="named", paths=[str(source / "g-too").lstrip("/")])
    assert (other.result["proof"], other.result["chosen"]) == ("good", 1)
    largest = max(segments(yard, definition), key=lambda one: one.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    job = await drills.run("failed")
    assert (job.code, job.result["files"], len(job.result["damaged"])) == ("archive_damaged", 5, 1)
