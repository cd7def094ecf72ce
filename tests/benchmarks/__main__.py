"""Measures and prints; asserts no absolute time. `python -m tests.benchmarks [--quick] > docs/benchmarks.md`.

Ceiling and product run in turn on the same machine; medians, worst and ratios are reported.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from sqlalchemy import func, select

from shared.db.session import Database
from shared.db.tables import Job, OutboxRow
from shared.secrets.envelope import load_key_ring
from tests.benchmarks import fence, journal, probe, schedules, sweep
from tests.harness.fleet import BIN, Fleet, until
from tests.harness.idle_worker import start_idle_worker
from tests.harness.mariadb import MariaServer

ROOT = Path(__file__).resolve().parents[2]
POSTS_A_SECOND = 50


def say(text: str = "") -> None:
    print(text, flush=True)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def median_worst(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s (worst {max(values):.2f})"


@contextmanager
def a_fleet(directory: Path) -> Iterator[Fleet]:
    maria = MariaServer(directory / "maria").start()
    fleet = Fleet(directory / "fleet", maria)
    fleet.environment |= {
        "BORGFLEET_WORKER__ACK_WAIT": "30", "BORGFLEET_WORKER__REAP_EVERY": "2", "BORGFLEET_WORKER__LOST_AFTER": "30",
        "BORGFLEET_WORKER__CANCEL_POLL": "1", "BORGFLEET_LOG__LEVEL": "warning",
    }  # fmt: skip
    try:
        yield fleet.start()
    finally:
        fleet.stop()
        maria.stop()


def make_files(directory: Path, count: int, size: int) -> None:
    for number in range(count):
        file = directory / f"{number // 500:03}" / f"{number % 500:03}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(size // 2) + bytes(size // 2))


# -- orchestrated backup against raw borg -----------------------------------------------------------------


class Cost(NamedTuple):
    wall: float
    cpu: float


def raw_borg(fleet: Fleet, directory: Path, source: Path, number: int, repository: Path) -> Cost:
    """The same borg over the same kind of SSH connection, by hand: client -> sshd -> borg serve."""
    key = fleet.server.home / ".ssh" / "bench"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        authorized = fleet.server.home / ".ssh" / "authorized_keys"
        authorized.write_text(authorized.read_text() + key.with_suffix(".pub").read_text())
    environment = os.environ | {
        "BORG_PASSPHRASE": "bench", "BORG_BASE_DIR": str(directory / "raw-base"), "HOME": str(fleet.server.home),
        "BORG_RSH": f"ssh -F none -i {key} -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oLogLevel=ERROR"
                    " -oKexAlgorithms=curve25519-sha256",
        "BORG_REMOTE_PATH": str(BIN / "borg"),
    }  # fmt: skip
    url = f"ssh://root@127.0.0.1:{fleet.server.port}{repository}"
    if not repository.exists():
        subprocess.run(["borg", "init", "-e", "repokey-blake2", url], env=environment, check=True, capture_output=True)
    argv = ["borg", "create", "--json", "--log-json", "--progress", "--compression=zstd,3", "--exclude-caches",
            f"{url}::a{number}", str(source)]  # fmt: skip
    return cost(lambda: subprocess.run(argv, env=environment, check=True, capture_output=True))


def backups(fleet: Fleet, directory: Path, *, files: int, pairs: int) -> None:
    source, seed = directory / "source", directory / "seed"
    make_files(source, files, 3600)
    make_files(seed, 1, 10)
    opening: list[Cost] = []
    first: dict[str, list[Cost]] = {"raw": [], "direct": [], "tunnel": []}
    again: dict[str, list[Cost]] = {"raw": [], "direct": [], "tunnel": []}
    for pair in range(pairs):
        repository = directory / f"raw-repo{pair}"
        first["raw"].append(raw_borg(fleet, directory, source, 0, repository))
        again["raw"].append(raw_borg(fleet, directory, source, 1, repository))
        for transport in ("direct", "tunnel"):
            empty = fleet.backup_job([seed], transport=transport)
            opening.append(run_time(fleet, empty))
            definition = fleet.backup_job([source], transport=transport, repository_id=empty["repository_id"])
            for times in (first, again):
                times[transport].append(run_time(fleet, definition))
        note(f"backup pair {pair + 1} of {pairs}")
    say(
        f"## Orchestrated backup against raw borg\n\n{files} files of 3.6 kB, zstd 3, the server's Debian borg, {pairs} pairs."
    )
    say("From POST to the job's end, verification in the repository included; raw is `borg create` over SSH alone.")
    say("CPU is the whole machine's, on which nothing else runs.\n")
    say("| | new data | unchanged data |\n|---|---|---|")
    for name in first:
        cells = []
        for times in (first, again):
            (wall, cpu), (raw_wall, raw_cpu) = median_cost(times[name]), median_cost(times["raw"])
            ratios = "" if name == "raw" else f", {wall / raw_wall:.2f} x, {wall - raw_wall:+.2f} s"
            beside = f"; CPU {cpu:.1f} s" + ("" if name == "raw" else f", {cpu / raw_cpu:.2f} x")
            cells.append(median_worst([one.wall for one in times[name]]) + ratios + beside)
        say(f"| {name} | {cells[0]} | {cells[1]} |")
    say(
        f"\nThe repositories were there, the raw ones too. A first run of one file, its repository made: {median_worst([one.wall for one in opening])}.\n"
    )


def run_time(fleet: Fleet, definition: dict[str, Any]) -> Cost:
    """From the POST to the end that the job itself notes: each question costs CPU too, so few are asked."""
    began = time.time()
    ended: dict[str, Any] = {}

    def whole() -> None:
        ended.update(fleet.run(definition))
        while ended["state"] in ("queued", "running"):
            time.sleep(0.5)
            ended.update(fleet.job(ended))

    spent = cost(whole)
    # One machine, one clock: the database's and ours are the same.
    return Cost(datetime.fromisoformat(ended["finished_at"]).timestamp() - began, spent.cpu)


def cost(work: Callable[[], object]) -> Cost:
    """What it takes in seconds: on the clock, and of the whole machine's processors."""
    started, busy = time.monotonic(), _busy()
    work()
    return Cost(time.monotonic() - started, _busy() - busy)


def median_cost(costs: list[Cost]) -> Cost:
    return Cost(statistics.median(one.wall for one in costs), statistics.median(one.cpu for one in costs))


def _busy() -> float:
    times = psutil.cpu_times()
    return times.user + times.nice + times.system


# -- dispatch and throughput ------------------------------------------------------------------------------


def dispatch(fleet: Fleet, *, count: int, seconds: int) -> None:
    """From just before the POST to the claim, which the database stamps (one machine, one clock)."""
    pool = fleet.post("/api/storage-pools", {"name": "bench", "path": "/bench", "node": "bench"})
    body = {"name": "bench", "server_id": fleet.host["id"], "pool_id": pool["id"]}
    repository = fleet.post("/api/repositories", body)
    definition = fleet.backup_job(["/etc"], repository_id=repository["id"])
    worker = start_idle_worker(fleet, "bench")
    fleet.finished(fleet.run(definition), "succeeded")

    def posted() -> tuple[float, dict[str, Any]]:
        at = time.time()
        return at, fleet.run(definition)

    def delay(run: tuple[float, dict[str, Any]]) -> float:
        ended = fleet.finished(run[1], "succeeded")
        return (datetime.fromisoformat(ended["started_at"]).timestamp() - run[0]) * 1000

    alone = [delay(posted()) for _ in range(count)]
    with ThreadPoolExecutor(16) as hands:
        waiting = []
        begin = time.monotonic()
        for number in range(seconds * POSTS_A_SECOND):
            time.sleep(max(0.0, begin + number / POSTS_A_SECOND - time.monotonic()))
            waiting.append(hands.submit(posted))
        crowded = [delay(one.result()) for one in waiting]
    worker.terminate()
    worker.wait()
    say("## Dispatch\n\nFrom just before `POST /api/backup-jobs/{id}/run` to a worker's claim in the database.\n\n"
        f"{count} jobs one after the other: {_spread(alone)}.\n"
        f"{POSTS_A_SECOND} a second, {len(crowded)} jobs, the worker and those who post on the same cores: "
        f"{_spread(crowded)}.\n")  # fmt: skip


def _spread(delays: list[float]) -> str:
    ranked = sorted(delays)
    p99 = ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))]
    return f"p50 {statistics.median(ranked):.1f} ms, p99 {p99:.1f} ms, worst {ranked[-1]:.1f} ms"


def throughput(fleet: Fleet, *, jobs: int) -> None:
    """Jobs that do nothing, through claim, state, outbox and acknowledgement; one kill -9 in the middle."""
    settings = fleet.settings()
    url = settings.database_url()

    async def with_db(work: Any) -> Any:
        db = Database(url, key_ring=load_key_ring(settings.master_key_path))
        try:
            return await work(db)
        finally:
            await db.close()

    async def fill(db: Database) -> None:
        for start in range(0, jobs, 500):

            async def batch(tx: Any, start: int = start) -> None:
                for _ in range(start, min(start + 500, jobs)):
                    await tx.jobs.enqueue(Job(type="backup_create", node="bench", title="noop"))

            await db.run(batch)

    async def counts(db: Database) -> dict[str, int]:
        async with db.read() as session:
            query = select(Job.state, func.count()).where(Job.node == "bench").group_by(Job.state)
            return {row[0]: row[1] for row in await session.execute(query)}

    async def doubled(db: Database) -> int:
        async with db.read() as session:
            return await session.scalar(select(func.count()).where(Job.node == "bench", Job.attempt > 1)) or 0

    async def unsent(db: Database) -> int:
        async with db.read() as session:
            return (
                await session.scalar(select(func.count()).select_from(OutboxRow).where(OutboxRow.sent_at.is_(None)))
                or 0
            )

    before = asyncio.run(with_db(counts)).get("succeeded", 0)
    asyncio.run(with_db(fill))
    note("queue filled")
    until(lambda: asyncio.run(with_db(unsent)) == 0, "all messages are out", 600)

    worker = start_idle_worker(fleet, "bench")

    def done() -> int:
        time.sleep(0.5)  # counting costs the database too
        return asyncio.run(with_db(counts)).get("succeeded", 0) - before

    until(lambda: done() > jobs * 0.1, "it runs", 600)
    first, at = done(), time.monotonic()
    until(lambda: done() > jobs * 0.5, "half", 600)
    rate = (done() - first) / (time.monotonic() - at)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker = start_idle_worker(fleet, "bench")
    until(lambda: done() == jobs, "all are done", 900)
    worker.terminate()
    worker.wait()
    again = asyncio.run(with_db(doubled))
    say(f"## Jobs through the kernel\n\n{jobs} jobs that do nothing, one worker process, MariaDB, JetStream with "
        f"`sync_interval: always`: {rate:.0f} jobs/s between the first tenth and the half.\nThen kill -9 and a new worker: "
        f"{jobs} of {jobs} succeeded, none lost; {again} were under way at the kill and were taken again.\n")  # fmt: skip


# -- memory and first backup ------------------------------------------------------------------------------


def memory(fleet: Fleet, directory: Path) -> None:
    say("## Memory, idle\n\nResident set after a minute without work.\n\n| process | MB |\n|---|---|")
    time.sleep(60)
    for name, service in fleet.services.items():
        say(f"| {name} | {psutil.Process(service.process.pid).memory_info().rss / 1e6:.0f} |")
    alone = subprocess.Popen(
        [str(BIN / "borgfleet"), "up", "--data-dir", str(directory / "alone")],
        env=os.environ | {"BORGFLEET_API__PORT": "0", "BORGFLEET_HEALTH__PORT": "0", "BORGFLEET_BACKUP__ENDPOINT_PORT": "18922"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(60)
    family = [psutil.Process(alone.pid), *psutil.Process(alone.pid).children()]
    own = family[0].memory_info().rss / 1e6
    rest = ", ".join(f"{p.name()} {p.memory_info().rss / 1e6:.0f}" for p in family[1:])
    say(f"| standalone, all services | {own:.0f} (and its children: {rest}) |\n")
    alone.terminate()
    alone.wait()


def first_backup() -> None:
    """With all packages present: everything starts, two servers are set up, three backups, all checked."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/demo.py"), "--once"], capture_output=True, text=True, check=True
    )
    whole = time.monotonic() - started
    say(f"## From nothing to proven backups\n\nPackages present: `scripts/demo --once` took {whole:.0f} s for two set-ups "
        "(each three times), six backups, a deletion, and six archives extracted and compared byte for byte.\n")  # fmt: skip
    note(done.stdout[-300:])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs")
    parser.add_argument("--servers", type=int, default=500)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=100_000)
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(unknown)}")
    if given.quick:
        given.servers, given.files, given.pairs, given.jobs = 40, 2000, 2, 2000
    say("# Benchmarks\n")
    say(f"`python -m tests.benchmarks {' '.join(sys.argv[1:])}`, {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} shared cores "
        f"({platform.machine()}), {psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()}, Python "
        f"{platform.python_version()}. Everything on one machine and loopback: only ratios within one run mean anything elsewhere.\n")  # fmt: skip
    wanted = given.parts or list(PARTS)
    if fleet_parts := [PARTS[part] for part in wanted if part in ON_A_FLEET]:
        with (
            tempfile.TemporaryDirectory(prefix="bfb-", ignore_cleanup_errors=True) as name,
            a_fleet(Path(name)) as fleet,
        ):
            for measure in fleet_parts:
                measure(fleet, Path(name), given)
    for part in wanted:
        if part not in ON_A_FLEET:
            PARTS[part](None, None, given)


def _sweep(fleet: Fleet, _directory: Path, given: argparse.Namespace) -> None:
    sweep.year(fleet)
    sweep.with_dead(fleet, given.servers)
    servers = 20 if given.quick else 200
    sweep.rates(servers, given.pairs)
    sweep.kept_rates(servers, given.pairs)


def _fence(_fleet: None, _directory: None, given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="bfb-", ignore_cleanup_errors=True) as name:
        make_files(Path(name) / "source", given.files, 3600)
        say(
            f"## The fence\n\n`python -m tests.benchmarks fence`: {given.files} files of 3.6 kB, zstd 3, {given.pairs} pairs."
        )
        fence.measure(say, note, Path(name), Path(name) / "source", given.pairs)


def _probe(_fleet: None, _directory: None, _given: argparse.Namespace) -> None:
    say(
        "## A probe of the sources\n\n`python -m tests.benchmarks probe`: what a run asks its server before borg, one command.\n"
    )
    with tempfile.TemporaryDirectory(prefix="bfb-", ignore_cleanup_errors=True) as name:
        probe.measure(say, Path(name), rounds=50)


def _journal(_fleet: None, _directory: None, given: argparse.Namespace) -> None:
    say(
        "## The node's journal\n\n`python -m tests.benchmarks journal`: what it adds to a run, with real sshd and both borgs.\n"
    )
    with tempfile.TemporaryDirectory(prefix="bfb-", ignore_cleanup_errors=True) as name:
        journal.measure(say, Path(name), rounds=2 if given.quick else 14)


def _schedules(_fleet: None, _directory: None, given: argparse.Namespace) -> None:
    schedules.run(say, schedules=2000 if given.quick else 100_000, herd=500 if given.quick else 10_000)


ON_A_FLEET = ("memory", "dispatch", "backups", "throughput", "sweep")
PARTS: dict[str, Callable[..., None]] = {
    "memory": lambda fleet, directory, _: memory(fleet, directory),
    "dispatch": lambda fleet, _, given: dispatch(
        fleet, count=50 if given.quick else 300, seconds=3 if given.quick else 20
    ),
    "backups": lambda fleet, directory, given: backups(fleet, directory, files=given.files, pairs=given.pairs),
    "throughput": lambda fleet, _, given: throughput(fleet, jobs=given.jobs),
    "sweep": _sweep,
    "schedules": _schedules,
    "fence": _fence,
    "probe": _probe,
    "journal": _journal,
    "demo": lambda *_: first_backup(),
}


if __name__ == "__main__":
    main()
