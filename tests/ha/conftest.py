"""One fleet on a cluster for all tests of this directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.cluster import ClusterFleet
from tests.harness.mariadb import MariaServer


@pytest.fixture(scope="module")
def running_fleet(scratch: Path) -> Iterator[ClusterFleet]:
    maria = MariaServer(scratch / "ha-maria").start()
    fleet = ClusterFleet(scratch / "ha", maria)
    try:
        fleet.start()
        yield fleet
        assert fleet.refused() == []
    finally:
        fleet.stop()
        maria.stop()


@pytest.fixture
def fleet(running_fleet: ClusterFleet) -> ClusterFleet:
    """The fleet, every server and service running and ready."""
    running_fleet.ensure_running()
    running_fleet.whole()
    return running_fleet


@pytest.fixture
def data(tmp_path: Path) -> Path:
    source = tmp_path / "data"
    source.mkdir()
    for number in range(5):
        (source / f"file{number}").write_bytes(os.urandom(20_000))
    return source
