"""The statistics sweep against raw asyncssh, parallel OpenSSH and Ansible on the same servers, in turn."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncssh
import httpx2
import psutil
from sqlalchemy import func, insert, select

from borgfleet.bootstrap import open_database
from services.stats.collect.connection_pool import ConnectionPool
from services.stats.collect.probe import SshProbe
from services.stats.ports import Subject
from shared.config.settings import SshSettings
from shared.db.tables import Server, ServerRollup
from shared.ssh.asyncssh import AsyncSsh
from shared.ssh.port import Credentials, Target
from shared.testing.sshd import PrivateSshd, free_port, login_user
from tests.harness.fleet import Fleet
from tests.harness.mass_ssh import HANGING, LIVING, RECORDED, mass_ssh

PROBE = files("services.stats.collect").joinpath("probe.sh").read_text()
AT_ONCE = 64


def say(text: str = "") -> None:
    print(text, flush=True)


async def all_at(count: int, probe_one: Callable[[int], Awaitable[Any]]) -> float:
    """Look at each of so many servers, some at once; return servers a second."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with slots:
            await probe_one(number)

    started = time.monotonic()
    await asyncio.gather(*(one(number) for number in range(count)))
    return count / (time.monotonic() - started)


def raw(key: asyncssh.SSHKey, host_key: str, ports: list[int]) -> Callable[[int], Awaitable[None]]:
    trusted = asyncssh.import_public_key(host_key)

    async def probe_one(number: int) -> None:
        async with asyncssh.connect(
            "127.0.0.1", ports[number], username=login_user(), client_keys=[key], known_hosts=([trusted], [], []),
            config=None, agent_path=None,
        ) as connection:  # fmt: skip
            done = await connection.run("exec sh -s", input=PROBE)
            assert "@end" in str(done.stdout)

    return probe_one


def raw_kept(key: asyncssh.SSHKey, host_key: str, ports: list[int]) -> Callable[[int], Awaitable[None]]:
    """Open a connection at the first probe of a server, and use it again at the next."""
    trusted = asyncssh.import_public_key(host_key)
    opened: dict[int, asyncssh.SSHClientConnection] = {}

    async def probe_one(number: int) -> None:
        if number not in opened:
            opened[number] = await asyncssh.connect(
                "127.0.0.1", ports[number], username=login_user(), client_keys=[key], known_hosts=([trusted], [], []),
                config=None, agent_path=None,
            )  # fmt: skip
        done = await opened[number].run("exec sh -s", input=PROBE)
        assert "@end" in str(done.stdout)

    return probe_one


def product(key: str, host_key: str, ports: list[int]) -> tuple[ConnectionPool, Callable[[int], Awaitable[None]]]:
    settings = SshSettings(keepalive_interval=60)
    kept = ConnectionPool(AsyncSsh(settings), limit=1000, idle_seconds=900)
    probe = SshProbe(kept, seconds=20)
    subjects = [Subject(uuid.uuid4(), Target(f"s{port}", "127.0.0.1", port, login_user(), host_key)) for port in ports]

    async def probe_one(number: int) -> None:
        result = await probe.probe(subjects[number], Credentials(private_key=key))
        assert result.sample is not None, result.error

    return kept, probe_one


def openssh(directory: Path, key_file: Path, ports: list[int]) -> float:
    """Sixteen ssh processes at once."""
    (directory / "probe.sh").write_text(PROBE)
    command = (f"ssh -F none -n -i {key_file} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
               f"-o LogLevel=ERROR -o BatchMode=yes -p $1 {login_user()}@127.0.0.1 sh {directory / 'probe.sh'} >/dev/null")  # fmt: skip
    started = time.monotonic()
    subprocess.run(
        ["xargs", "-P", "16", "-n", "1", "sh", "-c", command, "-"],
        input="\n".join(map(str, ports)), text=True, check=True,
    )  # fmt: skip
    return len(ports) / (time.monotonic() - started)


def ansible(directory: Path, key_file: Path, public: str, count: int) -> float | None:
    """Ansible's `setup` with sixteen forks on one OpenSSH sshd under many names; it needs more than a bare exec."""
    server = PrivateSshd(directory / "sshd")
    server.start()
    server.authorize(public)
    try:
        return _ansible(directory, key_file, [server.port] * count)
    finally:
        server.stop()


def _ansible(directory: Path, key_file: Path, ports: list[int]) -> float | None:
    venv = directory / "ansible"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    install = subprocess.run([str(venv / "bin/pip"), "-q", "install", "ansible-core"], capture_output=True, check=False)
    if install.returncode != 0:
        return None
    hosts = [
        f"s{number} ansible_host=127.0.0.1 ansible_port={port} ansible_user={login_user()} "
        f"ansible_ssh_private_key_file={key_file} ansible_python_interpreter={sys.executable}"
        for number, port in enumerate(ports)
    ]
    (directory / "hosts").write_text("\n".join(hosts) + "\n")
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ControlMaster=no"
    started = time.monotonic()
    done = subprocess.run(
        [str(venv / "bin/ansible"), "-i", str(directory / "hosts"), "-f", "16", "all", "-m", "setup",
         f"--ssh-common-args={options}", "--scp-extra-args=-O"],
        capture_output=True, text=True, check=False, timeout=240,
        env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    took = time.monotonic() - started
    reached = done.stdout.count("| SUCCESS")
    if reached < len(ports):
        say(f"\n(Ansible reached {reached} of {len(ports)}: its rate is left out.)")
        return None
    return len(ports) / took


def rates(servers: int, rounds: int) -> None:
    """Compare the ways to probe many servers."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    private, public = key.export_private_key("openssh").decode(), key.export_public_key("openssh").decode().strip()
    found: dict[str, list[float]] = {}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bfs-")))
        key_file = directory / "key"
        key_file.write_text(private)
        key_file.chmod(0o600)
        shown = stack.enter_context(mass_ssh(directory / "mass", public, *[LIVING] * servers))
        ports, host_key = shown["ports"], shown["host_key"]
        for _ in range(rounds):
            found.setdefault("raw asyncssh, cold", []).append(asyncio.run(all_at(servers, raw(key, host_key, ports))))

            async def both() -> tuple[float, float, float]:
                kept, look = product(private, host_key, ports)
                before = psutil.Process().memory_info().rss
                cold = await all_at(servers, look)
                grown = (psutil.Process().memory_info().rss - before) / servers
                warm = await all_at(servers, look)
                stopping = asyncio.Event()
                stopping.set()
                await kept.tidy(stopping)
                return cold, warm, grown

            cold, warm, grown = asyncio.run(both())
            found.setdefault("Borgfleet, cold", []).append(cold)
            found.setdefault("Borgfleet, kept", []).append(warm)
            found.setdefault("memory", []).append(grown)
            found.setdefault("parallel OpenSSH", []).append(openssh(directory, key_file, ports))
        few = 20
        peer = ansible(directory, key_file, public, few)
    memory = found.pop("memory")
    ceiling = statistics.median(found["raw asyncssh, cold"])
    say(f"## Statistics sweep\n\n{servers} SSH servers in one process on the same two cores, each answering with the real "
        f"probe (which itself waits half a second between two readings), {AT_ONCE} at once, {rounds} rounds in turn.\n")  # fmt: skip
    say("| | servers a second | against raw asyncssh |\n|---|---|---|")
    for name, values in found.items():
        middle = statistics.median(values)
        say(f"| {name} | {middle:.1f} (worst {min(values):.1f}) | {middle / ceiling:.2f} x |")
    if peer is not None:
        say(f"| Ansible `setup`, {few} names of one OpenSSH sshd | {peer:.1f} | {peer / ceiling:.2f} x |")
    say(f"\nA kept connection costs {max(0.0, memory[0]) / 1024:.0f} KiB (first round).\n")


def kept_rates(servers: int, rounds: int) -> None:
    """Compare kept connections to servers that answer at once, with what was recorded: our own side is measured."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    private, public = key.export_private_key("openssh").decode(), key.export_public_key("openssh").decode().strip()

    async def twice(probe_one: Callable[[int], Awaitable[None]]) -> tuple[float, float]:
        return await all_at(servers, probe_one), await all_at(servers, probe_one)

    found: dict[str, list[tuple[float, float]]] = {"raw asyncssh": [], "Borgfleet": []}
    with (
        tempfile.TemporaryDirectory(prefix="bfs-") as directory,
        mass_ssh(Path(directory) / "mass", public, *[RECORDED] * servers) as shown,
    ):
        ports, host_key = shown["ports"], shown["host_key"]
        for _ in range(rounds):
            found["raw asyncssh"].append(asyncio.run(twice(raw_kept(key, host_key, ports))))
            found["Borgfleet"].append(asyncio.run(twice(product(private, host_key, ports)[1])))
    say(f"## Kept connections\n\n{servers} SSH servers in one process on the same two cores that answer at once, with a "
        f"recorded answer: what is left is asking and reading. {AT_ONCE} at once, {rounds} rounds in turn.\n")  # fmt: skip
    say("| | cold, servers a second | kept, servers a second | kept, against raw |\n|---|---|---|---|")
    ceiling = statistics.median(warm for _, warm in found["raw asyncssh"])
    for name, pairs in found.items():
        cold, warm = (statistics.median(values) for values in zip(*pairs, strict=True))
        say(f"| {name} | {cold:.0f} | {warm:.0f} | {warm / ceiling:.2f} x |")
    say()


def with_dead(fleet: Fleet, servers: int) -> None:
    """Sweep a fleet a tenth of which is dead: half of those refuse, half let us in and never answer."""
    hanging = servers // 20
    living = servers - 2 * hanging
    directory = fleet.directory / "mass"
    public = fleet.get("/api/fleet-key")["public_key"]
    with mass_ssh(directory, public, *[LIVING] * living, *[HANGING] * hanging) as shown:
        ports = shown["ports"] + [free_port() for _ in range(hanging)]

        async def add() -> None:
            db = open_database(fleet.settings())
            rows = [
                Server(name=f"m{n}", host="127.0.0.1", port=port, username=login_user(), host_key=shown["host_key"], facts={})
                for n, port in enumerate(ports)
            ]  # fmt: skip
            await db.run(lambda tx: _add_all(tx, rows))
            await db.close()

        asyncio.run(add())
        say(f"## A sweep of {servers} servers, a tenth of them dead\n\nThrough the whole product, from POST to the job's end; "
            "half of the dead refuse, half let us in and never answer.\n\n| sweep | seconds | result |\n|---|---|---|")  # fmt: skip
        for name in ("cold", "kept, the dead left alone"):
            started = time.monotonic()
            job = fleet.finished(fleet.post("/api/collect-stats", {}), "succeeded", seconds=300)
            say(f"| {name} | {time.monotonic() - started:.1f} | {job['result']} |")
        say()


async def _add_all(tx: Any, rows: list[Server]) -> None:
    tx.session.add_all(rows)


def year(fleet: Fleet, reads: int = 50) -> None:
    """Read a year of history back over HTTP."""
    server = fleet.host["id"]
    now = int(time.time()) // 3600 * 3600

    async def fill() -> None:
        db = open_database(fleet.settings())
        names = ("cpu", "memory", "swap", "disk", "load", "received", "sent")
        figures = {f"{name}_{kind}": 1.0 for name in names for kind in ("min", "mean", "max")}
        rows = [
            {"server_id": uuid.UUID(server), "step": 3600, "bucket": now - n * 3600, "samples": 6} | figures
            for n in range(1, 365 * 24)
        ]
        for begun in range(0, len(rows), 1000):
            await db.run(lambda tx, begun=begun: tx.session.execute(insert(ServerRollup), rows[begun : begun + 1000]))
        days = select(func.count()).select_from(ServerRollup).where(ServerRollup.step == 86_400)
        while (await db.run(lambda tx: tx.session.scalar(days)) or 0) < 364:
            await asyncio.sleep(1)  # the stats service rolls them up
        await db.close()

    asyncio.run(fill())
    begin = (datetime.now(UTC) - timedelta(days=365)).isoformat().replace("+00:00", "Z")
    times = []
    for _ in range(reads):
        started = time.monotonic()
        answer: httpx2.Response = fleet.http.get(f"/api/servers/{server}/stats?from={begin}")
        times.append((time.monotonic() - started) * 1000)
        assert len(answer.json()["points"]) >= 365
    times.sort()
    say(f"## A year of a server's history\n\n`GET /api/servers/{{id}}/stats` over a year that was {365 * 24} hourly rows, {reads} times: "
        f"p50 {statistics.median(times):.0f} ms, worst {times[-1]:.0f} ms.\n")  # fmt: skip
