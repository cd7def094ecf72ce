"""Borgfleet backs itself up: all but the master key, into a repository that is never made twice, and some are kept."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from services.backup.itself.keeper import SelfBackupKeeper
from services.backup.itself.make import Itself, back_up_itself
from shared.config.settings import SelfBackupSettings, Settings
from shared.db.revisions import known_revisions
from shared.db.stores.secrets import repository_key, repository_passphrase
from shared.db.tables import Job, Repository, StoragePool, db_now
from shared.domain.job import JobState
from shared.errors import AppError
from shared.events.itself import SelfBackup
from shared.kit.cover import kit_cover
from shared.kit.gather import repositories
from shared.kit.own import own_in
from shared.runtime.context import Context
from tests.integration.backup.yard import NODES_BORG, Yard


class Own:
    """A yard that backs itself up."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self.data = yard.directory
        url = yard.db.engine.url.render_as_string(hide_password=False)
        self.settings = Settings.model_validate({
            "data_dir": self.data, "database": {"url": url}, "backup": {"borg": NODES_BORG, "node": "node1"},
            "self_backup": {"keep": 2},
        })  # fmt: skip
        (self.data / "master.key").write_text("canary master key")
        (self.data / "sshd").mkdir()
        (self.data / "sshd" / "ssh_host_ed25519_key").write_text("host key")
        self.settings.state_dir.mkdir()
        (self.settings.state_dir / "host-id").write_text("borgfleet-x")
        self.itself = Itself(self.settings, yard.node, yard.storage)

    async def context(self) -> Context:
        return Context(self.yard.db, self.yard.bus, key=f"key {uuid.uuid4()}", lease_seconds=600)

    async def run(self) -> Job:
        """Ask from outside, and do what that made."""
        ctx = await self.context()
        await back_up_itself(SelfBackup(), ctx, itself=self.itself)
        async with self.yard.db.read() as session:
            job = (await session.scalars(select(Job).where(Job.state == JobState.QUEUED.value))).one()
        ctx = await self.context()
        try:
            await back_up_itself(SelfBackup(job_id=job.id), ctx, itself=self.itself)
        except AppError:
            await self.yard.db.run(partial(self._ended, ctx))
            raise
        finally:
            await ctx.close()
        async with self.yard.db.read() as session:
            return await session.get_one(Job, job.id)

    async def _ended(self, ctx: Context, tx: Any) -> None:
        await ctx.finish(tx, JobState.FAILED)

    async def opened(self) -> tuple[Path, str]:
        async def read(tx: Any) -> tuple[Path, str]:
            own = own_in((await tx.session.scalars(select(StoragePool))).one())
            return Path(own.path), await tx.secrets.get(repository_passphrase(own.id))

        found: tuple[Path, str] = await self.yard.db.run(read)
        return found

    async def borg(self, *arguments: str, cwd: Path | None = None) -> str:
        path, passphrase = await self.opened()
        environment = {"BORG_PASSPHRASE": passphrase, "BORG_BASE_DIR": str(self.data / "person"), "PATH": "/usr/bin:/bin",
                       "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}  # fmt: skip
        argv = [NODES_BORG, *(one.replace("REPO", str(path)) for one in arguments)]
        done = await asyncio.to_thread(
            subprocess.run, argv, env=environment, capture_output=True, text=True, cwd=cwd, check=True
        )
        return done.stdout


@pytest.fixture
async def own(yard: Yard) -> Own:
    return Own(yard)


async def test_all_is_in_it_but_the_master_key_and_few_are_kept(own: Own, tmp_path: Path) -> None:
    jobs = [await own.run() for _ in range(3)]
    assert [job.state for job in jobs] == ["succeeded"] * 3, [job.reason for job in jobs]
    assert [(job.result or {})["deleted"] for job in jobs] == [0, 0, 1]
    names = (await own.borg("list", "--short", "REPO")).split()
    assert names == [(job.result or {})["archive"] for job in jobs[1:]]
    target = tmp_path / "out"
    target.mkdir()
    await own.borg("extract", f"REPO::{names[-1]}", cwd=target)
    held = {file.name: file.read_bytes() for file in target.rglob("*") if file.is_file()}
    assert held.keys() == {"about.json", "borgfleet.db", "host-id", "settings.json", "ssh_host_ed25519_key"}
    assert not [name for name, content in held.items() if b"canary master key" in content]
    assert json.loads(held["about.json"])["revisions"] == [known_revisions()[-1]]
    assert not (own.settings.state_dir / "self-backup").exists()
    (entry,) = [one async for one in _kit(own)]
    assert (entry.own, entry.key.startswith("BORG_KEY ")) == (True, True)
    async with own.yard.db.read() as session:
        assert len((await kit_cover(session)).missing) == 1


async def _kit(own: Own) -> Any:
    found = await own.yard.db.run(_listed)
    for one in found:
        yield one


async def _listed(tx: Any) -> list[Any]:
    return [one async for one in repositories(tx)]


async def refused(own: Own) -> AppError:
    with pytest.raises(AppError) as failed:
        await own.run()
    assert not (own.settings.state_dir / "self-backup").exists()
    return failed.value


@pytest.mark.parametrize(
    ("harm", "lacks"),
    [
        (lambda room: (room / "borgfleet.db").unlink(), "borgfleet.db"),
        (lambda room: os.truncate(room / "borgfleet.db", 100), "borgfleet.db"),
        (lambda room: (room / "settings.json").unlink(), "settings.json"),
        (shutil.rmtree, "about.json"),
    ],
)
async def test_one_that_lacks_a_file_is_no_backup_and_nothing_older_goes(
    own: Own, monkeypatch: pytest.MonkeyPatch, harm: Any, lacks: str
) -> None:
    """Borg only warns of what went away under it, and such a run counted as good."""
    before = [(await own.run()).result for _ in range(2)]
    run = own.itself.node.run

    async def harmed(grant: Any, argv: Any, **options: Any) -> Any:
        if "create" not in argv:
            return await run(grant, argv, **options)
        room = Path(argv[-1])
        aside = room.with_name("aside")
        shutil.copytree(room, aside)
        harm(room)
        room.mkdir(exist_ok=True)
        done = await run(grant, argv, **options)
        shutil.rmtree(room)
        aside.rename(room)
        return done

    with monkeypatch.context() as patched:
        patched.setattr(own.itself.node, "run", harmed)
        error = await refused(own)
    assert (error.code, lacks in error.message) == ("own_incomplete", True), error.message
    names = (await own.borg("list", "--short", "REPO")).split()
    assert names == [(result or {})["archive"] for result in before], "nor may a recovery take it for the newest"
    assert (await own.run()).state == "succeeded"


async def test_one_that_was_made_once_is_never_made_again_and_no_other_is_taken_for_it(own: Own) -> None:
    assert (await own.run()).state == "succeeded"
    place, _ = await own.opened()
    place.rename(place.with_name("aside"))
    assert (await refused(own)).code == "repository_missing"
    assert not place.exists()
    subprocess.run([NODES_BORG, "init", "--encryption=none", str(place)], check=True, capture_output=True)
    assert (await refused(own)).code == "repository_replaced"
    shutil.rmtree(place)
    place.with_name("aside").rename(place)
    (own.yard.pool / ".borgfleet-pool").unlink()
    assert (await refused(own)).code == "pool_not_mounted"


async def test_a_key_that_was_changed_and_a_place_that_is_taken_are_refused(own: Own) -> None:
    assert (await own.run()).state == "succeeded"
    place, _ = await own.opened()

    async def other(tx: Any) -> None:
        pool = (await tx.session.scalars(select(StoragePool))).one()
        name = repository_key(own_in(pool).id)
        key = await tx.secrets.get(name)
        await tx.secrets.put(name, key.replace("\n", "\nAAAA", 1))

    await own.yard.db.run(other)
    assert (await refused(own)).code == "repository_key_changed"

    async def taken(tx: Any) -> None:
        tx.session.add(Repository(name="self", server_id=own.yard.server_id, pool_id=own.yard.pool_id, path=str(place)))

    await own.yard.db.run(taken)
    assert (await refused(own)).code == "place_taken"


async def test_it_is_asked_for_once_a_day_and_after_a_failure_sooner(own: Own) -> None:
    db = own.yard.db

    async def asked(node: str = "node1", **settings: Any) -> int:
        await SelfBackupKeeper(db, node, SelfBackupSettings(**settings)).ask()
        async with db.read() as session:
            return len(list(await session.scalars(select(Job.id))))

    async def ended(state: str, hours: float) -> None:
        values = {"state": state, "finished_at": db_now(-hours * 3600), "request_key": None}
        await db.run(lambda tx: tx.session.execute(update(Job).values(**values)))

    assert [await asked("node2"), await asked(every_hours=0), await asked(pool="nowhere")] == [0, 0, 0]
    assert [await asked(), await asked()] == [1, 1]
    for state, hours, due in (("succeeded", 23, False), ("failed", 0.5, False), ("succeeded", 25, True)):
        await ended(state, hours)
        before = 1
        assert await asked() == before + due, (state, hours)
    await ended("failed", 2)
    assert await asked() == 3


async def test_without_a_pool_an_outside_request_is_refused(own: Own) -> None:
    own.itself = Itself(
        own.settings.model_copy(update={"self_backup": SelfBackupSettings(pool="none")}),
        own.yard.node,
        own.yard.storage,
    )
    with pytest.raises(AppError) as failed:
        await back_up_itself(SelfBackup(), await own.context(), itself=own.itself)
    assert failed.value.code == "pool_unknown"
