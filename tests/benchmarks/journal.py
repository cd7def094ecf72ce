"""What the node's journal costs a run (ADR 50): whole runs with it and without it in turn, its own parts, its reading."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from services.backup import handlers
from services.backup.inventory import proof, reconcile
from shared.borg import journal
from shared.bus.memory import MemoryBus
from shared.db.migrations import migrate
from shared.db.session import Database
from shared.db.tables import BackupJob
from shared.events.streams import STREAMS
from shared.secrets.envelope import KeyRing
from shared.ssh.asyncssh import new_key_pair
from shared.testing.sshd import PrivateSshd
from tests.integration.backup.yard import SERVERS_BORG, Yard, files

PLACES = (
    (proof, "catch_up"),
    (proof, "remember_standing"),
    (handlers, "remember_made"),
    (reconcile, "settle_deletions"),
)
SIZES = (100, 1000, 4000)


def measure(say: Callable[[str], None], directory: Path, rounds: int) -> None:
    """Run backups of one small source, which did not change: what a run costs at the least."""
    private, public = new_key_pair("journal")
    tools = directory / "tools"
    tools.mkdir(parents=True)
    (tools / "borg").symlink_to(SERVERS_BORG)
    sshd = PrivateSshd(directory / "sshd", environment={"PATH": f"{tools}:{os.environ['PATH']}"})
    sshd.start()
    sshd.authorize(public)
    migrate(f"sqlite+aiosqlite:///{directory / 'yard.db'}")
    try:
        asyncio.run(_rounds(say, directory, sshd, private, rounds))
    finally:
        sshd.stop()
    _reading(say, directory)


async def _rounds(say: Callable[[str], None], directory: Path, sshd: PrivateSshd, private: str, rounds: int) -> None:
    db = Database(f"sqlite+aiosqlite:///{directory / 'yard.db'}", key_ring=KeyRing([bytes(32)]))
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    yard = Yard(directory / "node", db, bus, sshd, directory / "tools")
    await yard.build(private)
    definition = await yard.backup_job(files(directory / "data", 100, 2000))
    await yard.run(definition, "succeeded")
    found: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        await _one(yard, definition, found, "without", _without())
        await _one(yard, definition, found, "with", _timed(found))
    say(f"| a run of 100 unchanged files, {rounds} pairs | without | with |\n|---|---|---|")
    for what, unit in (("wall", "ms"), ("our process's CPU", "ms"), ("fsyncs of our process", "")):
        shown = (f"{statistics.median(found[f'{way} {what}']):.0f} {unit}".rstrip() for way in ("without", "with"))
        say(f"| {what}, p50 | {' | '.join(shown)} |")
    own = sorted(found["journal"])
    say(f"| of that in the journal's parts, p50, worst | | {statistics.median(own):.0f} ms, {own[-1]:.0f} ms |")
    (file,) = (yard.directory / "state" / "journals").iterdir()
    say(f"| added to the journal | | {file.stat().st_size / (rounds + 1) / 1024:.1f} KiB |\n")
    shutil.copy(file, directory / "journal.jsonl")
    await bus.close()
    await db.close()


async def _one(
    yard: Yard,
    definition: BackupJob,
    found: dict[str, list[float]],
    way: str,
    manner: contextlib.AbstractContextManager[None],
) -> None:
    syncs = 0
    fsync = os.fsync

    def counted(handle: int) -> None:
        nonlocal syncs
        syncs += 1
        fsync(handle)

    with manner, patch.object(os, "fsync", counted):
        began, cpu = time.perf_counter(), time.process_time()
        await yard.run(definition, "succeeded")
        found[f"{way} wall"].append((time.perf_counter() - began) * 1000)
        found[f"{way} our process's CPU"].append((time.process_time() - cpu) * 1000)
    found[f"{way} fsyncs of our process"].append(syncs)


@contextlib.contextmanager
def _without() -> Iterator[None]:
    """Let nothing read or write the journal."""

    async def nothing(*_: Any) -> bool:
        return True

    @contextlib.asynccontextmanager
    async def open_ended(*_: Any) -> AsyncGenerator[None]:
        yield

    with contextlib.ExitStack() as stack:
        for module, name in PLACES:
            stack.enter_context(patch.object(module, name, nothing))
        stack.enter_context(patch.object(handlers, "journaled", open_ended))
        yield


@contextlib.contextmanager
def _timed(found: dict[str, list[float]]) -> Iterator[None]:
    """Add up what the journal's parts take of a run."""
    spent = 0.0

    def timed(work: Any) -> Any:
        async def run(*given: Any) -> Any:
            nonlocal spent
            began = time.perf_counter()
            try:
                return await work(*given)
            finally:
                spent += time.perf_counter() - began

        return run

    with contextlib.ExitStack() as stack:
        for module, name in PLACES:
            stack.enter_context(patch.object(module, name, timed(getattr(module, name))))
        # Where the run ends: the last time that the row's standing is kept.
        past = handlers.journaled.__wrapped__.__globals__
        stack.enter_context(patch.dict(past, {"remember_standing": timed(past["remember_standing"])}))
        yield
    found["journal"].append(spent * 1000)


def _reading(say: Callable[[str], None], directory: Path) -> None:
    """Read journals of many archives: what each run does once, and twice where something was deleted."""
    made = next(line for line in (directory / "journal.jsonl").read_text().splitlines() if '"made"' in line)
    say("| a journal of so many archives | size | read, CPU, least of 5 |\n|---|---|---|")
    for count in SIZES:
        file = directory / f"read{count}.jsonl"
        borg_id = json.loads(made)["made"]["figures"]["borg_id"]
        file.write_text("".join(f"{made.replace(borg_id, f'{number:064x}')}\n" for number in range(count)))
        seconds = list[float]()
        for _ in range(5):
            began = time.process_time()
            journal.read(file)
            seconds.append(time.process_time() - began)
        say(f"| {count} | {file.stat().st_size / 1024:.0f} KiB | {min(seconds) * 1000:.1f} ms |")
    say("")
