"""The demo: two real servers, real directories, real backups; and a check of each result from outside."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import uuid
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
from demo_outside import BORGFLEET, check_from_outside
from demo_restore import list_and_restore, prove

from shared.testing.sshd import PrivateSshd, free_port, login_user, wait_for_listener

CHECKOUT = Path(__file__).resolve().parent.parent
_JOB_SECONDS = 300.0
_PASSING = 503
ALWAYS_KNOWN = (
    "kernel_version", "hostname", "architecture", "cpu_cores", "cpu_load_1", "cpu_usage_percent", "memory_total_mb",
    "memory_percent", "swap_percent", "disk_percent", "uptime_seconds", "boot_time", "ip_address", "collected_at",
)  # fmt: skip


class Demo:
    """One run of the demo in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        """Choose free ports and prepare two servers."""
        self.directory = directory
        self.pool = directory / "backups"
        self.pool.mkdir()
        self.servers = {name: PrivateSshd(directory / name) for name in ("alpha", "beta")}
        self.port, self.endpoint_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None
        self.token = ""
        self.link = ""
        self.http = httpx2.Client(base_url=self.url, timeout=30)

    def start(self) -> None:
        """Start the servers and Borgfleet, and take the token it prints once."""
        for server in self.servers.values():
            server.start()
        environment = os.environ | {
            "BORGFLEET_API__PORT": str(self.port),
            "BORGFLEET_HEALTH__PORT": str(free_port()),
            "BORGFLEET_BACKUP__ENDPOINT_PORT": str(self.endpoint_port),
            "BORGFLEET_BACKUP__ENDPOINT_USER": login_user(),
        }
        log = (self.directory / "borgfleet.log").open("w")
        self.process = subprocess.Popen(
            [BORGFLEET, "up", "--data-dir", str(self.directory / "data")],
            env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
        )  # fmt: skip
        self.token = self._token()
        self.http.headers["Authorization"] = f"Bearer {self.token}"
        wait_for_listener("127.0.0.1", self.port, 120)

    def stop(self) -> None:
        """End everything this demo started."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=90)
        for server in self.servers.values():
            server.stop()

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Use the REST API as any client would."""
        again = {"Idempotency-Key": str(uuid.uuid4())}  # on a busy machine it is asked again, and done once
        answer = self.http.request(method, path, json=body, headers=again)
        deadline = time.monotonic() + _JOB_SECONDS
        while answer.status_code == _PASSING and time.monotonic() < deadline:
            time.sleep(float(answer.headers.get("Retry-After", "1")))
            answer = self.http.request(method, path, json=body, headers=again)
        if answer.is_error:
            raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def finished(self, job: dict[str, Any], expected: tuple[str, ...] = ("succeeded", "warning")) -> dict[str, Any]:
        """Wait for a job's end and insist on its state."""
        deadline = time.monotonic() + _JOB_SECONDS
        while time.monotonic() < deadline:
            job = self.call("GET", f"/api/jobs/{job['id']}")
            if job["state"] in ("succeeded", "warning", "failed", "cancelled"):
                break
            time.sleep(0.2)
        if job["state"] not in expected:
            raise SystemExit(f"{job['type']} of {job['title']} is {job['state']}: {job['reason']}\n{self.log(job)}")
        return job

    def log(self, job: dict[str, Any]) -> str:
        """Return a job's log as text."""
        lines = self.call("GET", f"/api/jobs/{job['id']}/log")["items"]
        return "\n".join(f"    {line['level']:8} {line['source']:7} {line['message']}" for line in lines)

    def _token(self) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "/setup#" in line:
                self.link = line.strip()
            if line.startswith("  bf_"):
                threading.Thread(target=self.process.stdout.read, daemon=True).start()
                return line.strip()
        raise SystemExit(f"borgfleet did not start; see {self.directory / 'borgfleet.log'}")


def say(text: str) -> None:
    """Print a line of the story."""
    print(text, flush=True)


def size(value: int) -> str:
    """Return bytes for people."""
    return f"{value / 1024**2:.1f} MiB"


def set_up(demo: Demo) -> dict[str, dict[str, Any]]:
    """Add two servers: see the host key, approve it, set up; a second set-up changes nothing."""
    fleet_key = demo.call("GET", "/api/fleet-key")["public_key"]
    added: dict[str, dict[str, Any]] = {}
    for name, sshd in demo.servers.items():
        sshd.authorize(fleet_key)
        body = {"name": name, "host": "127.0.0.1", "port": sshd.port, "username": login_user()}
        server = demo.call("POST", "/api/servers", body)
        job = demo.finished(demo.call("POST", f"/api/servers/{server['id']}/setup"), ("failed",))
        shown = demo.call("GET", f"/api/servers/{server['id']}")["offered_fingerprint"]
        if job["code"] != "host_key_unknown" or shown != sshd.fingerprint():
            raise SystemExit(f"{name}: an unapproved host key was not refused: {job}")
        say(f"  {name}: unknown host key refused; {shown} compared with the server's own and approved")
        demo.call("POST", f"/api/servers/{server['id']}/host-key", {"fingerprint": shown})
        job = demo.finished(demo.call("POST", f"/api/servers/{server['id']}/setup"))
        say(f"  {name}: {job['result']['facts']['os_name']}, borg {job['result']['facts']['borg_version']}, "
            f"changed: {', '.join(job['result']['changed'])}")  # fmt: skip
        again = demo.finished(demo.call("POST", f"/api/servers/{server['id']}/setup"))
        if again["result"]["changed"]:
            raise SystemExit(f"{name}: a second set-up changed {again['result']['changed']}")
        added[name] = server
    say("  a second set-up of each changed nothing")
    return added


def collect_statistics(demo: Demo) -> None:
    """Look at how both servers fare; every figure that every Linux has must be there."""
    job = demo.finished(demo.call("POST", "/api/collect-stats", {}))
    if job["result"]["collected"] != len(demo.servers):
        raise SystemExit(f"not every server answered: {job['result']}")
    for server in demo.call("GET", "/api/servers")["items"]:
        sample = server["status"]["sample"]
        unknown = [name for name in ALWAYS_KNOWN if sample[name] is None]
        if unknown:
            raise SystemExit(f"{server['name']}: unknown: {', '.join(unknown)}")
        say(f"  {server['name']}: {sample['os_distribution']} {sample['os_version']}, {sample['cpu_cores']} cores at "
            f"{sample['cpu_usage_percent']:.0f} %, memory {sample['memory_percent']:.0f} %, "
            f"/ {sample['disk_percent']:.0f} % of {sample['disk_total_gb']:.0f} GiB, up {sample['uptime_human']}")  # fmt: skip
        now = demo.call("GET", f"/api/servers/{server['id']}/stats?step=60")["points"]
        if not now:
            raise SystemExit(f"{server['name']}: its history is empty")


def back_up(demo: Demo, servers: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Back real directories up, over both transports; run each twice to see deduplication."""
    pool = demo.call("POST", "/api/storage-pools", {"name": "main", "path": str(demo.pool)})
    stdlib = sysconfig.get_paths()["stdlib"]
    wanted = {
        "alpha-system": ("alpha", "system", "tunnel", ["/etc"]),
        "alpha-python": ("alpha", "python", "direct", [stdlib]),
        "beta-checkout": ("beta", "checkout", "direct", [str(CHECKOUT)]),
    }
    backup_jobs: dict[str, dict[str, Any]] = {}
    for name, (server, repository, transport, sources) in wanted.items():
        made = demo.call("POST", "/api/repositories",
                         {"name": repository, "server_id": servers[server]["id"], "pool_id": pool["id"]})  # fmt: skip
        body = {
            "name": name, "server_id": servers[server]["id"], "repository_id": made["id"], "sources": sources,
            "transport": transport, "excludes": ["sh:**/__pycache__", "sh:**/.venv", "sh:**/.venv-*", "sh:**/site-packages", "sh:**/node_modules"],
        }  # fmt: skip
        backup_jobs[name] = demo.call("POST", "/api/backup-jobs", body)
    for round_ in ("first", "second"):
        say(f"  {round_} run:")
        for name, definition in backup_jobs.items():
            job = demo.finished(demo.call("POST", f"/api/backup-jobs/{definition['id']}/run"))
            result, mark = job["result"], "" if job["state"] == "succeeded" else f" ({'; '.join(job['warnings'])})"
            say(f"    {name:14} {definition['transport']:7} {result['files']:6} files, "
                f"{size(result['original_size']):>10}, new {size(result['deduplicated_size']):>10}  "
                f"{job['state']}{mark}")  # fmt: skip
            if round_ == "second" and result["deduplicated_size"] > result["original_size"] / 10:
                raise SystemExit(f"{name}: the second run was not deduplicated")
    return backup_jobs


def delete_one(demo: Demo, backup_job: dict[str, Any]) -> None:
    """Delete the older archive of a backup job; a held one refuses."""
    backups = demo.call("GET", f"/api/backups?backup_job_id={backup_job['id']}")["items"]
    oldest = backups[-1]
    demo.call("PUT", f"/api/backups/{oldest['id']}/hold", {"reason": "demo"})
    refused = demo.http.delete(f"/api/backups/{oldest['id']}")
    if refused.status_code != 409:
        raise SystemExit(f"a held backup was not refused: {refused.status_code}")
    demo.call("DELETE", f"/api/backups/{oldest['id']}/hold")
    demo.finished(demo.call("DELETE", f"/api/backups/{oldest['id']}"))
    left = demo.call("GET", f"/api/backups?backup_job_id={backup_job['id']}")["items"]
    if [backup["id"] for backup in left] != [backup["id"] for backup in backups[:-1]]:
        raise SystemExit("the deleted backup is still listed")
    say(f"  {oldest['title']}: {oldest['name']} refused while held, then deleted and compacted")


def far_from_now() -> str:
    """Return a time of day in Paris: a run of its own amid the demo would be one archive more than the demo counts."""
    return f"{datetime.now(ZoneInfo('Europe/Paris')) + timedelta(hours=12):%H:30}"


def schedule_and_prune(demo: Demo, backup_job: dict[str, Any]) -> None:
    """Let a backup job run by itself; show what a retention would do, then let it do that."""
    when = {"kind": "weekly", "days": [1, 2, 3, 4, 5], "times": [far_from_now()], "zone": "Europe/Paris"}
    path = f"/api/backup-jobs/{backup_job['id']}"
    (schedule,) = demo.call("PATCH", path, {"schedules": [{"when": when}]})["schedules"]
    say(f"  {backup_job['name']}: {schedule['words']}; next:")
    for run in schedule["next_runs"]:
        say(f"    {run}")
    repository = f"/api/repositories/{backup_job['repository_id']}"
    preview = demo.call("POST", f"{repository}/retention/preview", {"keep_last": 1})
    say(f"  keeping the last one of {len(preview['backups'])} would do this:")
    for backup in preview["backups"]:
        say(f"    {backup['name'][:40]}…  {backup['kept_by'] or 'goes'}")
    demo.call("PUT", repository, {"retention": {"keep_last": 1}})
    pruned = demo.finished(demo.call("POST", f"{repository}/prune", {}))["result"]
    if pruned != {"deleted": preview["dropped"], "kept": preview["kept"]} or pruned["deleted"] != 1:
        raise SystemExit(f"the prune did something else than its preview said: {pruned}")
    say("  pruned and compacted, as previewed")


def empty_and_accept(demo: Demo, server: dict[str, Any]) -> None:
    """Empty one of two sources: its runs are yellow, and stay yellow, until somebody accepts what is there."""
    kept, mail, aside = (demo.directory / name for name in ("kept", "mail", "aside"))
    for directory in (kept, mail):
        directory.mkdir()
        for number in range(20):
            (directory / f"message{number}").write_text(f"{directory.name} {number}\n")
    (pool,) = demo.call("GET", "/api/storage-pools")["items"]
    made = {"name": "mail", "server_id": server["id"], "pool_id": pool["id"]}
    repository = demo.call("POST", "/api/repositories", made)
    body = {"name": "alpha-mail", "server_id": server["id"], "repository_id": repository["id"],
            "sources": [str(kept), str(mail)]}  # fmt: skip
    run = f"/api/backup-jobs/{demo.call('POST', '/api/backup-jobs', body)['id']}/run"
    demo.finished(demo.call("POST", run), ("succeeded",))
    mail.rename(aside)
    mail.mkdir()
    first, second = (demo.finished(demo.call("POST", run), ("warning",)) for _ in range(2))
    if first["warnings"] != second["warnings"]:
        raise SystemExit(f"the source stayed empty, and something else was said of it: {second['warnings']}")
    say(f"  {str(first['warnings'][0]).replace(str(demo.directory), '')}")
    backup = demo.call("GET", "/api/backups?trust=doubtful")["items"][0]
    demo.call("POST", f"/api/backups/{backup['id']}/accept", {"reason": "the mail moved to another server"})
    demo.finished(demo.call("POST", run), ("succeeded",))
    say("  yellow twice, and green once it was accepted")
    mail.rmdir()
    aside.rename(mail)


def verify(demo: Demo, backup_job: dict[str, Any]) -> None:
    """Let Borgfleet read all that a repository holds, and let it do that each Sunday."""
    repository = f"/api/repositories/{backup_job['repository_id']}"
    checked = demo.finished(demo.call("POST", f"{repository}/check", {"depth": "data"}))["result"]
    if (checked["finished"], checked["damaged"]) != (True, 0) or checked["read"] < 1:
        raise SystemExit(f"the check did not find the repository sound: {checked}")
    weekly = {"kind": "weekly", "days": [7], "times": [far_from_now()], "zone": "Europe/Paris"}
    options = {"depth": "data", "budget_seconds": 7200}
    wanted = {"schedules": [{"task": "check", "when": weekly, "check": options}], "retention": {"keep_last": 1}}
    (schedule,) = demo.call("PUT", repository, wanted)["schedules"]
    say(f"  {checked['read']} backups read in full, all sound; again: {schedule['words']}")


def tell(demo: Demo) -> None:
    """Run the whole story."""
    started = time.monotonic()
    say("Starting Borgfleet (one process, its own nats-server, SQLite) and two servers")
    demo.start()
    say(f"  the web UI and the API are at {demo.url}")
    say("Setting the servers up")
    servers = set_up(demo)
    say("Collecting statistics")
    collect_statistics(demo)
    say("Backing up")
    backup_jobs = back_up(demo, servers)
    say("Deleting a backup")
    delete_one(demo, backup_jobs["alpha-system"])
    say("Scheduling a backup job and pruning by a retention")
    schedule_and_prune(demo, backup_jobs["alpha-python"])
    say("Emptying a source by accident")
    empty_and_accept(demo, servers["alpha"])
    say("Verifying a repository")
    verify(demo, backup_jobs["alpha-python"])
    say("Restoring")
    for line in chain(list_and_restore(demo, backup_jobs), prove(demo, backup_jobs)):
        say(line)
    say("Checking every archive from outside, with plain borg")
    for line in check_from_outside(demo):
        say(line)
    say(f"All held, after {time.monotonic() - started:.0f} seconds.")


def end_by_signal(_number: int, _frame: object) -> None:
    """End as Ctrl-C would, so that everything this demo started is ended too."""
    sys.exit(143)


def main() -> None:
    """Run once, or stay up until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end when the story is told; status 0 only if all held")
    once = parser.parse_args().once
    signal.signal(signal.SIGTERM, end_by_signal)
    with tempfile.TemporaryDirectory(prefix="borgfleet-demo-") as directory:
        demo = Demo(Path(directory))
        try:
            tell(demo)
            if not once:
                say(f"\nBorgfleet stays up until Ctrl-C. Open this link in a browser to become its first administrator:\n"
                    f"  {demo.link}\n"
                    f"Try, in another terminal:\n"
                    f"  export BORGFLEET_URL={demo.url} BORGFLEET_TOKEN={demo.token}\n"
                    f"  {BORGFLEET} backup list\n  {BORGFLEET} job run alpha-system")  # fmt: skip
                signal.pause()
        except KeyboardInterrupt:
            say("stopping")
        except SystemExit:
            keep = Path(tempfile.gettempdir()) / "borgfleet-demo.log"
            if (log := Path(directory) / "borgfleet.log").exists():
                keep.write_text(log.read_text())
                say(f"the log of Borgfleet is kept at {keep}")
            raise
        finally:
            demo.stop()


if __name__ == "__main__":
    main()
