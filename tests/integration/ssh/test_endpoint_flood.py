"""One hostile server opens connections to the storage endpoint and never logs in: the backups of all others go on."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from borgfleet.children import plan_sshd
from shared.testing.sshd import free_port, login_user
from tests.harness.patience import WAIT

FLOOD = 140
DEPLOYED = Path(__file__).parents[3] / "deploy" / "sshd" / "sshd_config"


def answered(connection: socket.socket) -> bool:
    """Tell whether sshd greets; one that refuses closes, and may say why."""
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(255).startswith(b"SSH-2.0-")
    return False


def connected(port: int, source: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), WAIT, source_address=(source, 0))


@contextlib.contextmanager
def serving(argv: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(ConnectionRefusedError), connected(port, "127.0.0.9") as probe:
                assert answered(probe)
                break
            assert process.poll() is None, "sshd did not start"
        yield
    finally:
        process.terminate()
        process.wait(WAIT)


def planned(directory: Path, port: int) -> list[str]:
    argv = plan_sshd(
        directory, listen="127.0.0.1", port=port, user=login_user(), authorized_keys=directory / "authorized_keys"
    )
    assert argv
    return list(argv)


def test_a_server_that_floods_the_endpoint_with_connections_shuts_nobody_else_out(tmp_path: Path) -> None:
    port = free_port()
    with serving(planned(tmp_path, port), port), contextlib.ExitStack() as held:
        flood = [held.enter_context(connected(port, "127.0.0.2")) for _ in range(FLOOD)]
        greeted = sum(answered(one) for one in flood)
        assert 50 <= greeted <= 100, f"{greeted} of {FLOOD} connections of one server were let in"
        honest = [held.enter_context(connected(port, f"127.0.0.{number}")) for number in range(3, 23)]
        assert all(answered(one) for one in honest)


def test_an_older_sshd_that_does_not_know_the_limit_serves_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    older = tools / "sshd"
    older.write_text(
        "#!/bin/sh\nfor file; do :; done\n"
        'if grep -q PerSource "$file"; then echo "Bad configuration option: PerSourceMaxStartups"; exit 255; fi\n'
        'exec /usr/sbin/sshd "$@"\n'
    )
    older.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    port = free_port()
    argv = planned(tmp_path, port)
    assert "PerSource" not in Path(argv[-1]).read_text()
    with serving(argv, port):
        pass  # it answers


def test_the_containers_endpoint_has_the_limit_too() -> None:
    assert "\nPerSourceMaxStartups 100\n" in DEPLOYED.read_text()
