"""The node's container: sshd ends after the service, or direct backups break off at each restart."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from borgfleet import endpoint
from shared.config.settings import Settings
from shared.errors import Permanent
from shared.testing.sshd import free_port
from tests.harness.patience import WAIT


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def closed(port: int) -> None:
    """Wait until nobody listens: what sshd has just begun for a connection holds its port until it has looked around."""
    async with asyncio.timeout(WAIT):
        while listens(port):
            await asyncio.sleep(0.05)


async def test_the_endpoint_outlives_the_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    port = free_port()
    backup = {"endpoint_port": 2222, "endpoint_listen_port": port}
    settings = Settings.model_validate({"data_dir": tmp_path, "backup": backup})
    key = tmp_path / "sshd/ssh_host_ed25519_key"
    seen: list[bool] = []

    async def service(given: Settings, names: list[str], **_watched: Any) -> None:
        async with asyncio.timeout(WAIT):
            while not listens(port):
                await asyncio.sleep(0.05)
        assert (given.backup.endpoint_port, names) == (2222, ["backup"])
        host_key = given.backup.endpoint_host_key_file
        assert host_key
        assert host_key.read_text().startswith("ssh-ed25519 ")
        seen.append(listens(port))  # the last thing that the service does

    monkeypatch.setattr(endpoint, "run", service)
    await endpoint.run_with_endpoint(settings, ["backup"])
    assert seen == [True]
    await closed(port)

    key.chmod(0o640)  # as a volume with an fsGroup has it the next time
    await endpoint.run_with_endpoint(settings, ["backup"])
    assert (seen, key.stat().st_mode & 0o777) == ([True, True], 0o600)


async def test_a_machine_without_sshd_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(endpoint, "plan_sshd", lambda *_given, **_named: None)
    with pytest.raises(Permanent) as refusal:
        await endpoint.run_with_endpoint(Settings(data_dir=tmp_path), ["backup"])
    assert refusal.value.code == "sshd_missing"
