"""All services as processes of their own on real NATS, MariaDB, sshd and borg, driven through the public API.

Each logs in to NATS as its own user, with no more rights than it has in production.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import psutil

from borgfleet.accounts import MIGRATE
from borgfleet.children import plan_sshd
from borgfleet.preparation import prepare
from borgfleet.recovery import kit
from shared.config.settings import Settings
from shared.testing.sshd import PrivateSshd, free_port, login_user, wait_for_listener
from tests.harness.accounts import Accounts, violations
from tests.harness.held import can_be_held
from tests.harness.mariadb import MariaServer
from tests.harness.nats_server import NatsServer
from tests.harness.patience import WAIT
from tests.harness.untraced import untraced

BIN = Path(sys.executable).parent
ENDED = ("succeeded", "warning", "failed", "cancelled")
ACK_WAIT = 30.0
"""As in production: a run keeps its lease while its worker, the database or the bus stands still for ten seconds."""
PATIENT = {
    "BORGFLEET_SSH__CONNECT_TIMEOUT": "60", "BORGFLEET_SSH__LOGIN_TIMEOUT": "60", "BORGFLEET_SSH__KEEPALIVE_COUNT_MAX": "6",
    "BORGFLEET_STATS__ANSWER_SECONDS": "60",
}  # fmt: skip
"""Limits that a server on a busy machine keeps."""


class ServiceProcess:
    """One `borgfleet run <service>` in its own process group; further ones of a service are `<service>-2` and so on."""

    def __init__(self, fleet: Fleet, name: str, **extra: str) -> None:
        self.name = name
        self.health_port = free_port()
        self.log = fleet.directory / f"{name}-{next(fleet.counter)}.log"
        service = name.partition("-")[0]
        own = {"BORGFLEET_HEALTH__PORT": str(self.health_port),
               "BORGFLEET_NATS__NKEY_SEED_FILE": str(fleet.accounts.seed(service))}  # fmt: skip
        environment = fleet.environment | own | fleet.own(name) | extra
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(BIN / "borgfleet"), "run", service],
                env=untraced(environment),
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self) -> ServiceProcess:
        until(lambda: self.ready() or self.process.poll() is not None, f"{self.name} is ready")
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return self

    def ready(self) -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{self.health_port}/readyz", timeout=WAIT).status_code == 200
        except httpx2.HTTPError:
            return False

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=WAIT)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=WAIT)

    def wait_dead(self, seconds: float = WAIT) -> None:
        self.process.wait(timeout=seconds)
        assert self.process.returncode == -signal.SIGKILL, (
            f"ended with {self.process.returncode}, not at its crash point"
        )


class Fleet:
    """A whole distributed Borgfleet with one managed server; tests make repositories and jobs of their own."""

    names: tuple[str, ...] = ("api", "scheduler", "setup", "backup", "stats")

    def __init__(self, directory: Path, maria: MariaServer) -> None:
        self.directory = directory
        self.counter = itertools.count(1)
        self.maria = maria
        self.database_url = maria.database()
        self.accounts = Accounts(directory / "seeds")
        self.nats = self.bus()
        self.server = PrivateSshd(directory / "server", environment=can_be_held(directory / "held"))
        self.pool_path = directory / "pool"
        self.api_port, self.endpoint_port = free_port(), free_port()
        self.token_file = directory / "token"
        self.data_dir = directory / "data"
        self.services: dict[str, ServiceProcess] = {}
        self.sshd: subprocess.Popen[bytes] | None = None
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{self.api_port}", timeout=WAIT)
        self.environment = self._environment()
        self.pool: dict[str, Any] = {}
        self.host: dict[str, Any] = {}

    def bus(self) -> NatsServer:
        return self.accounts.server(self.directory / "nats", tests_log_in=True)

    def own(self, name: str) -> dict[str, str]:
        """Return what one process has set and the others of its service have not."""
        return {}

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> Fleet:
        for directory in (self.pool_path, self.data_dir):
            directory.mkdir(parents=True)
        self.token_file.write_text("bf_test-token-canary-3141592653")
        self.token_file.chmod(0o600)
        self.nats.start()
        self.server.start()
        argv = plan_sshd(
            self.data_dir / "sshd", listen="127.0.0.1", port=self.endpoint_port, user=login_user(),
            authorized_keys=self.settings().state_dir / "authorized_keys",
        )  # fmt: skip
        assert argv is not None, "no sshd"
        self.sshd = subprocess.Popen(argv, start_new_session=True, stderr=subprocess.DEVNULL)
        asyncio.run(prepare(self.settings()))
        self.ensure_running()
        self.http.headers["Authorization"] = f"Bearer {self.token_file.read_text()}"
        self.host = self.add_server("host1", self.server)
        self.pool = self.post("/api/storage-pools", {"name": "main", "path": str(self.pool_path)})
        self.call(
            "PUT", "/api/limits", {"fleet": None, "per_server": None, "per_pool": None}
        )  # one server for all tests
        return self

    def stop(self) -> None:
        self.http.close()
        for service in self.services.values():
            service.process.kill()
            service.process.wait()
        if self.sshd is not None:
            self.sshd.terminate()
            self.sshd.wait()
        self.server.stop()
        self.nats.stop()

    def refused(self) -> list[str]:
        """What nats-server refused any service, in all that tests did so far."""
        return violations(self.nats)

    def rest(self) -> None:
        """Stop every service; `ensure_running` starts them again."""
        for service in self.services.values():
            service.process.terminate()
        for service in self.services.values():
            service.process.wait(timeout=WAIT)

    def ensure_running(self, *names: str) -> None:
        """Start whatever is not running, as what a test that failed left dead; wait until all is ready."""
        for server in (self.maria, self.nats, self.server):
            if server.process is None:
                server.start()
        names = names or self.names
        for name in names:
            if name not in self.services or self.services[name].process.poll() is not None:
                self.services[name] = ServiceProcess(self, name)
        for name in names:
            self.services[name].wait_ready()
        wait_for_listener("127.0.0.1", self.api_port)

    def restart(self, name: str, **extra: str) -> ServiceProcess:
        """Stop a service in order and start it with other settings."""
        self.services[name].stop()
        return self.spawn(name, **extra)

    def doomed(self, name: str, where: str) -> ServiceProcess:
        """Let a service die at a named place; first all that ran before ends: it is not to die of a run of another test."""
        until(lambda: not self.unfinished(), lambda: f"everything ends; not: {self.unfinished()}", 5 * WAIT)
        return self.restart(name, BORGFLEET_CRASH_AT=where)

    def spawn(self, name: str, **extra: str) -> ServiceProcess:
        """Start a service in the place of one that ended."""
        self.services[name] = ServiceProcess(self, name, **extra)
        return self.services[name].wait_ready()

    def settings(self) -> Settings:
        return Settings.model_validate(
            {
                "data_dir": self.data_dir,
                "database": {"url": self.database_url},
                "nats": self.accounts.settings(self.nats, MIGRATE).model_dump(exclude_unset=True),
                "api": {"admin_token_file": self.token_file},
            }
        )

    # -- the public API -----------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: Any = None) -> httpx2.Response:
        return asked(self.http, method, path, body)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.request(method, path, body)
        assert answer.status_code < 400, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        return self.call("POST", path, body)

    def add_server(self, name: str, sshd: PrivateSshd) -> dict[str, Any]:
        """Add a server whose host key is known from its console, and set it up."""
        sshd.authorize(self.get("/api/fleet-key")["public_key"])
        server = self.post(
            "/api/servers",
            {"name": name, "host": sshd.address, "port": sshd.port, "username": login_user(),
             "approved_fingerprint": sshd.fingerprint()},
        )  # fmt: skip
        self.finished(self.post(f"/api/servers/{server['id']}/setup"), "succeeded", "warning")
        return self.get(f"/api/servers/{server['id']}")

    def backup_job(self, sources: list[Path | str], **options: Any) -> dict[str, Any]:
        """Make a repository and a backup job of its own."""
        name = options.pop("name", f"job{next(self.counter)}")
        host = options.pop("host", self.host)
        repository = options.pop("repository_id", None) or self.repository(f"repo-{name}", host)["id"]
        body = {"name": name, "server_id": host["id"], "repository_id": repository,
                "sources": [str(source) for source in sources]} | options  # fmt: skip
        return self.post("/api/backup-jobs", body)

    def repository(self, name: str, host: dict[str, Any] | None = None) -> dict[str, Any]:
        server_id = (host or self.host)["id"]
        return self.post("/api/repositories", {"name": name, "server_id": server_id, "pool_id": self.pool["id"]})

    def run(self, definition: dict[str, Any]) -> dict[str, Any]:
        return self.post(f"/api/backup-jobs/{definition['id']}/run")

    def job(self, job: dict[str, Any]) -> dict[str, Any]:
        return self.get(f"/api/jobs/{job['id']}")

    def finished(self, job: dict[str, Any], *states: str, seconds: float = 5 * WAIT) -> dict[str, Any]:
        """Wait for a job's end; it must be one of these states."""
        ended = until(lambda: found if (found := self.try_job(job)) and found["state"] in ENDED else None,
                      lambda: f"job {job['id']} ends: {self.told(job)}", seconds)  # fmt: skip
        assert not states or ended["state"] in states, self.told(job)
        return ended

    def try_job(self, job: dict[str, Any]) -> dict[str, Any] | None:
        answer = self.request("GET", f"/api/jobs/{job['id']}")
        return answer.json() if answer.status_code == 200 else None

    def reading(self, job: dict[str, Any], minimum: int = 1) -> dict[str, Any]:
        """Wait until borg reads files on the server; a job that ended meanwhile will never."""

        def now() -> dict[str, Any] | None:
            found = self.job(job)
            assert found["state"] not in ENDED, f"it ended before it was seen to read: {self.told(job)}"
            read = (found["progress"] or {}).get("original_size") or 0
            return found if found["state"] == "running" and read >= minimum else None

        return until(now, lambda: f"it reads {minimum} bytes: {self.told(job)}")

    def told(self, job: dict[str, Any]) -> str:
        """Return all that is known of a job, for whoever finds that it is not as it should be."""
        try:
            answer = self.request("GET", f"/api/jobs/{job['id']}")
            said = f"{answer.text}\n{self.log(job)}"
        except (httpx2.HTTPError, AssertionError) as error:  # its logs tell why
            said = f"the API does not tell: {error}"
        return f"{said}\n{self.logs()}"

    def log(self, job: dict[str, Any]) -> str:
        lines = self.get(f"/api/jobs/{job['id']}/log")["items"]
        return "\n".join(
            f"{line['attempt']}.{line['seq']} {line['level']} {line['source']} {line['message']}" for line in lines
        )

    def backups(self, definition: dict[str, Any]) -> list[dict[str, Any]]:
        return self.get(f"/api/backups?backup_job_id={definition['id']}")["items"]

    def logs(self) -> str:
        return "\n".join(file.read_text(errors="replace")[-3000:] for file in self.directory.glob("*.log"))

    # -- from outside -------------------------------------------------------------------------------------

    def borg(self, definition: dict[str, Any], *arguments: str, cwd: Path | None = None, base: str = "outside") -> str:
        """Run plain borg on a job's repository, as a machine that may know it from before; `{repo}` is its path."""
        entry = self.kit_entry(definition["repository_id"])
        environment = os.environ | {
            "BORG_PASSPHRASE": entry["passphrase"], "BORG_BASE_DIR": str(self.directory / base), "TZ": "UTC",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        }  # fmt: skip
        argv = [str(BIN / "borg"), f"--lock-wait={WAIT:.0f}", *(a.replace("{repo}", entry["path"]) for a in arguments)]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, cwd=cwd)
        assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def listed(self, definition: dict[str, Any]) -> dict[str, str]:
        """Return what borg itself lists: id -> name."""
        archives = json.loads(self.borg(definition, "list", "--json", "{repo}"))["archives"]
        return {archive["id"]: archive["name"] for archive in archives}

    def at_rest(self, definition: dict[str, Any]) -> Path:
        """Return a repository's directory when no job of ours works on it: after a run it is verified, by itself."""
        repository = definition["repository_id"]
        until(lambda: repository not in {job["repository_id"] for job in self.unfinished()},
              f"nothing works on {repository}", 5 * WAIT)  # fmt: skip
        return Path(self.kit_entry(repository)["path"])

    def unfinished(self) -> list[dict[str, Any]]:
        states = ("running", "queued", "running")  # a job may begin, or go back to the queue, while we ask
        return [job for state in states for job in self.get(f"/api/jobs?state={state}&limit=500")["items"]]

    def kit_entry(self, repository_id: str) -> dict[str, str]:
        return next(entry for entry in asyncio.run(kit(self.settings())) if entry["id"] == repository_id)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Return the processes of this fleet whose command line has all these words."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or [])
            if str(self.directory) in line and all(word in line for word in words):
                found.append(process)
        return found

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "BORGFLEET_DATA_DIR": str(self.data_dir),
            "BORGFLEET_DATABASE__URL": self.database_url,
            **self.nats.settings,
            "BORGFLEET_API__PORT": str(self.api_port),
            "BORGFLEET_API__ADMIN_TOKEN_FILE": str(self.token_file),
            "BORGFLEET_WORKER__ACK_WAIT": str(ACK_WAIT),
            "BORGFLEET_WORKER__REAP_EVERY": "0.5",
            "BORGFLEET_WORKER__LOST_AFTER": "3",
            "BORGFLEET_WORKER__CANCEL_POLL": "0.5",
            "BORGFLEET_BACKUP__BORG": str(BIN / "borg"),
            "BORGFLEET_BACKUP__ENDPOINT_PORT": str(self.endpoint_port),
            "BORGFLEET_BACKUP__ENDPOINT_USER": login_user(),
            "BORGFLEET_BACKUP__ENDPOINT_HOST_KEY_FILE": str(self.data_dir / "sshd" / "ssh_host_ed25519_key.pub"),
            "BORGFLEET_NOTIFY__ALLOWED_NETWORKS": '["127.0.0.0/8"]',
            "BORGFLEET_STATS__EVERY": "0",
            "BORGFLEET_BACKUP__CATALOGUE_EVERY": "0",
            "BORGFLEET_SELF_BACKUP__EVERY_HOURS": "0",
            "BORGFLEET_STATS__CONCURRENCY": "32",
            "BORGFLEET_LOG__LEVEL": "debug",
            **PATIENT,
        }  # fmt: skip


def asked(http: httpx2.Client, method: str, path: str, body: Any = None, key: str = "") -> httpx2.Response:
    """Ask as a client should: who is told that the database is busy comes again with the same key, and all is done once."""
    headers = {"Idempotency-Key": key or str(uuid.uuid4())}

    def answered() -> httpx2.Response | None:
        answer = http.request(method, path, json=body, headers=headers)
        return None if answer.status_code == 503 and "Retry-After" in answer.headers else answer

    return until(answered, f"{method} {path} is answered")


def until(probe: Callable[[], Any], what: str | Callable[[], str], seconds: float = WAIT) -> Any:
    """Wait until a probe returns something true, and return it; `what` says what was missed, asked then if it can be."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := probe():
            return found
        time.sleep(0.1)
    message = f"not within {seconds:.0f} s: {what if isinstance(what, str) else what()}"
    raise AssertionError(message)
