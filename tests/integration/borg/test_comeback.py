"""`borgfleet recover` touches nothing where something is, takes no wrong kit, and may be begun again after any death."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from borgfleet.comeback import recover
from borgfleet.master_key import first_database, open_database
from shared.borg.vault import exported_key
from shared.config.settings import Settings
from shared.db.engines import DIRECT
from shared.db.migrations import migrate
from shared.db.revisions import known_revisions
from shared.db.tables import AuditEntry, Job, LoginSession, OutboxRow, Repository, Server, StoragePool, User, db_now
from shared.errors import AppError
from shared.kit.contents import Kit, KitRepository
from shared.kit.dump import dump
from shared.kit.packed import packed
from tests.harness.mariadb import MariaServer

BORG = str(Path(sys.executable).parent / "borg")
PASSPHRASE = "canary of its own"


class World:
    """A repository of Borgfleet's own backups, as a lost machine left it, and the kit."""

    def __init__(self, directory: Path, url: str = "") -> None:
        self.directory = directory
        self.repository = directory / "pool" / "borgfleet" / "self"
        self.staged = directory / "was" / "self-backup"
        self.staged.mkdir(parents=True)
        old = Settings.model_validate({"data_dir": directory / "was", "database": {"url": url}})
        migrate(old.database_url())
        asyncio.run(self._fill(old))
        asyncio.run(_dumped(old, self.staged))
        kind = "mariadb" if url else "sqlite"
        self.about = {
            "format": 1,
            "database": kind,
            "revisions": [known_revisions()[-1]],
            "made_at": "2026-11-26T03:00:00+00:00",
        }
        for name, content in (
            ("host-id", "borgfleet-x\n"),
            ("ssh_host_ed25519_key", "host key"),
            ("settings.json", "{}"),
        ):
            (self.staged / name).write_text(content)
        self.borg("init", "--encryption=repokey-blake2", "--make-parent-dirs", str(self.repository))
        self.archive("night-1")
        key = exported_key(str(self.repository)) or ""
        one = KitRepository("1", "borgfleet", "self", "node1", str(self.repository), key.split()[1], "repokey-blake2",
                            PASSPHRASE, key, own=True)  # fmt: skip
        self.kit = Kit("now", "0.1.0", (one,), (directory / "was" / "master.key").read_text(), {})

    def archive(self, name: str, **about: Any) -> None:
        (self.staged / "about.json").write_text(json.dumps(self.about | about))
        self.borg("create", f"{self.repository}::{name}", str(self.staged))

    def borg(self, *arguments: str) -> None:
        environment = {"BORG_PASSPHRASE": PASSPHRASE, "BORG_BASE_DIR": str(self.directory / "base"), "PATH": "/usr/bin:/bin",
                       "BORG_SELFTEST": "disabled", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}  # fmt: skip
        subprocess.run([BORG, *arguments], env=environment, check=True, capture_output=True)

    async def _fill(self, settings: Settings) -> None:
        db = await first_database(settings)

        async def add(tx: Any) -> None:
            pool, server = StoragePool(name="main", node="node1", path="/pool"), Server(name="web1", host="h", facts={})
            user = User(name="ada")
            tx.session.add_all([pool, server, user])
            await tx.session.flush()
            frozen = [{"code": "written_outside", "reason": "an older reason", "message": None}]
            tx.session.add_all([
                Repository(name="one", server_id=server.id, pool_id=pool.id, path="/pool/web1/one"),
                Repository(name="two", server_id=server.id, pool_id=pool.id, path="/pool/web1/two",
                           frozen_for=frozen, frozen_reason="an older reason", frozen_at=db_now()),
                *(Job(type="backup_create", state=state) for state in ("queued", "running", "succeeded")),
                LoginSession(digest="d", user_id=user.id, expires_at=db_now(3600)),
            ])  # fmt: skip

        try:
            await db.run(add)
        finally:
            await db.close()

    def settings(self, **values: Any) -> Settings:
        return Settings.model_validate({"data_dir": self.directory / "new"} | values)

    def recover(self, settings: Settings | None = None, archive: str = "", repository: Path | None = None) -> list[str]:
        said = list[str]()
        asyncio.run(
            recover(settings or self.settings(), self.kit, repository or self.repository, archive, BORG, said.append)
        )
        return said

    def refused(self, settings: Settings | None = None, **given: Any) -> AppError:
        with pytest.raises(AppError) as failed:
            self.recover(settings, **given)
        assert PASSPHRASE not in failed.value.message
        return failed.value


async def _dumped(settings: Settings, directory: Path) -> None:
    await dump(settings.database_url(), DIRECT, directory)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    """The same world with a new machine."""
    one = World.__new__(World)
    vars(one).update(vars(made))
    one.directory = tmp_path
    return one


def rows(settings: Settings) -> dict[str, Any]:
    async def read(tx: Any) -> dict[str, Any]:
        await tx.secrets.prove()
        jobs = {one.state: one for one in await tx.session.scalars(select(Job))}
        return {
            "jobs": sorted(one.state for one in await tx.session.scalars(select(Job))),
            "code": jobs["failed"].code,
            "sessions": len(list(await tx.session.scalars(select(LoginSession)))),
            "unsent": len(list(await tx.session.scalars(select(OutboxRow).where(OutboxRow.sent_at.is_(None))))),
            "frozen": {
                one.name: [cause["code"] for cause in one.frozen_for]
                for one in await tx.session.scalars(select(Repository))
            },
            "restored": {one.restored_pending for one in await tx.session.scalars(select(Repository))},
            "deeds": list(await tx.session.scalars(select(AuditEntry.action))),
        }

    async def done() -> dict[str, Any]:
        db = open_database(settings)
        try:
            return await db.run(read)
        finally:
            await db.close()

    return asyncio.run(done())


RECOVERED = {
    "jobs": ["failed", "failed", "succeeded"], "code": "lost_in_recovery", "sessions": 0, "unsent": 0,
    "frozen": {"one": ["database_recovered"], "two": ["written_outside", "database_recovered"]},
    "restored": {True}, "deeds": ["recover"],
}  # fmt: skip


def test_what_ran_is_lost_and_nothing_is_believed_of_the_repositories(world: World) -> None:
    settings = world.settings()
    world.recover()
    assert rows(settings) == RECOVERED
    assert sorted(file.name for file in settings.data_dir.iterdir()) == [
        "borgfleet.db", "master.key", "node", "settings.recovered.json", "sshd",
    ]  # fmt: skip
    assert (settings.data_dir / "master.key").stat().st_mode & 0o777 == 0o600
    assert (settings.state_dir / "host-id").read_text() == "borgfleet-x\n"


@pytest.mark.parametrize("where", ["recover_begun", "recover_loaded", "recover_placed"])
def test_one_that_was_killed_is_begun_again(world: World, where: str, tmp_path: Path) -> None:
    kit = tmp_path / "kit.tar"
    kit.write_bytes(packed(world.kit))
    argv = [str(Path(sys.executable).parent / "borgfleet"), "recover", "--kit", str(kit), "--repository", str(world.repository),
            "--data-dir", str(world.settings().data_dir)]  # fmt: skip

    killed = subprocess.run(argv, env=os.environ | {"BORGFLEET_CRASH_AT": where}, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not world.settings().master_key_path.exists()
    world.recover()
    assert rows(world.settings()) == RECOVERED
    assert not [file for file in world.settings().data_dir.iterdir() if "recover" in file.name and file.is_dir()]


def test_nothing_is_touched_where_something_is(world: World) -> None:
    data = world.settings().data_dir
    data.mkdir()
    for name in ("borgfleet.db", "master.key"):
        (data / name).write_text("of somebody else")
        assert world.refused().code == "recover_not_empty"
        assert {file.name: file.read_text() for file in data.iterdir()} == {name: "of somebody else"}
        (data / name).unlink()


def other_kit(world: World) -> None:
    world.kit = replace(world.kit, repositories=(replace(world.kit.repositories[0], borg_id="f" * 64),))


def no_own(world: World) -> None:
    world.kit = replace(world.kit, repositories=())


def other_passphrase(world: World) -> None:
    world.kit = replace(world.kit, repositories=(replace(world.kit.repositories[0], passphrase="x", key=""),))


def other_master_key(world: World) -> None:
    world.kit = replace(world.kit, master_key="A" * 43 + "=\n")


WRONG: dict[str, tuple[Callable[[World], None], str]] = {
    "of another installation": (other_kit, "recover_kit_other"),
    "from before the first one": (no_own, "recover_not_ours"),
    "an older master key": (other_master_key, "master_key_missing"),
}


@pytest.mark.parametrize("which", WRONG)
def test_a_wrong_kit_leaves_nothing_that_could_start(world: World, which: str) -> None:
    harm, code = WRONG[which]
    harm(world)
    assert world.refused().code == code
    assert not world.settings().master_key_path.exists()
    assert not (world.settings().data_dir / "borgfleet.db").exists()


def test_wrong_words_and_places_are_told(world: World, made: World) -> None:
    error = world.refused(archive="nothing")
    assert (error.code, "night-1" in error.message) == ("recover_no_archive", True)
    assert world.refused(repository=world.directory / "unmounted").code == "recover_no_repository"
    other = world.settings(database={"url": "mariadb+aiomysql://root@127.0.0.1:1/x"})
    assert world.refused(other).code == "database_busy"
    other_passphrase(world)
    assert world.refused().code
    assert not world.settings().master_key_path.exists()


def test_a_database_of_a_newer_version_or_another_kind_is_not_loaded(world: World, made: World) -> None:
    world.repository = world.directory / "copy"  # the others take the newest archive of theirs
    shutil.copytree(made.repository, world.repository)
    world.archive("newer", revisions=["9999"])
    assert world.refused(archive="newer").code == "schema_newer"
    world.archive("maria", database="mariadb")
    assert world.refused(archive="maria").code == "recover_not_ours"
    world.archive("later", format=2)
    assert world.refused(archive="later").code == "recover_not_ours"
    assert not world.settings().master_key_path.exists()
    world.recover(archive="night-1")
    assert rows(world.settings()) == RECOVERED


def test_the_repository_may_lie_elsewhere_and_lack_its_key(world: World, made: World) -> None:
    moved = world.directory / "stick" / "self"
    shutil.copytree(made.repository, moved)
    (moved / "config").unlink()
    world.recover(repository=moved, archive="night-1")
    assert rows(world.settings()) == RECOVERED
    assert not (moved / "config").exists()


def test_mariadb_comes_back_into_an_empty_database_alone(maria: MariaServer, tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    one = World(tmp_path / "world", maria.database())
    taken = one.settings(database={"url": maria.database()})
    maria.sql("CREATE TABLE precious (x INT)", taken.database_url().rpartition("/")[2])
    assert one.refused(taken).code == "recover_not_empty"
    empty = one.settings(database={"url": maria.database()})
    empty.data_dir.mkdir()
    begun = empty.data_dir / "master.key.recovering"
    begun.write_text("an earlier try")
    maria.sql("CREATE TABLE half_loaded (x INT)", empty.database_url().rpartition("/")[2])
    one.recover(empty)
    assert rows(empty) == RECOVERED
    assert "half_loaded" not in maria.sql("SHOW TABLES", empty.database_url().rpartition("/")[2])
    assert not begun.exists()
