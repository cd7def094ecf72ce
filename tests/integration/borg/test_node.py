"""A node's own borg under its guard: nothing works on a repository without a current grant."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import psutil
import pytest

from shared.borg import commands
from shared.borg.node import BorgNode, Grant
from shared.domain.ids import new_id
from shared.errors import Permanent, Transient

BORG = str(Path(sys.executable).parent / "borg")


@pytest.fixture
def node(tmp_path: Path) -> BorgNode:
    return BorgNode(BORG, tmp_path / "state")


@pytest.fixture
async def grant(node: BorgNode, tmp_path: Path) -> Grant:
    made = Grant(new_id(), new_id(), str(tmp_path / "pool" / "web1" / "system"), 3)
    (tmp_path / "pool").mkdir()
    node.permit(made, 60)
    await node.run(made, commands.init(BORG, made.path, "repokey-blake2"), passphrase="canary-right")
    return made


def serving(grant: Grant) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] and p.info["cmdline"][-1] == grant.path]


async def test_with_a_current_grant_borg_works_and_its_passphrase_is_checked(node: BorgNode, grant: Grant) -> None:
    listing, _ = await node.run(grant, commands.list_archives(BORG, grant.path), passphrase="canary-right")
    assert json.loads(listing)["archives"] == []
    with pytest.raises(Permanent) as caught:
        await node.run(grant, commands.list_archives(BORG, grant.path), passphrase="canary-wrong")
    assert caught.value.code == "passphrase_wrong"


@pytest.mark.parametrize("how", ["revoked", "expired", "superseded"])
async def test_without_a_current_grant_borg_is_not_started(node: BorgNode, grant: Grant, how: str) -> None:
    if how == "revoked":
        node.revoke(grant)
        node.revoke(grant)  # twice is no harm
    elif how == "expired":
        node.permit(grant, -5)
    else:
        node.permit(Grant(grant.server_id, grant.repository_id, grant.path, grant.epoch + 1), 60)
    with pytest.raises(Transient) as caught:
        await node.run(grant, commands.list_archives(BORG, grant.path), passphrase="canary-right")
    assert caught.value.code == "lease_not_current"


async def test_borg_serve_ends_when_its_grant_passes_on(node: BorgNode, grant: Grant) -> None:
    forever = asyncio.Event()

    async def read(_n: int) -> bytes:
        await forever.wait()
        return b""

    async def write(_data: bytes) -> None:
        return

    task = asyncio.create_task(node.serve(grant, read, write))
    async with asyncio.timeout(10):
        while not serving(grant):
            await asyncio.sleep(0.05)
    node.permit(Grant(grant.server_id, grant.repository_id, grant.path, grant.epoch + 1), 60)
    await asyncio.wait_for(task, 15)
    assert serving(grant) == []


async def test_a_cancelled_command_is_gone_with_its_lock(node: BorgNode, grant: Grant) -> None:
    holding = [BORG, "with-lock", grant.path, "sleep", "600"]
    task = asyncio.create_task(node.run(grant, holding, passphrase="canary-right"))
    lock = Path(grant.path) / "lock.exclusive"
    async with asyncio.timeout(20):
        while not lock.exists():
            await asyncio.sleep(0.05)
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 20
    assert not [p for p in psutil.process_iter(["cmdline"]) if grant.path in (p.info["cmdline"] or [])]


def test_a_node_without_borg_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="no no-such-borg") as caught:
        BorgNode("no-such-borg", tmp_path)
    assert "1.4.5" in caught.value.remedy


def test_the_host_id_outlives_restarts(tmp_path: Path) -> None:
    first = BorgNode(BORG, tmp_path)
    assert BorgNode(BORG, tmp_path)._environment["BORG_HOST_ID"] == first._environment["BORG_HOST_ID"]
