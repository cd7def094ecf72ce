"""What the integration tests share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.borg.environment import on_node


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that other users reach; pytest closes its own to them whenever another run of it begins."""
    with tempfile.TemporaryDirectory(prefix="bft-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture(autouse=True)
def untried_ciphers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the node's borg its self-test: half of what a small command computes. End-to-end nodes have the real environment."""
    monkeypatch.setattr("shared.borg.node.on_node", lambda *where: on_node(*where) | {"BORG_SELFTEST": "disabled"})
