"""Backup runs without a fleet: the real handler, sshd, borg of a server and of a node, and records on SQLite."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from shared.bus.memory import MemoryBus
from shared.db.migrations import migrate
from shared.db.session import Database
from shared.db.tables import Archive
from shared.events.streams import STREAMS
from shared.secrets.envelope import KeyRing
from shared.ssh.asyncssh import new_key_pair
from shared.testing.sshd import PrivateSshd
from tests.harness.patience import WAIT
from tests.harness.trees import make_tree
from tests.integration.backup.yard import SERVERS_BORG, Yard

PRIVATE, PUBLIC = new_key_pair("yard")


@pytest.fixture(autouse=True)
def patient_look_for_own_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """A place of which a slow machine does not say in time what it is would be backed up."""
    monkeypatch.setattr("services.backup.create.remote.OWN_SECONDS", int(WAIT))


@pytest.fixture(scope="session")
def yard_sshd(scratch: Path) -> Iterator[PrivateSshd]:
    # The tests' own borg stands before Debian's in PATH; a server has Debian's.
    (scratch / "yard-tools").mkdir()
    path = f"{scratch / 'yard-tools'}:{os.environ['PATH']}"
    server = PrivateSshd(scratch / "yard-sshd", environment={"PATH": path})
    server.start()
    server.authorize(PUBLIC)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def yard_schema(scratch: Path) -> Path:
    migrate(f"sqlite+aiosqlite:///{scratch / 'yard.db'}")
    return scratch / "yard.db"


@pytest.fixture
async def yard(yard_sshd: PrivateSshd, yard_schema: Path, tmp_path: Path) -> AsyncGenerator[Yard]:
    async with yard_at(tmp_path, yard_sshd, yard_schema) as made:
        yield made


@pytest.fixture(scope="module")
async def backed_up(
    yard_sshd: PrivateSshd, yard_schema: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[tuple[Yard, Archive]]:
    """One backup of that tree, for all tests of a file, and a copy of it: making it takes longer than restoring it."""
    if os.geteuid() != 0:
        pytest.skip("a restore is root's")
    async with yard_at(tmp_path_factory.mktemp("backed-up"), yard_sshd, yard_schema) as yard:
        definition = await yard.backup_job(make_tree(yard.directory / "src" / "data"))
        subprocess.run(["cp", "-a", yard.directory / "src", yard.directory / "pristine"], check=True)
        await yard.run(definition, "succeeded", "warning")
        yield yard, (await yard.archives(definition))[0]


@contextlib.asynccontextmanager
async def yard_at(tmp_path: Path, yard_sshd: PrivateSshd, yard_schema: Path) -> AsyncGenerator[Yard]:
    url = f"sqlite+aiosqlite:///{shutil.copy(yard_schema, tmp_path / 'yard.db')}"
    db = Database(url, key_ring=KeyRing([bytes(32)]))
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    tools = yard_sshd.directory.parent / "yard-tools"
    (tools / "borg").unlink(missing_ok=True)
    (tools / "borg").symlink_to(SERVERS_BORG)
    made = Yard(tmp_path, db, bus, yard_sshd, tools)
    await made.build(PRIVATE)
    yield made
    await bus.close()
    await db.close()
