"""`borgfleet wait` on a real database and a real bus: a service begins when `migrate` has ended, and not before."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command

from borgfleet.preparation import prepare
from borgfleet.wait import wait_until_prepared
from shared.config.settings import Settings
from shared.db.migrations import alembic_config
from shared.db.revisions import known_revisions
from shared.errors import Permanent, Transient
from shared.secrets.envelope import make_key_file
from shared.testing.sshd import free_port
from tests.harness.nats_server import NatsServer
from tests.harness.patience import WAIT
from tests.harness.untraced import untraced


@pytest.fixture
def bus(scratch: Path) -> Iterator[NatsServer]:
    server = NatsServer(scratch / f"nats-{free_port()}").start()
    yield server
    server.stop()


@pytest.fixture
def settings(tmp_path: Path, bus: NatsServer) -> Settings:
    given = Settings.model_validate({"data_dir": tmp_path, "nats": {"url": bus.url, "monitor_url": bus.monitor_url}})
    make_key_file(given.master_key_path)
    return given


def code_of(error: pytest.ExceptionInfo[Transient]) -> str:
    return error.value.code


async def test_a_service_begins_once_migrate_has_ended(settings: Settings) -> None:
    waiting = asyncio.create_task(wait_until_prepared(settings, 5 * WAIT))
    await asyncio.sleep(0)
    await prepare(settings)
    await waiting


async def test_nobody_begins_on_no_schema_on_an_older_one_or_without_streams(
    settings: Settings, bus: NatsServer
) -> None:
    with pytest.raises(Transient) as error:
        await wait_until_prepared(settings, 0)
    assert code_of(error) in {"schema_missing", "database_unavailable"}

    await asyncio.to_thread(command.upgrade, alembic_config(settings.database_url()), known_revisions()[-2])
    with pytest.raises(Transient) as error:
        await wait_until_prepared(settings, 0)
    assert code_of(error) == "schema_older"

    await prepare(settings)
    bus.stop()
    bus.wipe()
    bus.start()
    with pytest.raises(Transient, match="0 of 7 streams") as error:
        await wait_until_prepared(settings, 0)
    assert code_of(error) == "streams_missing"

    bus.stop()
    with pytest.raises(Transient) as error:
        await wait_until_prepared(settings, 0)
    assert code_of(error) == "bus_unreachable"


async def test_what_no_migrate_mends_is_not_waited_for(settings: Settings) -> None:
    await prepare(settings)
    settings.master_key_path.unlink()
    make_key_file(settings.master_key_path)
    with pytest.raises(Permanent) as error:
        await asyncio.wait_for(wait_until_prepared(settings, 100 * WAIT), WAIT)
    assert error.value.code == "master_key_missing"


def test_the_verb_ends_with_75_and_the_reason(settings: Settings, bus: NatsServer) -> None:
    variables = {"BORGFLEET_DATA_DIR": str(settings.data_dir), "BORGFLEET_NATS__URL": bus.url}
    argv = [str(Path(sys.executable).parent / "borgfleet"), "wait", "--seconds"]

    def call(seconds: str) -> subprocess.CompletedProcess[str]:
        environment = untraced(os.environ | variables)
        return subprocess.run([*argv, seconds], capture_output=True, text=True, check=False, env=environment)

    asyncio.run(prepare(settings))
    done = call("600")
    assert done.returncode == 0, done.stderr
    bus.stop()
    bus.wipe()
    bus.start()
    done = call("0")
    assert done.returncode == 75, done.stderr
    assert "0 of 7 streams" in done.stderr
    assert "borgfleet migrate" in done.stderr
