"""Many SSH servers in one process, a port each: `python -m tests.harness.mass_ssh DIRECTORY BEHAVIOUR...`.

Prints one line of JSON: the host key and the ports. Each login appends a byte to DIRECTORY/logins.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh

from tests.harness.patience import WAIT
from tests.harness.untraced import untraced

LIVING = "living"
RECORDED = "recorded"
"""Answers at once with what this machine said when it was asked first: what is measured then is not the servers."""
WAITING = "waiting"
"""Answers as RECORDED, but not while `answers_no_more`."""
HANGING = "hanging"
GARBLING = "garbling"
CLOSING = "closing"


@contextmanager
def mass_ssh(directory: Path, fleet_key: str, *behaviours: str) -> Iterator[dict[str, Any]]:
    """Start servers of these behaviours; yields {"host_key": ..., "ports": [...]}."""
    directory.mkdir()
    (directory / "authorized").write_text(fleet_key + "\n")
    argv = [sys.executable, "-m", "tests.harness.mass_ssh", str(directory), *behaviours]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=untraced(os.environ))
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(timeout=WAIT)
        process.stdout.close()


@contextmanager
def answers_no_more(directory: Path) -> Iterator[None]:
    """Let each server that is WAITING give no answer while the block lasts."""
    mark = directory / "waiting"
    mark.touch()
    try:
        yield
    finally:
        mark.unlink()


def logins(directory: Path) -> int:
    return (directory / "logins").stat().st_size


async def _serve(directory: Path, behaviours: list[str]) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    (directory / "logins").touch()
    ports = []
    for behaviour in behaviours:
        server = await asyncssh.create_server(
            lambda: _Server(directory), "127.0.0.1", 0, server_host_keys=[key], encoding=None,
            authorized_client_keys=str(directory / "authorized"), server_version="test",
            process_factory=_FACTORIES.get(behaviour) or partial(_waiting, directory / "waiting"),
        )  # fmt: skip
        ports.append(server.sockets[0].getsockname()[1])
    public = " ".join(key.export_public_key("openssh").decode().split()[:2])
    print(json.dumps({"host_key": public, "ports": ports}), flush=True)
    await asyncio.Event().wait()


class _Server(asyncssh.SSHServer):
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def auth_completed(self) -> None:
        with (self._directory / "logins").open("ab") as log:
            log.write(b".")


async def _living(process: asyncssh.SSHServerProcess[bytes]) -> None:
    stdout, stderr, status = await _run(process.command or "", await process.stdin.read())
    process.stdout.write(stdout)
    process.stderr.write(stderr)
    process.exit(status)


async def _run(command: str, given: bytes) -> tuple[bytes, bytes, int]:
    real = await asyncio.create_subprocess_shell(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"SSH_CONNECTION": "127.0.0.1 1 127.0.0.1 22"},
    )  # fmt: skip
    stdout, stderr = await real.communicate(given)
    return stdout, stderr, real.returncode or 0


_recordings: dict[tuple[str, bytes], asyncio.Task[tuple[bytes, bytes, int]]] = {}


_TOKEN = re.compile("borgfleet-begin-[0-9a-f]+|$")


async def _recorded(process: asyncssh.SSHServerProcess[bytes]) -> None:
    command = process.command or ""
    token = _TOKEN.search(command)[0]
    asked = command.replace(token, "token") if token else command, await process.stdin.read()
    if asked not in _recordings:
        _recordings[asked] = asyncio.create_task(_run(*asked))
    for stream, said in zip((process.stdout, process.stderr), (await _recordings[asked])[:2], strict=True):
        stream.write(said.replace(b"token", token.encode()) if token else said)
    process.exit(0)


async def _waiting(mark: Path, process: asyncssh.SSHServerProcess[bytes]) -> None:
    while mark.exists():
        await asyncio.sleep(0.1)
    await _recorded(process)


async def _hanging(_process: asyncssh.SSHServerProcess[bytes]) -> None:
    await asyncio.Event().wait()


async def _garbling(process: asyncssh.SSHServerProcess[bytes]) -> None:
    process.stdout.write(b"Last login: yesterday\n@cpu0\n\xff\xfe\x00nonsense" * 1000)
    process.exit(0)


async def _closing(process: asyncssh.SSHServerProcess[bytes]) -> None:
    process.stdout.write(b"\n@clock0\n17")
    process.channel.get_connection().abort()


_FACTORIES = {LIVING: _living, RECORDED: _recorded, HANGING: _hanging, GARBLING: _garbling, CLOSING: _closing}

if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2:]))
