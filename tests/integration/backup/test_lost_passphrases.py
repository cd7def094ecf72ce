"""A restored database lacks the passphrase of a repository: nothing of it is touched, and the recovery kit gives it back."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from borgfleet import recovery
from borgfleet.kit_import import Taken, read_kit, take
from shared.db.stores.secrets import repository_key, repository_passphrase
from shared.db.tables import Archive, BackupJob, Repository
from tests.integration.backup.yard import NODES_BORG, Yard, files


class Lost:
    """A yard whose database can be put back to what it was, and the kit of before."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self.live = Path(str(yard.db.engine.url.database))
        self.copy = yard.directory / "database.backup"
        self.kit, self.contents = "", b""

    async def back_up(self) -> None:
        await asyncio.to_thread(_copied, self.live, self.copy)

    async def go_on(self, definition: BackupJob) -> None:
        """Make two backups and print the kit, as a careful person does."""
        for number in range(2):
            (self.source / f"night{number}").write_bytes(os.urandom(5000))
            await self.yard.run(definition, "succeeded")
        self.contents = b"".join(file.read_bytes() for file in sorted(self.source.iterdir()))
        self.kit = recovery.kit_as_text(await self.yard.db.run(recovery._read))

    async def restore(self) -> None:
        await asyncio.to_thread(_copied, self.copy, self.live)

    @property
    def source(self) -> Path:
        return self.yard.directory / "data"

    @property
    def place(self) -> Path:
        return self.yard.pool / "web1" / "job"

    def state(self) -> dict[str, str]:
        """Return what the repository holds, by file."""
        held = [file for file in self.place.rglob("*") if file.is_file() and not file.name.startswith("lock")]
        return {str(file.relative_to(self.place)): hashlib.sha256(file.read_bytes()).hexdigest() for file in held}

    async def take(self, kit: str = "") -> list[Taken]:
        return [await self.yard.db.run(lambda tx, one=one: take(tx, one)) for one in read_kit(kit or self.kit)]

    async def passphrase(self, definition: BackupJob) -> str | None:
        return await self.yard.db.run(lambda tx: tx.secrets.find(repository_passphrase(definition.repository_id)))

    def extracted(self, name: str) -> bytes:
        """Return what an archive holds, opened by the kit and plain borg."""
        (entry,) = read_kit(self.kit)
        target = self.yard.directory / f"out-{name[-12:]}"
        target.mkdir()
        environment = os.environ | {
            "BORG_PASSPHRASE": entry.passphrase,
            "BORG_BASE_DIR": str(self.yard.directory / "reader"),
        }
        argv = [NODES_BORG, "extract", f"{self.place}::{name}"]
        subprocess.run(argv, env=environment, cwd=target, check=True, capture_output=True)
        return b"".join(file.read_bytes() for file in sorted(target.rglob("*")) if file.is_file())

    async def assert_refused_and_untouched(self, definition: BackupJob) -> None:
        before = self.state()
        ended = await self.yard.run(definition, "failed")
        assert (ended.code, ended.attempt) == ("passphrase_wrong", 1), await self.yard.log(ended)
        assert "recovery-kit --import" in (ended.remedy or "")
        assert self.state() == before
        (entry,) = await self.yard.db.run(recovery._read)
        assert "does not open" in entry["problem"]  # a kit that is printed now says that it is worth nothing


def _copied(source: Path, target: Path) -> None:
    one, other = sqlite3.connect(source), sqlite3.connect(target)
    with one, other:
        one.backup(other)
    one.close()
    other.close()


@pytest.fixture
def lost(yard: Yard) -> Lost:
    files(yard.directory / "data", 5, 5000)
    return Lost(yard)


async def test_a_passphrase_made_since_the_backup_comes_back_from_the_kit_and_nothing_was_touched(lost: Lost) -> None:
    definition = await lost.yard.backup_job(lost.source)
    await lost.back_up()  # before the first run: the passphrase, the key and the archives came later
    await lost.go_on(definition)
    names = [archive.name for archive in await lost.yard.archives(definition)]
    right = await lost.passphrase(definition)
    await lost.restore()
    assert await lost.passphrase(definition) is None

    await lost.assert_refused_and_untouched(definition)
    await lost.assert_refused_and_untouched(definition)
    (taken,) = await lost.take()
    assert taken.done, taken
    assert right
    assert right not in taken.text
    assert await lost.passphrase(definition) == right
    ended = await lost.yard.run(definition, "succeeded", "warning")
    assert set(names) < {archive.name for archive in await lost.yard.archives(definition)}, ended.warnings
    assert lost.extracted(names[-1]) == lost.contents
    again = await lost.take()
    assert [one.text for one in again] == ["the database has this passphrase"]


async def test_a_repository_that_is_on_record_nowhere_is_not_made_anew_in_its_place(lost: Lost) -> None:
    await lost.back_up()
    await lost.go_on(await lost.yard.backup_job(lost.source))
    await lost.restore()
    before = lost.state()
    assert [(one.done, one.text[:13]) for one in await lost.take()] == [(False, "not on record")]
    definition = await lost.yard.backup_job(lost.source)  # as it was, by a person
    await lost.assert_refused_and_untouched(definition)
    assert lost.state() == before
    assert [one.done for one in await lost.take()] == [True]
    await lost.yard.run(definition, "succeeded", "warning")
    async with lost.yard.db.read() as session:
        assert not (await session.scalars(select(Repository.frozen_reason))).one()
        recorded = set(await session.scalars(select(Archive.name)))
    (entry,) = read_kit(lost.kit)
    listed = subprocess.run(
        [NODES_BORG, "list", "--short", str(lost.place)], check=True, capture_output=True, text=True,
        env=os.environ | {"BORG_PASSPHRASE": entry.passphrase, "BORG_BASE_DIR": str(lost.yard.directory / "reader")},
    ).stdout.split()  # fmt: skip
    assert len(listed) == 3
    assert recorded <= set(listed)
    assert lost.extracted(sorted(listed)[1]) == lost.contents


async def test_a_kit_taken_before_the_first_run_spares_the_refusal(lost: Lost) -> None:
    definition = await lost.yard.backup_job(lost.source)
    await lost.back_up()
    await lost.go_on(definition)
    await lost.restore()
    assert [one.text for one in await lost.take()] == ["taken from the kit; the recorded one was none"]
    await lost.yard.run(definition, "succeeded", "warning")


async def test_a_kit_never_replaces_a_passphrase_that_opens_the_repository(lost: Lost) -> None:
    definition = await lost.yard.backup_job(lost.source)
    await lost.go_on(definition)
    right = await lost.passphrase(definition)
    key = await lost.yard.db.run(lambda tx: tx.secrets.get(repository_key(definition.repository_id)))
    assert right
    wrong = lost.kit.replace(right, "of-another-repository")
    (taken,) = await lost.take(wrong)
    assert (taken.done, "does not open" in taken.text) == (False, True)
    without_key = "\n".join(line for line in wrong.splitlines() if not line.startswith("   "))

    async def forget(tx: Any) -> None:
        await tx.secrets.delete(repository_key(definition.repository_id))

    await lost.yard.db.run(forget)
    (taken,) = await lost.take(without_key)
    assert (taken.done, "no key that tells" in taken.text) == (False, True)
    assert await lost.passphrase(definition) == right
    await lost.yard.db.run(lambda tx: tx.secrets.put(repository_key(definition.repository_id), key))
    await lost.yard.run(definition, "succeeded")
