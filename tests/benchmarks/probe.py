"""What a probe of a server's sources costs: one command over a connection that is there, for 20 sources."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from services.backup.create.sources import SCRIPT, SECONDS, read_sources
from services.backup.truth.evidence import Kind
from shared.config.settings import SshSettings
from shared.ssh.asyncssh import AsyncSsh, new_key_pair
from shared.ssh.port import Credentials, Target
from shared.testing.sshd import PrivateSshd, login_user


def measure(say: Callable[[str], None], directory: Path, rounds: int, count: int = 20) -> None:
    """Look again and again, and in turn run a command that does nothing, which is the ceiling."""
    private, public = new_key_pair("probe")
    sources = [str(directory / f"source{number}") for number in range(count)]
    for source in sources:
        Path(source).mkdir()
        (Path(source) / "file").write_text("x")
    sshd = PrivateSshd(directory / "sshd")
    sshd.start()
    sshd.authorize(public)
    try:
        probes, ceiling = asyncio.run(_rounds(sshd, private, sources, rounds))
    finally:
        sshd.stop()
    say(f"| {count} sources, {rounds} rounds | p50 | worst |\n|---|---|---|")
    for name, seconds in (("a probe", probes), ("`true`", ceiling)):
        say(f"| {name} | {statistics.median(seconds) * 1000:.0f} ms | {max(seconds) * 1000:.0f} ms |")
    say("")


async def _rounds(sshd: PrivateSshd, private: str, sources: list[str], rounds: int) -> tuple[list[float], list[float]]:
    ssh = AsyncSsh(SshSettings())
    host_key = await ssh.host_key("127.0.0.1", sshd.port)
    target = Target("s", "127.0.0.1", sshd.port, login_user(), host_key)
    probes, ceiling = list[float](), list[float]()
    async with ssh.connect(target, Credentials(private_key=private)) as connection:
        for _ in range(rounds):
            began = time.perf_counter()
            done = await connection.run(SCRIPT, str(SECONDS), *sources)
            found = read_sources(sources, done.stdout)
            probes.append(time.perf_counter() - began)
            assert all(source.kind is Kind.DIRECTORY and source.empty is False for source in found)
            began = time.perf_counter()
            await connection.run("true")
            ceiling.append(time.perf_counter() - began)
    return probes, ceiling
