"""One whole fleet for all end-to-end tests; each test works on repositories of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.fleet import Fleet
from tests.harness.mariadb import MariaServer

_started: list[Fleet] = []


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the fleet's services when other tests follow: idle, they take a fifth of a core from them."""
    if nextitem is not None and not nextitem.path.is_relative_to(Path(__file__).parent):
        for fleet in _started:
            fleet.rest()


@pytest.fixture(scope="session")
def running_fleet(scratch: Path) -> Iterator[Fleet]:
    maria = MariaServer(scratch / "fleet-maria").start()
    fleet = Fleet(scratch / "fleet", maria)
    _started.append(fleet)
    try:
        yield fleet.start()
        # All that was done, every service did as its own user of NATS, with its own rights.
        assert fleet.refused() == []
    finally:
        _started.remove(fleet)
        fleet.stop()
        maria.stop()


@pytest.fixture
def fleet(running_fleet: Fleet) -> Fleet:
    """The fleet, every service running and ready."""
    running_fleet.ensure_running()
    return running_fleet


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A few small files."""
    source = tmp_path / "data"
    (source / "deep" / "er").mkdir(parents=True)
    for number in range(20):
        (source / "deep" / f"file{number}").write_bytes(os.urandom(2000))
    (source / "deep" / "er" / "é ü.txt").write_text("ärger")
    return source


@pytest.fixture
def slow_data(tmp_path: Path) -> Path:
    """Data that takes 5 s and more at 1 MiB a second."""
    source = tmp_path / "slow"
    source.mkdir()
    for number in range(10):
        (source / f"block{number:02}").write_bytes(os.urandom(512 * 1024))
    return source


SLOWLY = {"upload_limit_kib": 1024, "compression": "none"}
