"""What a client sends costs the gateway no memory: 200 MB are refused, with a token and without one."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.testing.sshd import free_port, wait_for_listener
from tests.harness.api_process import TOKEN
from tests.harness.patience import WAIT

MANY = 200 * 1024**2
BLOCK = bytes(256 * 1024)
MOST_MIB = 40


@dataclass
class Api:
    port: int
    pid: int

    def peak_mib(self) -> int:
        """The most memory the process ever held."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found
        return int(found[1]) // 1024

    def send(self, *headers: str, chunked: bool, size: int) -> tuple[int, dict[str, object], int]:
        """Send a body of zeros for as long as anybody takes it; return status, problem, and how much was taken."""
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        head = "\r\n".join(
            ("POST /api/servers HTTP/1.1", "Host: test", "Content-Type: application/json", length, *headers)
        )
        sent = 0
        with socket.create_connection(("127.0.0.1", self.port), timeout=WAIT) as connection:
            connection.sendall(head.encode() + b"\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                while sent < size:
                    connection.sendall(b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK) if chunked else BLOCK)
                    sent += len(BLOCK)
                connection.sendall(b"0\r\n\r\n" if chunked else b"")
            answer = b""
            with contextlib.suppress(ConnectionError):
                while block := connection.recv(65536):
                    answer += block
        assert answer, "closed without an answer"
        status = int(answer.split(b" ", 2)[1])
        assert b"application/problem+json" in answer
        return status, json.loads(answer.partition(b"\r\n\r\n")[2]), sent


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.harness.api_process", str(tmp_path), str(port)])
    try:
        wait_for_listener("127.0.0.1", port, WAIT)
        yield Api(port, process.pid)
    finally:
        process.terminate()
        process.wait(WAIT)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_costs_no_memory_and_is_refused_with_its_limit(api: Api, chunked: bool) -> None:
    _, _, sent = api.send(chunked=chunked, size=len(BLOCK))  # so that everything is loaded
    before = api.peak_mib()
    status, problem, sent = api.send(chunked=chunked, size=MANY)
    assert (status, problem["code"]) == (401, "unauthenticated")
    assert sent < MANY, "all was taken of a client without a token"
    status, problem, sent = api.send(f"Authorization: Bearer {TOKEN}", chunked=chunked, size=MANY)
    assert (status, problem["code"]) == (413, "body_too_large")
    assert problem["remedy"]
    assert sent < MANY
    assert api.peak_mib() - before < MOST_MIB


def test_many_slow_clients_keep_nobody_else_waiting(api: Api) -> None:
    head = f"POST /api/servers HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 100\r\n\r\n{{"
    slow = [socket.create_connection(("127.0.0.1", api.port), timeout=WAIT) for _ in range(50)]
    try:
        for one in slow:
            one.sendall(head.encode())
        began = time.monotonic()
        status, _, _ = api.send(f"Authorization: Bearer {TOKEN}", chunked=False, size=len(BLOCK))
        assert status in (400, 422)
        assert time.monotonic() - began < WAIT
    finally:
        for one in slow:
            one.close()
