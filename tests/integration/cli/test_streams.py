"""The command line on outputs that are closed, full, narrow or not read, and with texts that look like styles and emoji."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from borgfleet.cli.app import app
from borgfleet.cli.client import Client
from tests.harness import hostile
from tests.harness.patience import WAIT

LETTERS = ":x:b:o :warning: [red]x[/] [/] \\[z]"
SERVER: dict[str, Any] = {
    "id": "1", "name": LETTERS, "host": "fd00:x:b:o::1", "port": 22, "username": "root", "state": "ready", "tags": [":x:"],
    "state_reason": "/srv/:warning:/é 🙂 \x1b[31m", "last_seen_at": "9999-12-31T23:59:59-14:00", "status": None,
}  # fmt: skip
JOB: dict[str, Any] = {
    "id": "j", "type": "t", "title": LETTERS, "state": "running", "progress": None, "waiting_for": None, "warnings": [LETTERS],
    "reason": LETTERS, "remedy": LETTERS, "result": {}, "code": None, "created_at": "2026-01-01T00:00:00Z",
}  # fmt: skip


class Api:
    """Answers like the API, for a process of its own."""

    def __init__(self) -> None:
        self.asked = Event()
        self.answers = iter([JOB])
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = {"items": [SERVER] * 500, "next": None}
                body = json.dumps(JOB if "/jobs/" in self.path else page).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                outer.asked.set()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever)
        self.thread.start()


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    yield made
    made.server.shutdown()
    made.thread.join()
    made.server.server_close()


def process(api: Api, *shell: str, **variables: str) -> subprocess.Popen[str]:
    """Start `sh -c` with the command line as "$@"."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": "/nonexistent", "BORGFLEET_TOKEN": "bf_x",
        "BORGFLEET_URL": f"http://127.0.0.1:{api.server.server_port}",
    }  # fmt: skip
    return subprocess.Popen(
        ["bash", "-c", shell[0], "sh", sys.executable, "-m", "borgfleet", *shell[1:]],
        env=environment | variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


LIST = ("server", "list")
STREAMS: dict[str, tuple[str, tuple[str, ...], int]] = {
    "standard output is closed": ('exec "$@" >&-', LIST, 0),
    "standard error is closed": ('exec "$@" 2>&-', ("server", "nonsense"), 2),
    "all three are closed": ('exec "$@" <&- >&- 2>&-', LIST, 0),
    "standard input is closed": ('exec "$@" <&-', ("task", "show", "j"), 0),
    "the disk behind standard output is full": ('exec "$@" >/dev/full', LIST, 1),
    "both are full": ('exec "$@" >/dev/full 2>/dev/full', LIST, 1),
    "nobody reads on": ('"$@" | true; exit ${PIPESTATUS[0]}', LIST, 141),
    "nobody reads the JSON": ('"$@" | true; exit ${PIPESTATUS[0]}', (*LIST, "--json"), 141),
    "an argument is missing, and nothing can be asked": ('exec "$@" <&-', ("task", "watch"), 2),
}


@pytest.mark.parametrize("name", STREAMS)
def test_no_stream_is_a_reason_for_a_traceback(api: Api, name: str) -> None:
    shell, arguments, status = STREAMS[name]
    done = process(api, shell, *arguments)
    out, err = done.communicate(timeout=WAIT)
    assert "Traceback" not in out + err, err
    assert "Exception ignored" not in err, err
    assert done.returncode == status, (out[:500], err)


def test_an_interrupt_ends_a_task_that_is_watched_with_its_status_and_without_a_traceback(api: Api) -> None:
    running = process(api, 'exec "$@"', "task", "watch", "j")
    assert api.asked.wait(WAIT)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=WAIT)
    assert "Traceback" not in out + err, err
    assert running.returncode == 130


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "iso8859-15", "utf-8"])
def test_json_is_json_whatever_the_terminal_can_show(api: Api, encoding: str) -> None:
    done = process(api, 'exec "$@"', *LIST, "--json", PYTHONIOENCODING=encoding, LC_ALL="C", PYTHONUTF8="0")
    out, err = done.communicate(timeout=WAIT)
    assert json.loads(out)[0] == SERVER, err


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the API answers next."""
    given: dict[str, Any] = {}

    def answered(client: Client) -> None:
        def reply(_request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(200, content=json.dumps(given["body"]).encode())

        client._http = httpx2.Client(base_url="http://test", transport=httpx2.MockTransport(reply))

    monkeypatch.setattr(Client, "__init__", answered)
    return given


@pytest.mark.parametrize("arguments", [LIST, ("server", "show", "1"), (*LIST, "--json")])
def test_an_address_and_a_path_are_shown_letter_by_letter(answer: dict[str, Any], arguments: tuple[str, ...]) -> None:
    answer["body"] = {"items": [SERVER], "next": None}
    shown = CliRunner().invoke(app, arguments).output
    if "--json" in arguments:
        assert json.loads(shown) == [SERVER]
        return
    for letters in (LETTERS, SERVER["host"], "/srv/:warning:/é 🙂 \\x1b[31m"):
        assert letters in " ".join(shown.split()), shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("state", ["succeeded", "warning", "failed", "cancelled"])
def test_the_end_of_a_task_is_shown_letter_by_letter(answer: dict[str, Any], state: str) -> None:
    answer["body"] = JOB | {"state": state}
    shown = CliRunner().invoke(app, ["task", "watch", "j"]).output
    assert shown.count(LETTERS) == (4 if state == "failed" else 3), shown


PROGRESS: tuple[Any, ...] = (
    [1], "x", 1, True, {"phase": 1}, {"steps": "x", "step": []}, {"steps": 3, "step": None}, {"rate": {}, "files": "many"},
    {"estimated_size": -1, "original_size": 10**400}, {"phase": LETTERS, "files": 1.5, "steps": 0}, {"phase": "x" * 100_000},
)  # fmt: skip


@pytest.mark.parametrize("progress", PROGRESS, ids=hostile.short)
def test_a_task_is_followed_whatever_its_progress_is(
    answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch, progress: Any
) -> None:
    answer["body"] = JOB | {"progress": progress}
    monkeypatch.setattr("time.sleep", lambda _: answer["body"].update(state="succeeded"))
    done = CliRunner().invoke(app, ["task", "watch", "j"])
    assert done.exit_code == 0, (done.output, done.exception)


@pytest.mark.parametrize("body", [{}, {"items": [1]}, {"items": [{}]}, [1], {"state": "odd"}, {"id": 1}], ids=str)
@pytest.mark.parametrize(
    "arguments",
    [
        LIST,
        ("server", "show", "x"),
        ("task", "watch", "j"),
        ("task", "log", "j"),
        ("server", "key"),
        ("backup", "list"),
    ],
    ids=" ".join,
)
def test_an_answer_that_is_not_ours_is_no_traceback(
    answer: dict[str, Any], arguments: tuple[str, ...], body: Any
) -> None:
    answer["body"] = body
    done = CliRunner().invoke(app, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), (body, repr(done.exception))
