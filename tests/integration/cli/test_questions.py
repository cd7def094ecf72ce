"""The questions of the command line: Ctrl-C and the end of the input are told from a no, in one line."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.harness.patience import WAIT

ONE: dict[str, Any] = {
    "id": "b1", "name": "web1", "title": "a backup", "started_at": "2026-01-01T00:00:00Z", "files": 3, "type": "t",
    "offered_fingerprint": "SHA256:x", "state": "failed", "progress": None, "waiting_for": None, "warnings": [],
    "reason": "the host key is not known", "remedy": "", "result": {}, "code": "host_key_unknown",
    "created_at": "2026-01-01T00:00:00Z",
}  # fmt: skip
QUESTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "delete a backup": (("backup", "delete", "b1"), "Delete this backup?"),
    "the URL of a channel": (("channel", "add", "c", "webhook"), "URL"),
    "the password of a server": (("server", "add", "s", "h", "--ask-password", "--no-setup"), "Password"),
    "the key of a server": (("server", "add", "s", "h"), "Approve"),
}
YES_OR_NO = ("delete a backup", "the key of a server")


class Api:
    """Answers with one object that has every field, and keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer({"items": [ONE], "next": None} if self.path.split("?")[0] == "/api/backups" else ONE)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                outer.sent.append(f"{self.command} {self.path} {body}")
                self.answer(ONE)

            do_DELETE = do_POST  # noqa: N815 - as the library names it

            def answer(self, what: dict[str, Any]) -> None:
                body = json.dumps(what).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *_: Any) -> None:  # noqa: A002 - as the library names it
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    yield made
    made.server.shutdown()
    made.thread.join()
    made.server.server_close()


def command(api: Api, arguments: tuple[str, ...], **how: Any) -> subprocess.Popen[bytes]:
    environment = {
        "PATH": os.environ["PATH"], "HOME": "/nonexistent", "BORGFLEET_TOKEN": "bf_x", "TERM": "xterm",
        "BORGFLEET_URL": f"http://127.0.0.1:{api.server.server_port}",
    }  # fmt: skip
    made: subprocess.Popen[bytes] = subprocess.Popen(
        [sys.executable, "-m", "borgfleet", *arguments], env=environment, **how
    )
    return made


def on_a_terminal(api: Api, name: str, typed: bytes) -> tuple[int, str]:
    """Answer the question on a terminal of its own; return the status and all that it showed after the question."""
    arguments, question = QUESTIONS[name]
    master, terminal = pty.openpty()
    running = command(
        api, arguments, stdin=terminal, stdout=terminal, stderr=terminal, preexec_fn=lambda: os.login_tty(terminal)
    )
    os.close(terminal)
    threading.Timer(WAIT, running.kill).start()
    shown, answered = b"", False
    while True:
        # Python's own reading loses an interrupt that comes between its prompt and its wait: a person presses it again.
        # Not before it is sure that it was lost: the second one would break off what the first one led to.
        if answered and typed == b"\x03" and not select.select([master], [], [], WAIT / 4)[0]:
            os.write(master, typed)
            continue
        try:
            block = os.read(master, 4096)
        except OSError:  # nobody has the terminal open any more
            break
        if not block:
            break
        shown += block
        # getpass throws away what was typed before the last space
        if not answered and question.encode() in shown and shown.endswith(b": "):
            answered = True
            os.write(master, typed)
    os.close(master)
    return running.wait(WAIT), shown.decode(errors="replace").rpartition(question)[2]


def assert_ended(api: Api, name: str, status: int, shown: str) -> None:
    assert "Traceback" not in shown, shown
    assert status == 130, shown
    assert shown.count("ended: the question was not answered") == 1, shown
    assert "Abort" not in shown
    assert not any("host-key" in one or "DELETE" in one for one in api.sent), api.sent


@pytest.mark.parametrize("key", ["Ctrl-C", "Ctrl-D"])
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_that_is_left_is_no_answer(api: Api, name: str, key: str) -> None:
    status, shown = on_a_terminal(api, name, {"Ctrl-C": b"\x03", "Ctrl-D": b"\x04"}[key])
    assert_ended(api, name, status, shown)


@pytest.mark.parametrize("name", YES_OR_NO)
def test_a_no_is_told_from_a_question_that_is_left(api: Api, name: str) -> None:
    status, shown = on_a_terminal(api, name, b"n\r")
    assert (status, "question was not answered" in shown, "Traceback" in shown) == (1, False, False), shown
    assert not any("host-key" in one or "DELETE" in one for one in api.sent), api.sent


@pytest.mark.parametrize("how", ["closed", "empty"])
@pytest.mark.parametrize(
    "name", [name for name in QUESTIONS if name != "the key of a server"]
)  # asks on a terminal alone
def test_an_input_that_gives_nothing_is_no_answer(api: Api, name: str, how: str) -> None:
    arguments, _ = QUESTIONS[name]
    given: dict[str, Any] = {"preexec_fn": lambda: os.close(0)} if how == "closed" else {"stdin": subprocess.DEVNULL}
    running = command(api, arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, **given)
    out, _ = running.communicate(timeout=WAIT)
    assert_ended(api, name, running.returncode, out.decode())


def test_a_secret_from_a_pipe_is_taken_as_it_comes(api: Api) -> None:
    arguments, _ = QUESTIONS["the password of a server"]
    running = command(api, arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out, _ = running.communicate(b" canary \n", timeout=WAIT)
    assert (running.returncode, "canary" in out.decode()) == (0, False), out
    assert [json.loads(one.split(" ", 2)[2])["password"] for one in api.sent] == [" canary "]


def test_every_question_of_the_command_line_is_asked_at_the_one_place() -> None:
    places = {
        file.name
        for file in (Path(__file__).parents[3] / "borgfleet").rglob("*.py")
        if re.search(r"\b(typer|click)\.(confirm|prompt)\(|\binput\(|getpass\.getpass|\bprompt=", file.read_text())
    }
    assert places == {"ask.py"}
