"""Two set-ups at the same time, on real sshds, by two workers: no key is lost, no line stands twice, each says how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select

from services.setup.service import build
from shared.bus.memory import MemoryBus
from shared.config.settings import Settings
from shared.db.session import Database
from shared.db.stores.requests import request_setup
from shared.db.stores.secrets import FLEET_KEY, FLEET_PUBLIC_KEY, server_password
from shared.db.tables import BackupNode, Job, Server
from shared.events.streams import STREAMS
from shared.runtime.relay import Relay
from shared.runtime.service import Parts
from shared.runtime.worker import Worker
from shared.ssh.asyncssh import new_key_pair
from shared.telemetry.metrics import KernelMetrics
from shared.testing.sshd import free_port
from tests.harness.databases import open_database
from tests.harness.patience import WAIT
from tests.harness.user_sshd import PASSWORD, UID, USER, UserSshd

PRIVATE, PUBLIC = new_key_pair("fleet")
KEY = " ".join(PUBLIC.split()[:2])
# Whoever has looked writes only when the other has looked too, if nothing keeps them apart.
SLOW = {
    "grep": '/usr/bin/grep "$@"; status=$?; sleep 1.5; exit $status',
    "ssh-keygen": 'case " $* " in *" -t "*) sleep 1.5 ;; esac; exec /usr/bin/ssh-keygen "$@"',
    "mv": 'case " $* " in *known_hosts*) sleep 1.5 ;; esac; exec /bin/mv "$@"',
}
SLOW_SUDO = f"Defaults:{USER} !secure_path, !env_reset\n{USER} ALL=(root) NOPASSWD: ALL\n"


@pytest.fixture(params=["sqlite", "mariadb"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(request, tmp_path, request.param) as made:
        await made.run(prepared)
        yield made


async def prepared(tx: Any) -> None:
    for name, value in ((FLEET_KEY, PRIVATE), (FLEET_PUBLIC_KEY, PUBLIC)):
        await tx.secrets.put(name, value)
    tx.session.add(
        BackupNode(name="node1", endpoint_host="127.0.0.1", endpoint_port=free_port(), endpoint_user="u",
                   endpoint_host_key=" ".join(new_key_pair("node")[1].split()[:2]))
    )  # fmt: skip


class Machine(UserSshd):
    """A server of which each look at a key takes a while."""

    def __init__(self, directory: Path) -> None:
        tools = directory / "tools"
        super().__init__(directory, f"SetEnv PATH={tools}:/usr/sbin:/usr/bin:/sbin:/bin")
        self.prepare()
        tools.mkdir()
        for name, script in SLOW.items():
            (tools / name).write_text(f"#!/bin/sh\n{script}\n")
            (tools / name).chmod(0o755)
        (directory / "sudoers.d/bft").chmod(0o640)
        (directory / "sudoers.d/bft").write_text(SLOW_SUDO)
        (directory / "sudoers.d/bft").chmod(0o440)
        self.start()

    @property
    def key(self) -> Path:
        return self.root / ".ssh/borgfleet_ed25519"

    def public(self) -> str:
        """Return the public half of the key that lies there, made from its private half."""
        argv = ["ssh-keygen", "-y", "-P", "", "-f", str(self.key)]
        return " ".join(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()[:2])

    def assert_whole(self) -> None:
        """No line twice, no line lost, both halves of one key, nothing left over."""
        lines = self.keys.read_text().splitlines()
        assert lines.count(PUBLIC.strip()) == 1, lines
        assert sum(KEY in line for line in lines) == 1, lines
        assert self.key.with_suffix(".pub").read_text().split()[:2] == self.public().split()
        known = (self.root / ".ssh/borgfleet_known_hosts").read_text().splitlines()
        assert [line.split()[0] for line in known] == ["node1"]
        left = {file.name for file in (self.root / ".ssh").iterdir()}
        allowed = {"borgfleet_ed25519", "borgfleet_ed25519.pub", "borgfleet_known_hosts", "borgfleet_ed25519.unusable"}
        assert left <= allowed, left


@dataclass
class Yard:
    """Machines, and two workers that take set-ups at the same time."""

    db: Database
    machines: list[Machine]

    async def added(self, name: str, machine: Machine) -> Server:
        async def add(tx: Any) -> Server:
            server = Server(name=name, host=machine.address, port=machine.port, username=USER, facts={},
                            approved_fingerprint=machine.fingerprint())  # fmt: skip
            tx.session.add(server)
            await tx.session.flush()
            await tx.secrets.put(server_password(server.id), PASSWORD)
            return server

        return await self.db.run(add)

    async def set_up(self, *servers: Server) -> list[Job]:
        """Queue a set-up for each mention of a server, let two workers do them, return how each ended."""
        bus = MemoryBus()
        await bus.ensure_streams(STREAMS)
        ssh = {"connect_timeout": WAIT, "login_timeout": WAIT}
        parts = Parts(Settings.model_validate({"ssh": ssh}), self.db, bus, CollectorRegistry())
        metrics = KernelMetrics(parts.registry)
        jobs = [await self.db.run(lambda tx, server=server: request_setup(tx, server)) for server in servers]
        stopping = asyncio.Event()
        (route,) = build(parts).routes
        workers = [Worker(route, self.db, bus, parts.settings.worker, metrics) for _ in range(2)]
        tasks = [asyncio.create_task(one.run(stopping)) for one in (*workers, Relay(self.db, bus, metrics))]
        try:
            async with asyncio.timeout(5 * WAIT):
                while True:
                    async with self.db.read() as session:
                        rows = list(await session.scalars(select(Job).where(Job.id.in_([job.id for job in jobs]))))
                    if all(row.finished_at for row in rows):
                        return sorted(rows, key=lambda row: row.id)
                    await asyncio.sleep(0.1)
        finally:
            stopping.set()
            async with asyncio.timeout(WAIT):
                await asyncio.gather(*tasks)
            await bus.close()

    async def row(self, server: Server) -> Server:
        async with self.db.read() as session:
            return await session.get_one(Server, server.id)

    async def password(self, server: Server) -> str | None:
        return await self.db.run(lambda tx: tx.secrets.find(server_password(server.id)))


@pytest.fixture
async def yard(db: Database, open_directory: Path) -> AsyncIterator[Yard]:
    made = Yard(db, [])
    with contextlib.ExitStack() as stack:
        for number in range(2):
            made.machines.append(machine := Machine(open_directory / f"m{number}"))
            stack.callback(machine.stop)
        yield made


def nothing(_machine: Machine) -> None:
    pass


def a_line_without_its_end(machine: Machine) -> None:
    machine.keys.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHx other")
    os.chown(machine.keys, UID, UID)


def a_key_that_cannot_be_read(machine: Machine) -> None:
    machine.key.parent.mkdir()
    machine.key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nhalf of")
    machine.key.chmod(0o600)


BEFORE: dict[str, Callable[[Machine], None]] = {
    "nothing": nothing,
    "a line without its end": a_line_without_its_end,
    "a key that cannot be read": a_key_that_cannot_be_read,
}


@pytest.mark.parametrize("before", BEFORE)
async def test_one_server_that_is_set_up_twice_at_once_has_one_key_and_is_ready(yard: Yard, before: str) -> None:
    machine = yard.machines[0]
    BEFORE[before](machine)
    there = machine.keys.read_text() if machine.keys.exists() else ""
    server = await yard.added("web1", machine)
    jobs = await yard.set_up(server, server)
    # The storage endpoint does not listen, which is a warning.
    assert [job.state for job in jobs] == ["warning", "warning"], [(job.code, job.reason) for job in jobs]
    assert machine.keys.read_text().startswith(there)
    machine.assert_whole()
    found = await yard.row(server)
    assert (found.state, found.backup_key, found.state_reason) == ("ready", machine.public(), "")
    assert await yard.password(server) is None


async def test_one_machine_that_is_added_under_two_names_is_ready_under_one_and_says_so_of_the_other(
    yard: Yard,
) -> None:
    machine = yard.machines[0]
    servers = [await yard.added(name, machine) for name in ("web1", "web2")]
    jobs = {job.title: job for job in await yard.set_up(*servers)}
    machine.assert_whole()
    rows = {row.name: row for row in [await yard.row(server) for server in servers]}
    ready = [name for name, row in rows.items() if row.state == "ready"]
    assert len(ready) == 1, [(job.code, job.reason) for job in jobs.values()]
    (other,) = rows.keys() - set(ready)
    assert (jobs[ready[0]].state, rows[ready[0]].backup_key) == ("warning", machine.public())
    assert (jobs[other].state, jobs[other].code) == ("failed", "key_of_another_server")
    assert (rows[other].state, rows[other].backup_key) == ("failed", None)
    assert ready[0] in rows[other].state_reason
    assert await yard.password(rows[ready[0]]) is None
    assert await yard.password(rows[other]) == PASSWORD


async def test_two_machines_that_are_set_up_at_once_each_have_a_key_of_their_own(yard: Yard) -> None:
    servers = [await yard.added(f"web{number}", machine) for number, machine in enumerate(yard.machines)]
    jobs = await yard.set_up(*servers)
    assert [job.state for job in jobs] == ["warning", "warning"], [(job.code, job.reason) for job in jobs]
    for server, machine in zip(servers, yard.machines, strict=True):
        machine.assert_whole()
        found = await yard.row(server)
        assert (found.state, found.backup_key) == ("ready", machine.public())
    assert yard.machines[0].public() != yard.machines[1].public()


async def test_of_a_machine_and_its_clone_that_are_set_up_at_once_one_is_refused(yard: Yard) -> None:
    first, second = yard.machines
    for machine in yard.machines:
        machine.key.parent.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(first.key)], check=True)
    for suffix in ("", ".pub"):
        copy = Path(f"{second.key}{suffix}")
        copy.write_bytes(Path(f"{first.key}{suffix}").read_bytes())
        copy.chmod(0o600)
    servers = [await yard.added(f"web{number}", machine) for number, machine in enumerate(yard.machines)]
    jobs = await yard.set_up(*servers)
    assert sorted((job.state, job.code) for job in jobs) == [("failed", "key_of_another_server"), ("warning", None)]
    assert first.public() == second.public()
    rows = [await yard.row(server) for server in servers]
    assert sorted(row.state for row in rows) == ["failed", "ready"]
    assert sorted(row.backup_key or "" for row in rows) == ["", first.public()]
