"""The command line in broken environments: one sentence, a status, no traceback, and never the token."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from borgfleet.cli.app import app
from borgfleet.cli.client import Client
from tests.harness.patience import WAIT

TOKEN = "bf_canary-token-2718281828"
LIST = ("server", "list")
Prepare = Callable[[Path], dict[str, str]]


def variables(**values: str) -> Prepare:
    return lambda _: values


def file(content: bytes, **values: str) -> Prepare:
    """Return an environment that names a file with this content as FILE."""

    def prepared(directory: Path) -> dict[str, str]:
        (directory / "file").write_bytes(content)
        return {name: value.replace("FILE", str(directory / "file")) for name, value in values.items()}

    return prepared


def token_file(content: bytes) -> Prepare:
    return file(content, BORGFLEET_TOKEN="", BORGFLEET_TOKEN_FILE="FILE")


def unreadable(directory: Path) -> dict[str, str]:
    (directory / "d").mkdir()
    return {"BORGFLEET_TOKEN": "", "BORGFLEET_TOKEN_FILE": str(directory / "d")}


def toml(content: bytes) -> Prepare:
    return file(content, BORGFLEET_CONFIG="FILE")


def not_a_directory(directory: Path) -> dict[str, str]:
    (directory / "f").write_text("")
    return {"BORGFLEET_DATA_DIR": str(directory / "f" / "data")}


BROKEN: dict[str, tuple[tuple[str, ...], Prepare, str]] = {
    "token of two words": (LIST, variables(BORGFLEET_TOKEN=f"{TOKEN} x"), "no API token"),
    "token with a line break inside": (LIST, variables(BORGFLEET_TOKEN=f"{TOKEN}\n{TOKEN}"), "no API token"),
    "token with an accent": (LIST, variables(BORGFLEET_TOKEN=f"{TOKEN}é"), "no API token"),
    "token with a byte that is no UTF-8": (LIST, variables(BORGFLEET_TOKEN=f"{TOKEN}\udcff"), "no API token"),
    "token in quotes": (LIST, variables(BORGFLEET_TOKEN=f'"{TOKEN}"'), "no API token"),
    "token of 100,000 characters": (LIST, variables(BORGFLEET_TOKEN=TOKEN * 4000), "no API token"),
    "token with its scheme": (LIST, variables(BORGFLEET_TOKEN=f"Bearer {TOKEN}"), "no API token"),
    "no token at all": (LIST, variables(BORGFLEET_TOKEN="", BORGFLEET_TOKEN_FILE="/nowhere/token"), "no API token"),
    "blank token, no home": (LIST, variables(BORGFLEET_TOKEN=" ", HOME="/nowhere"), "no API token"),
    "token file that is empty": (LIST, token_file(b"\n"), "no API token"),
    "token file that is not UTF-8": (LIST, token_file(TOKEN.encode() + b"\xff"), "read as text"),
    "token file of two lines": (LIST, token_file(f"{TOKEN}\nother\n".encode()), "no API token"),
    "token file that is a directory": (LIST, unreadable, "Is a directory"),
    "token file below a file": (LIST, variables(BORGFLEET_TOKEN="", BORGFLEET_TOKEN_FILE="/etc/passwd/x"), "Not a directory"),
    "token file with a name too long": (LIST, variables(BORGFLEET_TOKEN="", BORGFLEET_TOKEN_FILE="/" + "x" * 5000), "too long"),
    "URL with half an IPv6 address": (LIST, variables(BORGFLEET_URL="http://[::1"), "no URL"),
    "URL without a scheme": (LIST, variables(BORGFLEET_URL="127.0.0.1:8080"), "no URL"),
    "URL of another scheme": (LIST, variables(BORGFLEET_URL="ftp://127.0.0.1"), "no URL"),
    "URL with a port beyond all": (LIST, variables(BORGFLEET_URL="http://127.0.0.1:99999"), "no URL|does not answer"),
    "URL with a port that is no number": (LIST, variables(BORGFLEET_URL="http://127.0.0.1:web"), "no URL"),
    "URL without a host": (LIST, variables(BORGFLEET_URL="http://"), "no URL"),
    "URL with a control character": (LIST, variables(BORGFLEET_URL="http://127.0.0.1\x01"), "no URL"),
    "URL with a host that is too long": (LIST, variables(BORGFLEET_URL=f"http://{'x' * 300}.example"), "no URL|does not answer|cannot be sent"),
    "URL with a surrogate": (LIST, variables(BORGFLEET_URL="http://\udcff"), "no URL"),
    "URL where nobody listens": (LIST, variables(BORGFLEET_URL="http://127.0.0.1:1"), "does not answer"),
    "proxy of an unknown scheme": (LIST, variables(HTTP_PROXY="gopher://127.0.0.1:1", http_proxy="gopher://127.0.0.1:1"), "proxy"),
    "proxy that is no URL": (LIST, variables(HTTP_PROXY="http://[::1", http_proxy="http://[::1"), "proxy"),
    "certificates that are not there": (LIST, variables(SSL_CERT_FILE="/nowhere/ca.pem"), "certificates|does not answer"),
    "argument that is not UTF-8": (("task", "show", "\udcff/../x"), variables(), "does not answer"),
    "argument with control characters": (("task", "show", "a\x01\n?b#c"), variables(), "does not answer"),
    "text that is not UTF-8": (("backup", "hold", "x", "\udcff"), variables(), "does not answer|cannot be sent"),
    "threshold that is no number": (("threshold", "set", "memory", "--warning", "nan"), variables(), "cannot be sent"),
    "threshold that is infinite": (("threshold", "set", "memory", "--critical", "inf"), variables(), "cannot be sent"),
    "day that is no number": (("schedule", "preview", "--weekdays", "9" * 5000, "--at", "02:30"), variables(), "not a list of days"),
    "password file that is not there": (("server", "add", "w", "h", "--password-file", "/nowhere/p"), variables(), "No such file"),
    "password file that is not UTF-8": (("server", "add", "w", "h", "--password-file", sys.executable), variables(), "not UTF-8"),
    "channel's days that are no numbers": (("channel", "add", "c", "webhook", "--url-file", "/dev/null", "--zone", "UTC", "--days", "x"), variables(), "not a list of days"),
    "settings that are no TOML": (("doctor",), toml(b"x = = 1"), "settings cannot be read"),
    "settings that are not UTF-8": (("doctor",), toml(b"\xff"), "settings cannot be read"),
    "settings that are nested without end": (("doctor",), toml(b"x = " + b"[" * 100_000), "settings cannot be read"),
    "setting that no calendar has": (("doctor",), variables(BORGFLEET_KEEP__JOBS_DAYS="inf"), "keep.jobs_days"),
    "settings with an unknown field": (("doctor",), toml(b"nonsense = 1"), "nonsense"),
    "settings that are a directory": (("doctor",), variables(BORGFLEET_CONFIG="/etc"), "is no file"),
    "settings that are not there": (("doctor",), variables(BORGFLEET_CONFIG="/nowhere/b.toml"), "is no file"),
    "setting that is no JSON": (("doctor",), variables(BORGFLEET_NOTIFY__ALLOWED_NETWORKS="["), "settings"),
    "setting of the wrong type": (("doctor",), variables(BORGFLEET_API__PORT="web"), "api.port"),
    "port beyond all": (("doctor",), variables(BORGFLEET_API__PORT="70000"), "api.port"),
    "database of an unknown kind": (("migrate",), variables(BORGFLEET_DATABASE__URL="oracle9://u:canary-token@h/x"), "database"),
    "database URL that is none": (("migrate",), variables(BORGFLEET_DATABASE__URL="canary-token-no-url"), "database"),
    "database driver that is not there": (("recovery-kit",), variables(BORGFLEET_DATABASE__URL="mysql+mysqldb://u:canary-token@h/x"), "driver"),
    "database port that is none": (("migrate",), variables(BORGFLEET_DATABASE__URL="mariadb+aiomysql://u:canary-token@h:x/y"), "database"),
    "database that nobody serves": (
        ("migrate",), variables(BORGFLEET_DATABASE__URL="mariadb+aiomysql://u:canary-token@127.0.0.1:1/x"), "cannot be reached"
    ),
    "database in a directory that is not there": (
        ("migrate",), variables(BORGFLEET_DATABASE__URL="sqlite+aiosqlite:////nowhere/b.db"), "no directory /nowhere"
    ),
    "service on a database that is not there": (
        ("run", "setup"), variables(BORGFLEET_DATABASE__URL="sqlite+aiosqlite:////nowhere/b.db"), "no directory /nowhere"
    ),
    "password file of the database away": (
        ("migrate",),
        variables(BORGFLEET_DATABASE__URL="mariadb+aiomysql://u@h/x", BORGFLEET_DATABASE__PASSWORD_FILE="/nowhere/p"),
        "no database password file at /nowhere/p",
    ),
    "data directory below a file": (("migrate",), not_a_directory, "Not a directory"),
    "database that was never made": (("recovery-kit",), variables(), "there is no database"),
    "service that is none": (("run", "nonsense"), variables(), "no service"),
}  # fmt: skip


def assert_told(output: str, status: int, said: str) -> None:
    flat = " ".join(output.split())
    assert status not in (0, None), flat
    assert "Traceback" not in output, output
    assert "canary-token" not in output, output
    assert any(one in flat for one in said.split("|")), flat
    assert len(output) < 3000


def environment(directory: Path, prepare: Prepare) -> dict[str, str]:
    plain = {"PATH": os.environ["PATH"], "HOME": str(directory), "BORGFLEET_URL": "http://127.0.0.1:1",
             "BORGFLEET_TOKEN": TOKEN, "BORGFLEET_DATA_DIR": str(directory / "data")}  # fmt: skip
    return plain | prepare(directory)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_environment_is_one_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, prepare, said = BROKEN[name]
    for variable in [one for one in os.environ if one.startswith("BORGFLEET_") or one.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(
        "shared.telemetry.logging.configure_logging", lambda _: None
    )  # its handler would outlive the test
    done = CliRunner().invoke(app, arguments, env=environment(tmp_path, prepare))
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert_told(done.output, done.exit_code, said)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>", "not Borgfleet's API"), (200, b"[1]", "not Borgfleet's API"), (200, b"\xff", "not Borgfleet's API"),
        (200, b'{"items": 1}', "not Borgfleet's API"), (302, b"{}", "not Borgfleet's API"), (502, b"<html>", "502"),
        (500, b"[1]", "500"), (200, b"[" * 100_000, "not Borgfleet's API"), (401, b'{"detail": 1}', "1"),
        (422, b'{"detail": "[bold]no markup", "remedy": null}', "[bold]no markup"),
    ],
)  # fmt: skip
def test_whatever_answers_instead_of_the_api_is_said(
    status: int, body: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answered(client: Client) -> None:
        transport = httpx2.MockTransport(lambda _: httpx2.Response(status, content=body))
        client._http = httpx2.Client(base_url="http://test", transport=transport)

    monkeypatch.setattr(Client, "__init__", answered)
    done = CliRunner().invoke(app, LIST)
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert_told(done.output, done.exit_code, said)


@pytest.mark.parametrize("given", [f"{TOKEN}\n", f" {TOKEN}\r\n", TOKEN])
def test_a_line_break_after_the_token_is_no_mistake(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BORGFLEET_TOKEN", given)
    assert Client()._http.headers["authorization"] == f"Bearer {TOKEN}"


def test_what_a_person_types_stays_one_part_of_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answered(client: Client) -> None:
        def keep(request: httpx2.Request) -> httpx2.Response:
            asked.append(request.url.raw_path.decode())
            return httpx2.Response(200, json={})

        client._http = httpx2.Client(base_url="http://test", transport=httpx2.MockTransport(keep))

    monkeypatch.setattr(Client, "__init__", answered)
    CliRunner().invoke(app, ["task", "show", "../servers?x=1#y"])
    CliRunner().invoke(app, ["alert", "show", "é/\udcff"])
    assert asked == ["/api/jobs/..%2Fservers%3Fx%3D1%23y", "/api/alerts/%C3%A9%2F%FF"]


@pytest.mark.parametrize(
    "name", ["token with a byte that is no UTF-8", "URL with half an IPv6 address", "data directory below a file"]
)
def test_the_real_process_ends_in_the_same_way_without_any_locale(name: str, tmp_path: Path) -> None:
    arguments, prepare, said = BROKEN[name]
    variables = environment(tmp_path, prepare) | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "borgfleet", *arguments],
        env=variables, capture_output=True, text=True, check=False, timeout=WAIT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert_told(done.stdout + done.stderr, done.returncode, said)
