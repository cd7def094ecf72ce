"""The healthcheck of a container: a dead service must not look alive, nor a living one dead for its database."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from borgfleet import health
from shared.testing.sshd import free_port
from tests.harness.patience import WAIT


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        alive = self.path == "/livez"
        self.send_response(200 if alive else 503)
        self.end_headers()
        self.wfile.write(json.dumps({"status": "alive" if alive else "unready"}).encode())

    def log_message(self, *_told: object) -> None: ...


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(health, "_SECONDS", WAIT)
    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("arguments", "status", "said"), [([], 0, "alive"), (["--ready"], 1, "unready")])
def test_a_service_lives_though_it_is_not_ready(
    service: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str],
    status: int, said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("BORGFLEET_HEALTH__PORT", str(service))
    assert health.main(arguments) == status
    assert json.loads(capsys.readouterr().out) == {"status": said}


def test_the_port_comes_from_the_file_of_settings_too(
    service: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "b.toml").write_text(f"[health]\nport = {service}\n")
    monkeypatch.setenv("BORGFLEET_CONFIG", str(tmp_path / "b.toml"))
    assert health.main([]) == 0


@pytest.mark.parametrize("port", ["free", "none"])
def test_nobody_at_the_port_is_dead_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], port: str
) -> None:
    monkeypatch.setenv("BORGFLEET_HEALTH__PORT", port if port == "none" else str(free_port()))
    assert health.main([]) == 1
    assert "does not answer" in capsys.readouterr().err


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main(["--raedy"]) == 2
    assert "--raedy" in capsys.readouterr().err


def test_the_check_is_light() -> None:
    """It runs each ten seconds in each container: settings and command line would cost a second of processor time."""
    heavy = "[m for m in sys.modules if m.split(chr(46))[0] in ('pydantic', 'typer')]"
    program = f"import sys, borgfleet.__main__, borgfleet.health; print({heavy})"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told == "[]\n"
