"""A catalogue says what borg says, whatever the names hold, and a broken or half-written one is never believed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select, update

from services.backup.catalogue import indexer
from services.backup.catalogue.keeper import CatalogueKeeper
from services.backup.catalogue.store import file_of, indexed
from services.backup.handlers import index_in
from services.backup.plan import load_repository
from services.backup.work import work_on
from shared.borg.entries import Entry, EntryReader
from shared.db.stores.requests import request_maintenance
from shared.db.tables import Archive, BackupJob, Job
from shared.domain.job import JobType
from shared.errors import Transient
from shared.events.repository import ArchiveIndex
from shared.runtime.context import Context
from tests.harness.patience import WAIT
from tests.integration.backup.yard import Yard
from tests.unit.services.backup.test_catalogue import assert_nothing_dead

HOSTILE = [
    b"latin1-\xe9", b"new\nline", b"x" * 255, "größe".encode(), b"\xe2\x80\xaeright", b"back\\slash", rb"\x00\n", b"tab\t",
    b"-- {now} {{", b"*?[a]", b"re:x", b" ", b"\x1b[31mred",
]  # fmt: skip


def catalogue(yard: Yard, definition: BackupJob) -> Path:
    return file_of(yard.directory / "catalogue", definition.repository_id)


async def indexing(yard: Yard, definition: BackupJob, **asked: Any) -> tuple[Job, Context, asyncio.Task[None]]:
    job = await yard.db.run(
        lambda tx: request_maintenance(tx, JobType.ARCHIVE_INDEX, definition.repository_id, **asked)
    )
    ctx = Context(yard.db, yard.bus, key="k", lease_seconds=600)
    work = index_in(yard.directory / "catalogue")
    return job, ctx, asyncio.create_task(work_on(ArchiveIndex(job_id=job.id), ctx, work=work, storage=yard.storage))


async def index(yard: Yard, definition: BackupJob, *states: str, **asked: Any) -> dict[str, Any]:
    job, ctx, task = await indexing(yard, definition, **asked)
    await task
    await yard.db.run(ctx.release)
    ended = await yard.job(job)
    assert ended.state in (states or ("succeeded",)), f"{ended.state} {ended.code} {ended.warnings} {ended.reason}"
    return ended.result


async def borg_lists(yard: Yard, archive: Archive) -> dict[bytes, tuple[Any, ...]]:
    place = await yard.db.run(lambda tx: load_repository(tx, archive.repository_id))
    found: list[Entry] = []
    reader = EntryReader(found.append)
    async with yard.storage.open(place, 10**6) as grant:
        await yard.storage.entries(place, grant, archive.name, reader)
    reader.close()
    return {one.path: (one.type, one.mode, one.uid, one.size, one.mtime, one.ctime, one.link) for one in found}


def catalogue_lists(file: Path, archive: Archive) -> dict[bytes, tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        chain, seq = connection.execute(
            "SELECT chain, seq FROM archive WHERE borg_id = ?", (bytes.fromhex(archive.borg_id or ""),)
        ).fetchone()
        above = {node: (parent, name) for node, parent, name in connection.execute("SELECT id, parent, name FROM node")}

        def path(node: int) -> bytes:
            parent, name = above[node]
            return path(parent) + b"/" + name if parent else name

        query = (
            "SELECT node, type, mode, uid, size, mtime, ctime, link FROM version JOIN owner ON owner.id = owner "
            "WHERE chain = ? AND first <= ? AND last >= ?"
        )
        return {
            path(row[0]): (chr(row[1]), *row[2:7], row[7] or b"")
            for row in connection.execute(query, (chain, seq, seq))
        }


async def assert_complete(yard: Yard, *definitions: BackupJob) -> None:
    """Each archive is there as borg lists it, and nothing else."""
    file = catalogue(yard, definitions[0])
    archives = [archive for definition in definitions for archive in await yard.archives(definition)]
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        held = {row[0].hex() for row in connection.execute("SELECT borg_id FROM archive")}
        assert_nothing_dead(connection)
    assert held == {archive.borg_id for archive in archives}
    for archive in archives:
        assert catalogue_lists(file, archive) == await borg_lists(yard, archive)


def hostile_tree(source: Path) -> Path:
    deep = source / "deep" / "er"
    deep.mkdir(parents=True)
    for number, name in enumerate(HOSTILE):
        (deep if number % 2 else source).joinpath(os.fsdecode(name)).write_bytes(b"z" * number)
    os.link(source / os.fsdecode(HOSTILE[0]), deep / "another-name")
    (source / "link").symlink_to(os.fsdecode(b"to-\xe9"))
    os.mkfifo(source / "fifo")
    (source / "suid").write_text("s")
    (source / "suid").chmod(0o4755)
    return source


async def test_every_archive_is_listed_as_borg_does_after_backups_prunes_and_a_second_job(
    yard: Yard, tmp_path: Path
) -> None:
    source = hostile_tree(tmp_path / "source")
    definition = await yard.backup_job(source, retention={"keep_last": 2})
    other = await yard.backup_job(source / "deep", name="other", repository_id=definition.repository_id)
    await yard.run(definition, "succeeded", "warning")
    assert (await index(yard, definition))["archives"] == 1
    (source / "added").write_text("more")
    (source / os.fsdecode(HOSTILE[2])).unlink()
    await yard.run(definition, "succeeded", "warning")
    await yard.run(other, "succeeded", "warning")
    (source / "added").write_text("changed")
    await yard.run(definition, "succeeded", "warning")
    done = await index(yard, definition)
    assert (done["archives"], done["removed"]) == (3, 0)
    await assert_complete(yard, definition, other)
    assert (await yard.prune(definition)).state in ("succeeded", "warning")
    assert (await index(yard, definition))["removed"] == 1
    await assert_complete(yard, definition, other)
    assert catalogue(yard, definition).stat().st_mode & 0o777 == 0o600


async def test_a_catalogue_that_is_cut_lost_or_older_is_built_again_with_the_same_answers(
    yard: Yard, tmp_path: Path
) -> None:
    source = hostile_tree(tmp_path / "source")
    definition = await yard.backup_job(source)
    file = catalogue(yard, definition)
    await yard.run(definition, "succeeded", "warning")
    await index(yard, definition)
    older = file.read_bytes()
    (source / "added").write_text("more")
    await yard.run(definition, "succeeded", "warning")
    await index(yard, definition)

    def cut() -> None:
        os.truncate(file, file.stat().st_size // 2)

    def overwritten() -> None:
        file.write_bytes(b"no database at all" * 1000)

    def older_again() -> None:
        file.write_bytes(older)

    for harm in (cut, file.unlink, overwritten, older_again):
        harm()
        await index(yard, definition)
        await assert_complete(yard, definition)
    inode = file.stat().st_ino
    assert (await index(yard, definition, rebuild=True))["archives"] == 2
    await assert_complete(yard, definition)
    assert file.stat().st_ino != inode
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def children() -> list[psutil.Process]:
    all_of_them = psutil.process_iter(["ppid", "cmdline"])  # which passes over those that end meanwhile
    mine = [one for one in all_of_them if one.info["ppid"] == os.getpid()]
    return [one for one in mine if indexer.__name__ in " ".join(one.info["cmdline"] or [])]


async def test_a_merge_that_is_killed_leaves_what_was_there_and_the_next_job_goes_on(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = hostile_tree(tmp_path / "source")
    definition = await yard.backup_job(source)
    await yard.run(definition, "succeeded", "warning")
    await index(yard, definition)
    (source / "added").write_text("more")
    await yard.run(definition, "succeeded", "warning")
    entries = yard.storage.entries

    async def killed(*arguments: Any, **meant: Any) -> None:
        await entries(*arguments, **meant)
        (child,) = children()
        child.send_signal(signal.SIGKILL)
        child.wait(WAIT)

    monkeypatch.setattr(yard.storage, "entries", killed)
    _, ctx, task = await indexing(yard, definition)
    with pytest.raises(Transient) as caught:
        await task
    assert caught.value.code == "indexer_died"
    await yard.db.run(ctx.release)
    monkeypatch.undo()
    with contextlib.closing(sqlite3.connect(catalogue(yard, definition))) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM archive").fetchone() == (1,)
    assert (await index(yard, definition))["archives"] == 1
    await assert_complete(yard, definition)


async def test_a_listing_that_breaks_off_is_kept_in_no_part_and_no_child_stays(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = await yard.backup_job(hostile_tree(tmp_path / "source"))
    await yard.run(definition, "succeeded", "warning")
    entries = yard.storage.entries

    async def broken(*arguments: Any, **meant: Any) -> None:
        await entries(*arguments, **meant)
        raise Transient("the pool went away", code="pool_silent")

    monkeypatch.setattr(yard.storage, "entries", broken)
    _, ctx, task = await indexing(yard, definition)
    with pytest.raises(Transient, match="went away"):
        await task
    await yard.db.run(ctx.release)
    assert children() == []
    assert indexed(catalogue(yard, definition)) == set(), "wherever the child was, be it before its first table"
    monkeypatch.undo()
    assert (await index(yard, definition))["archives"] == 1
    await assert_complete(yard, definition)


async def test_a_listing_that_is_not_what_the_run_recorded_is_told_and_left_out(yard: Yard, tmp_path: Path) -> None:
    definition = await yard.backup_job(hostile_tree(tmp_path / "source"))
    await yard.run(definition, "succeeded", "warning")
    wrong = update(Archive).values(files=Archive.files + 1)
    await yard.db.run(lambda tx: tx.session.execute(wrong))
    job, ctx, task = await indexing(yard, definition)
    await task
    await yard.db.run(ctx.release)
    ended = await yard.job(job)
    assert (ended.state, ended.result["archives"]) == ("warning", 0)
    assert "was left out of the catalogue" in ended.warnings[0]


async def test_a_catalogue_that_is_behind_gets_one_job_and_one_that_is_not_gets_none(
    yard: Yard, tmp_path: Path
) -> None:
    definition = await yard.backup_job(hostile_tree(tmp_path / "source"))
    keeper = CatalogueKeeper(yard.db, "node1", yard.directory / "catalogue", 60)

    async def asked() -> list[str]:
        await keeper.ask()
        query = select(Job.state).where(Job.type == JobType.ARCHIVE_INDEX.value).order_by(Job.created_at)
        async with yard.db.read() as session:
            return list(await session.scalars(query))

    assert await asked() == [], "there is nothing to index yet"
    await yard.run(definition, "succeeded", "warning")
    assert await asked() == ["queued"]
    assert await asked() == ["queued"], "two jobs would read the same archives twice"
    async with yard.db.read() as session:
        job = (await session.scalars(select(Job).where(Job.type == JobType.ARCHIVE_INDEX.value))).one()
    ctx = Context(yard.db, yard.bus, key="k", lease_seconds=600)
    work = index_in(yard.directory / "catalogue")
    await work_on(ArchiveIndex(job_id=job.id), ctx, work=work, storage=yard.storage)
    assert await asked() == ["succeeded"]
    catalogue(yard, definition).unlink()
    assert await asked() == ["succeeded", "queued"], "a lost catalogue is built again"
    stranger = file_of(yard.directory / "catalogue", yard.server_id)
    stranger.write_bytes(b"")
    await asked()
    assert not stranger.exists(), "names of files stayed of a repository that was forgotten"
