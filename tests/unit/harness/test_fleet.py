"""A fleet that idles takes a fifth of a core from the tests that follow: it rests, and starts again when it is asked."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.e2e import conftest
from tests.harness import fleet as harness
from tests.harness.fleet import Fleet, until

SERVICE = """
import pathlib, signal, sys, time
mine, number, of = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
def ends(*_):
    (mine / f"asked-{number}").touch()
    while len(list(mine.glob("asked-*"))) < of:  # it ends when all were asked to: one after the other would hang
        time.sleep(0.01)
    sys.exit(0)
signal.signal(signal.SIGTERM, ends)
(mine / f"up-{number}").touch()
while True:
    time.sleep(1)
"""
NAMES = ("api", "scheduler", "setup", "backup", "stats")


class Service:
    """Stands for one `borgfleet run <service>`: a process that takes its time to end."""

    count = itertools.count()

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.name, number = name, str(next(self.count))
        argv = [sys.executable, "-c", SERVICE, str(fleet.directory), number, str(len(NAMES))]
        self.process = subprocess.Popen(argv)
        self.up = fleet.directory / f"up-{number}"

    def wait_ready(self) -> Service:
        until(self.up.exists, f"{self.name} is up")
        return self


class Server:
    """Stands for MariaDB, nats-server or sshd: `process` is None when it does not run."""

    def __init__(self) -> None:
        self.process: object | None = object()

    def start(self) -> None:
        self.process = object()


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(harness, "ServiceProcess", Service)
    monkeypatch.setattr(harness, "wait_for_listener", lambda *_: None)
    made = Fleet.__new__(Fleet)
    made.directory, made.services, made.api_port = tmp_path, {}, 0
    made.maria, made.nats, made.server = (cast("Any", Server()) for _ in range(3))
    yield made
    for service in made.services.values():
        service.process.kill()
        service.process.wait()


def test_at_rest_every_service_was_asked_to_end_and_has_ended(fleet: Fleet) -> None:
    fleet.ensure_running()
    fleet.rest()
    assert [service.process.returncode for service in fleet.services.values()] == [0] * len(NAMES)
    fleet.rest()  # again, with nothing to end


def test_a_server_that_a_failed_test_left_dead_is_started_again(fleet: Fleet) -> None:
    running = fleet.maria.process
    fleet.nats.process = None
    fleet.ensure_running()
    assert fleet.nats.process
    assert fleet.maria.process is running


def test_whatever_does_not_run_is_started_and_nothing_twice(fleet: Fleet) -> None:
    fleet.ensure_running("api", "backup")
    before = dict(fleet.services)
    fleet.services["backup"].process.kill()
    fleet.services["backup"].process.wait()
    fleet.ensure_running()
    assert sorted(fleet.services) == sorted(NAMES)
    assert fleet.services["api"] is before["api"]
    assert fleet.services["backup"] is not before["backup"]
    assert all(service.process.poll() is None for service in fleet.services.values())


E2E = Path(conftest.__file__).parent


@pytest.mark.parametrize(
    ("following", "rests"),
    [(E2E / "test_setup.py", 0), (E2E.parent / "unit" / "test_a.py", 1), (E2E.parent / "e2e2" / "test_a.py", 1), (None, 0)],
)  # fmt: skip
def test_a_fleet_rests_when_tests_without_one_follow(
    monkeypatch: pytest.MonkeyPatch, following: Path | None, rests: int
) -> None:
    told: list[str] = []
    monkeypatch.setattr(conftest, "_started", [SimpleNamespace(rest=lambda: told.append("rests"))])
    item: Any = SimpleNamespace(path=E2E / "test_journey.py")
    conftest.pytest_runtest_teardown(item, following and SimpleNamespace(path=following))
    assert len(told) == rests
