"""`borgfleet recovery-kit export`: one file, whole or not there, for its owner alone, and no secret anywhere else."""

from __future__ import annotations

import asyncio
import errno
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from borgfleet.cli.app import app
from borgfleet.kit_files import read_kit_file
from borgfleet.master_key import first_database, open_database
from shared.config.settings import Settings
from shared.db.migrations import migrate
from shared.db.stores.secrets import repository_key, repository_passphrase
from shared.db.tables import AuditEntry, Repository, Secret, Server, StoragePool
from shared.kit.contents import Kit
from shared.kit.cover import Cover, kit_cover
from shared.kit.own import own_places
from tests.unit.shared.secrets.test_borg_key import KEYS, PASSPHRASE

IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENT = ("--recipient", str(IDENTITY.to_public()))
NAMES = ("one", "two")


class Installed:
    """A database with two repositories that were used and one that was not."""

    def __init__(self, directory: Path, made: Path | None = None) -> None:
        self.directory = directory
        self.identity = directory / "identity.txt"
        self.identity.write_text(f"{IDENTITY}\n")
        self.identity.chmod(0o600)
        self.output = directory / "out" / "kit.age"
        self.output.parent.mkdir()
        if made is not None:
            for name in ("borgfleet.db", "master.key"):
                shutil.copy(made / name, directory / name)
            return
        migrate(f"sqlite+aiosqlite:///{directory / 'borgfleet.db'}")
        self.do(self._add)

    def do(self, work: Any) -> Any:
        async def done() -> Any:
            db = await first_database(Settings(data_dir=self.directory))
            try:
                return await db.run(work)
            finally:
                await db.close()

        return asyncio.run(done())

    async def _add(self, tx: Any) -> None:
        pool, server = StoragePool(name="main", node="node1", path="/pool"), Server(name="web1", host="h", facts={})
        tx.session.add_all([pool, server])
        await tx.session.flush()
        for name, key in zip((*NAMES, "unused"), (*KEYS.values(), ""), strict=True):
            row = Repository(name=name, server_id=server.id, pool_id=pool.id, path=f"/pool/web1/{name}")
            tx.session.add(row)
            await tx.session.flush()
            if key:
                row.borg_id = key.split()[1]
                await tx.secrets.put(repository_passphrase(row.id), PASSPHRASE)
                await tx.secrets.put(repository_key(row.id), key)

    def export(self, *arguments: str) -> tuple[int, str]:
        argv = ["recovery-kit", "export", "--data-dir", str(self.directory), "-o", str(self.output), *arguments]
        done = CliRunner().invoke(app, argv)
        assert PASSPHRASE not in done.output
        assert self.master_key() not in done.output
        return done.exit_code, done.output

    def master_key(self) -> str:
        return (self.directory / "master.key").read_text()

    def read(self) -> Kit:
        return read_kit_file(self.output, self.identity)

    def left(self) -> list[str]:
        return sorted(file.name for file in self.output.parent.iterdir())

    def cover(self) -> Cover:
        cover: Cover = self.do(lambda tx: kit_cover(tx.session))
        return cover


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database, made once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BORGFLEET_CONFIG", raising=False)
        return Installed(tmp_path_factory.mktemp("made")).directory


@pytest.fixture
def installed(tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    monkeypatch.delenv("BORGFLEET_CONFIG", raising=False)
    return Installed(tmp_path, made)


def test_the_kit_is_whole_and_its_owners_alone(installed: Installed) -> None:
    assert (installed.cover().covered, installed.cover().repositories) == (0, 2)
    status, said = installed.export(*RECIPIENT)
    assert status == 0, said
    assert stat.S_IMODE(installed.output.stat().st_mode) == 0o600
    assert installed.left() == ["kit.age"]
    kit = installed.read()
    assert kit.master_key == installed.master_key()
    assert {(one.name, one.passphrase, one.key) for one in kit.repositories} == {
        (name, PASSPHRASE, key) for name, key in zip(NAMES, KEYS.values(), strict=True)
    }
    assert kit.problems == ()
    cover = installed.cover()
    assert (cover.covered, cover.repositories, cover.missing) == (2, 2, ())
    assert cover.exported_at is not None
    deeds = installed.do(lambda tx: tx.session.scalars(select(AuditEntry.action)))
    assert list(deeds).count("export_recovery_kit") == 1


@pytest.mark.parametrize("what", [repository_passphrase, repository_key])
def test_a_secret_that_is_another_one_since_is_in_no_kit(installed: Installed, what: Callable[[Any], str]) -> None:
    installed.export(*RECIPIENT)

    async def change(tx: Any) -> Any:
        row = await tx.session.scalar(select(Repository).where(Repository.name == "two"))
        await tx.secrets.put(what(row.id), "another")
        return row.id

    changed = installed.do(change)
    assert installed.cover().missing == (changed,)


def test_the_repository_of_borgfleet_itself_is_covered_as_all_others(installed: Installed) -> None:
    async def add(tx: Any) -> None:
        (own,) = await own_places(tx.session)
        await tx.secrets.put(repository_passphrase(own.id), PASSPHRASE)
        await tx.secrets.put(repository_key(own.id), KEYS["repokey"])

    installed.do(add)
    assert installed.cover().repositories == 3
    installed.export(*RECIPIENT)
    assert installed.cover().missing == ()
    (own,) = installed.read().own
    assert (own.path, own.borg_id, own.passphrase) == ("/pool/borgfleet/self", KEYS["repokey"].split()[1], PASSPHRASE)


def test_a_file_that_is_there_stays_unless_it_is_to_go(installed: Installed) -> None:
    installed.output.write_bytes(b"an older kit")
    assert installed.export(*RECIPIENT)[0] == 1
    assert installed.output.read_bytes() == b"an older kit"
    assert installed.cover().covered == 0
    assert installed.export(*RECIPIENT, "--overwrite")[0] == 0
    assert len(installed.read().repositories) == 2
    assert installed.left() == ["kit.age"]


def test_a_link_is_not_followed(installed: Installed, tmp_path: Path) -> None:
    installed.output.symlink_to(tmp_path / "elsewhere")
    assert installed.export(*RECIPIENT)[0] == 1
    assert installed.export(*RECIPIENT, "--overwrite")[0] == 0
    assert not (tmp_path / "elsewhere").exists()
    assert not installed.output.is_symlink()


class FullDisk:
    """The disk is full at the first or at the last moment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
        monkeypatch.setattr(f"borgfleet.kit_files.os.{where}", self._full)

    def _full(self, *_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("where", ["open", "fsync"])
def test_a_full_disk_leaves_nothing_and_nothing_counts_as_covered(
    installed: Installed, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.output.write_bytes(b"an older kit")
    with monkeypatch.context() as patch:
        FullDisk(patch, where)
        status, said = installed.export(*RECIPIENT, "--overwrite")
    assert (status, "No space left" in said) == (1, True)
    assert installed.left() == ["kit.age"]
    assert installed.output.read_bytes() == b"an older kit"
    assert installed.cover().covered == 0


def test_nothing_is_written_into_a_directory_that_is_not_there(installed: Installed, tmp_path: Path) -> None:
    installed.output = tmp_path / "nowhere" / "kit.age"
    status, said = installed.export(*RECIPIENT)
    assert (status, "cannot be written" in said) == (1, True)


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "no way to encrypt": ((), "say how the kit is encrypted"),
    "two ways": ((*RECIPIENT, "--plain"), "say how the kit is encrypted"),
    "a private key for a public one": (("--recipient", str(IDENTITY)), "no public key"),
    "no recipient": (("--recipient", ""), "no public key"),
    "a passphrase file that is not there": (("--passphrase-file", "/nowhere/p"), "no passphrase file"),
}


@pytest.mark.parametrize("which", WRONG)
def test_what_cannot_be_encrypted_is_not_written(installed: Installed, which: str) -> None:
    arguments, why = WRONG[which]
    status, said = installed.export(*arguments)
    assert status in (1, 2)
    assert why in said
    assert installed.left() == []
    assert installed.cover().covered == 0
    assert str(IDENTITY)[20:60] not in said


def test_a_passphrase_file_that_others_read_is_refused_and_another_one_is_taken(
    installed: Installed, tmp_path: Path
) -> None:
    words = tmp_path / "words"
    words.write_text("correct horse battery\n")
    words.chmod(0o644)
    assert installed.export("--passphrase-file", str(words))[0] == 1
    words.chmod(0o600)
    assert installed.export("--passphrase-file", str(words))[0] == 0
    assert len(read_kit_file(installed.output, passphrase_file=words).repositories) == 2


def test_a_kit_in_the_clear_is_warned_of(installed: Installed) -> None:
    status, said = installed.export("--plain")
    assert (status, "not encrypted" in said) == (0, True)
    assert len(read_kit_file(installed.output).repositories) == 2
    assert stat.S_IMODE(installed.output.stat().st_mode) == 0o600


def test_a_damaged_secret_is_told_and_keeps_no_other_out(installed: Installed) -> None:
    async def damage(tx: Any) -> None:
        row = await tx.session.scalar(select(Repository).where(Repository.name == "one"))
        name = repository_passphrase(row.id)
        await tx.session.execute(update(Secret).where(Secret.name == name).values(sealed=b"x"))

    installed.do(damage)
    status, said = installed.export(*RECIPIENT)
    assert (status, "PROBLEM  web1 - one" in said) == (1, True)
    kit = installed.read()
    assert {one.name: one.passphrase for one in kit.repositories} == {"one": "", "two": PASSPHRASE}
    assert (installed.cover().covered, len(installed.cover().missing)) == (1, 1)


def test_a_kit_that_grew_beyond_all_bounds_is_not_read(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    installed.export("--plain")
    monkeypatch.setattr("borgfleet.kit_files.LARGEST", 100)
    with pytest.raises(Exception, match="no whole recovery kit"):
        read_kit_file(installed.output)


def test_the_master_key_of_a_kit_opens_the_database(installed: Installed, tmp_path: Path) -> None:
    installed.export(*RECIPIENT)
    other = tmp_path / "other.key"
    other.write_text(installed.read().master_key)
    other.chmod(0o600)

    async def proven() -> None:
        db = open_database(Settings(data_dir=installed.directory, master_key_file=other))
        try:
            await db.run(lambda tx: tx.secrets.prove())
        finally:
            await db.close()

    asyncio.run(proven())
