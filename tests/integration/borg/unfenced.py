"""A node, a pool and a server that no fence holds back: real borg on both sides, the handlers, and a database.

Two backups are there when a test begins. They are made once in a process for each client and each database.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from services.backup.node.storage import NodeStorage
from services.backup.ports import Made
from services.backup.truth.tally import Tally
from shared.borg import output
from shared.borg.node import BorgNode, Grant
from shared.bus.memory import MemoryBus
from shared.db.session import Database
from shared.db.stores.secrets import repository_passphrase
from shared.db.tables import Archive, BackupJob, Job, Repository, StoragePool
from shared.domain.job import JobType
from shared.events.streams import STREAMS
from tests.harness.borg_client import DEBIAN, NODE, PASSPHRASE, Client, node
from tests.harness.borg_many import borg_many
from tests.harness.databases import open_database
from tests.harness.stage import Prepared, Stage
from tests.harness.untraced import tracing
from tests.unit.services.backup.fakes import FakeServer, FakeStorage
from tests.unit.services.backup.world import World

REWRITE = """
import sys
from borg.archiver import Archiver
from borg.helpers import Manifest, Location
from borg.logger import setup_logging
setup_logging()
from borg.repository import Repository
with Repository(sys.argv[1], exclusive=True, append_only=True) as repository:
    manifest, key = Manifest.load(repository, Manifest.NO_OPERATION_CHECK)
    exec(sys.argv[2])
    manifest.write()
    repository.commit(compact=False)
"""


class BorgServer(FakeServer):
    """A server with a borg of its own; what `attack` does happens in its run."""

    def __init__(self, borg: str, home: Path, directory: Path) -> None:
        super().__init__(FakeStorage())
        self.borg, self.home, self.directory = borg, home, directory
        self.attack: Callable[[Client], None] | None = None

    async def create(self, grant: Grant, archive: str, sources: Sequence[str], *_more: Any) -> Made:
        client = Client(self.borg, Path(grant.path), self.home)
        said = await asyncio.to_thread(client.run, "create", "--json", f"{{repo}}::{archive}", *sources)
        if self.attack:
            await asyncio.to_thread(self.attack, client)
        return Made(Tally(sources).ended(0), *output.parse_create(said))


class Fleet(World):
    """A node, a pool, a server; real borg on both sides."""

    storage: Any
    server: Any
    directory: Path
    place: Path
    prepared: Prepared

    def at(self, directory: Path, borg: str) -> Fleet:
        """Work in a directory, which may hold what was made there before; `borg` is the server's."""
        self.directory, self.place = directory, directory / "pool" / "web1" / "system"
        self.storage = NodeStorage(BorgNode(NODE, directory / "state"), 600)
        measured_scripts(self.storage)
        self.server = BorgServer(borg, directory / "client", directory / "source")
        return self

    async def run(self) -> Job:
        job = await self.request()
        await self.backup(job)
        return await self.job(job)

    async def repository(self) -> Repository:
        return (await self.rows(Repository))[0]

    async def codes(self) -> list[str]:
        return [one["code"] for one in (await self.repository()).frozen_for]

    async def recover(self) -> Job:
        return await self.maintain(JobType.REPOSITORY_RECOVER, reason="a test", by="me")

    async def verify(self) -> Job:
        return await self.maintain(JobType.REPOSITORY_VERIFY)

    def listed(self) -> set[str]:
        return set(node(self.place, self.directory / "reader", "list", "--short", "{repo}").split())

    async def assert_all_extract(self) -> None:
        """Every archive on record is listed, and gives the bytes that were backed up."""
        archives = [row.name for row in await self.rows(Archive)]
        targets = [self.directory / f"out-{name[-12:]}" for name in archives]
        for target in targets:
            target.mkdir(exist_ok=True)
        place = str(self.place)
        commands = [["list", "--short", place], *(["extract", f"{place}::{name}"] for name in archives),
                    ["check", "--verify-data", place]]  # fmt: skip
        answers = await asyncio.to_thread(
            borg_many, commands, self.directory / "reader", passphrase=PASSPHRASE, cwd=[None, *targets, None]
        )
        assert [status for status, _ in answers] == [0] * len(commands), answers
        assert set(archives) <= set(answers[0][1].split())
        for target in targets:
            for file in self.server.directory.iterdir():
                if (target / str(file).lstrip("/")).exists():
                    assert (target / str(file).lstrip("/")).read_bytes() == file.read_bytes()
            assert any(target.rglob("file0"))


@pytest.fixture(params=["sqlite"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(request, tmp_path, request.param) as made:
        yield made


ON_BOTH_DATABASES = pytest.mark.parametrize("db", ["sqlite", "mariadb"], indirect=True)


def measured_scripts(storage: NodeStorage) -> None:
    """Let the scripts run from where they are developed, so that what of them runs is measured."""
    node = storage._node
    for script in (
        "recover.py",
        "verify.py",
        "manifest_reader.py",
        "nonce_counter.py",
        "delete_meant.py",
        "list_whole.py",
        "left_out.py",
        "sealed.py",
    ):
        copy = node.state_dir / "fence" / script
        copy.unlink()
        copy.symlink_to(Path(__file__).parents[3] / "shared" / "borg" / script)
    node._environment |= tracing()


@pytest.fixture(params=[DEBIAN], ids=["1.2.4"])
async def fleet(request: pytest.FixtureRequest, db: Database, stage: Stage) -> AsyncIterator[Fleet]:
    """Two archives, of a client of the given version."""
    maria = None if db.engine.url.get_backend_name() == "sqlite" else request.getfixturevalue("maria")
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    prepared = Prepared(stage, db.engine.url, maria)

    async def two_archives() -> None:
        await _two_archives(Fleet(db, bus).at(stage.directory, request.param))

    await prepared.once(f"unfenced{request.param.replace('/', '-')}", two_archives)
    made = Fleet(db, bus).at(stage.directory, request.param)
    made.prepared = prepared
    (made.definition,) = await made.rows(BackupJob)
    yield made
    await bus.close()


async def _two_archives(fleet: Fleet) -> None:
    source, pool = fleet.server.directory, fleet.directory / "pool"
    source.mkdir()
    pool.mkdir()
    for number in range(12):
        (source / f"file{number}").write_bytes(os.urandom(40_000))
    await fleet.build(sources=[str(source)])

    async def settle(tx: Any) -> None:
        await tx.session.execute(StoragePool.__table__.update().values(path=str(pool)))
        await tx.session.execute(Repository.__table__.update().values(path=str(fleet.place)))
        await tx.secrets.put(repository_passphrase(fleet.definition.repository_id), PASSPHRASE)

    await fleet.db.run(settle)
    assert (await fleet.run()).state == "succeeded"
    (source / "later").write_bytes(os.urandom(40_000))
    assert (await fleet.run()).state == "succeeded"


def rewrite(repository: Path, home: Path, what: str) -> None:
    environment = Client(NODE, repository, home).environment()
    subprocess.run([sys.executable, "-c", REWRITE, str(repository), what], env=environment, check=True)
