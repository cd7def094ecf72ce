"""`borgfleet up`: the same journey in one process, and what survives its death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shared.testing.sshd import PrivateSshd, free_port, login_user, wait_for_listener
from tests.harness.fleet import ACK_WAIT, BIN, ENDED, PATIENT, asked, until
from tests.harness.held import can_be_held, held
from tests.harness.patience import WAIT
from tests.harness.untraced import untraced

pytestmark = pytest.mark.measured  # the command line as a person types it, in programs of its own


class Standalone:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=WAIT)
        self.environment = os.environ | {
            "BORGFLEET_API__PORT": str(self.port),
            "BORGFLEET_HEALTH__PORT": str(free_port()),
            "BORGFLEET_BACKUP__ENDPOINT_PORT": str(free_port()),
            "BORGFLEET_BACKUP__ENDPOINT_USER": login_user(),
            "BORGFLEET_WORKER__ACK_WAIT": str(ACK_WAIT),
            "BORGFLEET_WORKER__REAP_EVERY": "0.5",
            "BORGFLEET_URL": f"http://127.0.0.1:{self.port}",
            **PATIENT,
        }
        self.link = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start; return what it printed up to the token, or up to its address."""
        said = self.directory / "said"
        with (self.directory / "log").open("a") as log, said.open("w") as out:
            self.process = subprocess.Popen(
                [str(BIN / "borgfleet"), "up", "--data-dir", str(self.directory / "data")], env=untraced(self.environment),
                stdout=out, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_for_listener("127.0.0.1", self.port)  # all that it prints, it printed before
        lines = said.read_text().splitlines()
        token = next((line.strip() for line in lines if line.startswith("  bf_")), "")
        self.link = next((line.strip() for line in lines if "/setup#" in line), "")
        if token:
            self.http.headers["Authorization"] = f"Bearer {token}"
            self.environment["BORGFLEET_TOKEN"] = token
        return token

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=WAIT)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = asked(self.http, method, path, body)
        assert answer.status_code < 400, answer.text
        return answer.json() if answer.content else None

    def cli(self, *arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [str(BIN / "borgfleet"), *arguments], env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def finished(self, job: dict[str, Any]) -> dict[str, Any]:
        return until(lambda: found if (found := self.call("GET", f"/api/jobs/{job['id']}"))["state"] in ENDED else None,
                     "the job ends", 5 * WAIT)  # fmt: skip


@pytest.fixture(scope="module")
def server(scratch: Path) -> Iterator[PrivateSshd]:
    sshd = PrivateSshd(scratch / "standalone-server", environment=can_be_held(scratch / "standalone-held"))
    sshd.start()
    yield sshd
    sshd.stop()


def accounts_by_command_line(one: Standalone) -> None:
    """The command line of this machine needs no login; the link makes the first administrator; who forgot is let in."""
    before, token = one.environment, one.environment["BORGFLEET_TOKEN"]
    data = one.directory / "data"
    one.environment = before | {"BORGFLEET_DATA_DIR": str(data), "HOME": str(one.directory)}
    del one.environment["BORGFLEET_TOKEN"]
    assert one.cli("whoami").strip() == "admin"
    assert ((data / "cli.token").stat().st_mode & 0o777, (data / "cli.token").read_text().strip()) == (0o600, token)
    password, link = "correct horse battery staple", one.link.partition("#")[2]
    page = {"Sec-Fetch-Site": "same-origin"}
    with httpx2.Client(base_url=f"http://127.0.0.1:{one.port}", timeout=WAIT, headers=page) as browser:
        made = browser.post("/api/auth/setup", json={"link": link, "name": "ada", "password": password})
        assert (made.status_code, made.json()["name"]) == (200, "ada"), made.text
        assert browser.get("/api/auth/me").json()["grants"] == [{"role": "admin", "tag": None}]
        assert "an administrator already" in one.cli("setup-link", status=1)
        assert "ada" in one.cli("user", "list")
        reset = one.cli("user", "reset-password", "ada", "--link").strip()
        until(lambda: browser.get("/api/auth/me").status_code == 401, "the session is over within seconds")
        again = {"link": reset.partition("#")[2], "password": f"{password} again"}
        assert browser.post("/api/auth/accept", json=again).status_code == 200
        assert browser.post("/api/auth/logout").status_code == 204
        assert browser.get("/api/auth/me").status_code == 401
    reader = json.loads(one.cli("token", "add", "reader", "--permission", "servers:read", "--json"))["secret"]
    one.environment["BORGFLEET_TOKEN"] = reader
    assert one.cli("whoami").strip() == "reader"
    assert "needs pools:write" in one.cli("pool", "add", "other", "/nowhere", status=1)
    one.environment = before


def schedules_by_command_line(one: Standalone) -> None:
    """People, schedules, limits, retention and checks, as an administrator would type them."""
    accounts_by_command_line(one)
    one.cli("schedule", "set", "alone-direct", "--at", "02:30", "--zone", "Europe/Paris", "--weekdays", "1,5")
    assert "Monday" in one.cli("schedule", "list")
    limits = json.loads(one.cli("schedule", "limits", "--fleet", "7", "--server", "alone=1", "--json"))
    assert limits == {
        "fleet": 7, "per_server": 2, "per_pool": 20, "servers": {"alone": 1}, "pools": {}, "version": limits["version"],
    }  # fmt: skip
    assert "there is none of the name nobody" in one.cli("schedule", "limits", "--server", "nobody=1", status=1)
    one.cli("repo", "retention", "alone", "direct", "--daily", "7", "--job", "alone-direct", "--save")
    (definition,) = [one for one in json.loads(one.cli("job", "list", "--json")) if one["name"] == "alone-direct"]
    assert (definition["retention"]["keep_daily"], len(definition["schedules"])) == (7, 1)
    assert "succeeded" in one.cli("repo", "check", "alone", "direct", "--depth", "data")
    assert "succeeded" in one.cli("repo", "compact", "alone", "direct")
    one.cli(
        "repo", "maintenance", "set", "alone", "direct", "check", "--at", "04:00", "--depth", "data", "--budget", "600"
    )
    one.cli("repo", "maintenance", "set", "alone", "direct", "prune", "--at", "05:00")
    shown = json.loads(one.cli("repo", "maintenance", "list", "--json"))
    assert {(one["task"], one["depth"]) for one in shown} == {("check", "data"), ("prune", None)}
    assert {one["name"] for one in json.loads(one.cli("schedule", "forecast", "--json", "--hours", "48"))} >= {
        "check of alone/direct", "prune of alone/direct",
    }  # fmt: skip
    one.cli("repo", "maintenance", "never", "alone", "direct", "prune")
    assert [one["task"] for one in json.loads(one.cli("repo", "maintenance", "list", "--json"))] == ["check"]
    maintenance_by_command_line(one)
    assert "no such task" in one.cli(
        "repo", "maintenance", "set", "alone", "direct", "polish", "--at", "01:00", status=1
    )


def maintenance_by_command_line(one: Standalone) -> None:
    one.cli("maintenance", "add", "--hours", "2", "--server", "alone", "--reason", "new disks")
    (window,) = json.loads(one.cli("maintenance", "list", "--json"))
    begins, ends = (datetime.fromisoformat(window[name]) for name in ("starts_at", "ends_at"))
    assert (window["server"], window["reason"], ends - begins) == ("alone", "new disks", timedelta(hours=2))
    one.cli("maintenance", "end", window["id"])
    assert json.loads(one.cli("maintenance", "list", "--json")) == []
    assert "names no time zone" in one.cli("maintenance", "add", "--until", "2099-01-01T00:00", status=1)
    assert "no date and time" in one.cli("maintenance", "add", "--until", "tomorrow", status=1)
    assert "either --hours or --until" in one.cli("maintenance", "add", status=1)


def killed_while_borg_reads(one: Standalone, source: Path) -> dict[str, Any]:
    with held(source):
        job = one.call("POST", f"/api/backup-jobs/{one.call('GET', '/api/backup-jobs')['items'][1]['id']}/run")
        until(lambda: (one.call("GET", f"/api/jobs/{job['id']}")["progress"] or {}).get("original_size"), "borg reads")
        one.stop(signal.SIGKILL)
    return job


def test_the_whole_journey_by_command_line_and_a_kill_in_the_middle(
    scratch: Path, server: PrivateSshd, slow_data: Path
) -> None:
    directory = scratch / "standalone"
    (directory / "pool").mkdir(parents=True)
    one = Standalone(directory)
    token = one.start()
    try:
        assert token.startswith("bf_")
        server.authorize(one.cli("server", "key"))
        one.cli(
            "server",
            "add",
            "alone",
            "127.0.0.1",
            "--port",
            str(server.port),
            "--user",
            login_user(),
            "--fingerprint",
            server.fingerprint(),
            status=3,
        )  # fmt: skip - 3: Debian 12's borg is older than advised
        assert "ready" in one.cli("server", "list")
        assert "1 answered" in one.cli("server", "collect", "alone")
        assert "Debian" in one.cli("server", "stats")
        one.cli("threshold", "set", "disk", "--warning", "0.1", "--server", "alone")
        assert "built-in" in one.cli("threshold", "list", "--server", "alone")
        one.cli("server", "collect")
        until(lambda: "server:alone:/" in one.cli("alert", "list"), "the alert is raised")
        alert = json.loads(one.cli("alert", "list", "--json"))[0]["id"]
        one.cli("alert", "acknowledge", alert, "--note", "on it")
        assert "on it" in one.cli("alert", "show", alert)
        one.cli("threshold", "reset", "disk", "--server", "alone")
        one.cli("pool", "add", "main", str(directory / "pool"))
        for transport in ("tunnel", "direct"):
            name = f"alone-{transport}"
            one.cli("job", "add", name, "alone", str(slow_data), "--repository", transport, "--pool", "main",
                    "--transport", transport, "--upload-limit", "1024", "--compression", "none")  # fmt: skip
        assert "succeeded" in one.cli("job", "run", "alone-direct")
        job = killed_while_borg_reads(one, slow_data)
        assert one.start() == ""  # the token is printed once
        ended = one.finished(job)
        assert (ended["state"], ended["attempt"] >= 2) == ("succeeded", True)
        listed = one.cli("backup", "list")
        assert listed.count("alone - ") == 2
        newest = one.call("GET", "/api/backups")["items"][0]
        one.cli("backup", "hold", newest["id"], "a reason")
        assert "held" in one.cli("backup", "delete", newest["id"], "--yes", status=1)
        one.cli("backup", "release", newest["id"])
        one.cli("backup", "delete", newest["id"], "--yes")
        assert one.cli("backup", "list").count("alone - ") == 1
        schedules_by_command_line(one)
        assert "alone - " in one.cli("task", "list")
        assert "borg" in one.cli("task", "log", ended["id"])
        assert "passphrase" in one.cli("recovery-kit", "--data-dir", str(directory / "data"))
        assert "no server named" in one.cli("server", "show", "nobody", status=1)
    finally:
        one.http.close()
        assert one.stop() == 0
    log = (directory / "log").read_text()
    assert token not in log
    assert "task_crashed" not in log
    assert "handler_crashed" not in log


def test_a_nats_server_that_acknowledges_before_the_disk_is_refused(scratch: Path) -> None:
    from tests.harness.nats_server import NatsServer

    nats = NatsServer(scratch / "lax", sync="sync_interval: 2m").start()
    try:
        done = subprocess.run(
            [str(BIN / "borgfleet"), "migrate", "--data-dir", str(scratch / "lax-data")],
            env=os.environ | {"BORGFLEET_NATS__URL": nats.url, "BORGFLEET_NATS__MONITOR_URL": nats.monitor_url},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        nats.stop()
    assert done.returncode == 1
    assert "sync_interval: always" in done.stderr
