"""What must hold after every fault (I1 to I8 of the test plan in docs/operations/faults.md)."""

from __future__ import annotations

import asyncio
import contextlib
import filecmp
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import nats
import psutil

from tests.harness.fleet import Fleet, until
from tests.harness.patience import WAIT


def assert_invariants(fleet: Fleet, definition: dict[str, Any], *, extract: bool = True) -> None:
    """Check a backup job's world at rest."""
    no_job_vanished(fleet)
    records_match_repository(fleet, definition)
    if extract:
        successes_extract(fleet, definition)
    no_orphans(fleet)
    nothing_in_flight(fleet)
    fleet.borg(definition, "check", "{repo}")


def no_job_vanished(fleet: Fleet) -> None:
    """I1: every accepted run ends, and so does what follows it by itself: a prune, the proof of what it wrote."""

    def unfinished() -> list[str]:
        return [f"{job['type']} of {job['title']}: {job['state']}" for job in fleet.unfinished()]

    until(lambda: not unfinished(), lambda: f"everything ends; not: {unfinished()}")


def records_match_repository(fleet: Fleet, definition: dict[str, Any]) -> None:
    """I3: the database lists exactly the archives that borg lists."""
    recorded = {backup["borg_id"]: backup["name"] for backup in fleet.backups(definition)}
    assert recorded == fleet.listed(definition)


def successes_extract(fleet: Fleet, definition: dict[str, Any]) -> None:
    """I4: what is called a success extracts, byte for byte."""
    for backup in fleet.backups(definition):
        if backup["state"] == "succeeded":
            assert extracted(fleet, definition, backup) > 0


def extracted(fleet: Fleet, definition: dict[str, Any], backup: dict[str, Any]) -> int:
    """Extract with plain borg and compare with the source; return the number of files."""
    count = 0
    with tempfile.TemporaryDirectory(dir=fleet.directory) as target:
        fleet.borg(definition, "extract", f"{{repo}}::{backup['name']}", cwd=Path(target))
        for file in Path(target).rglob("*"):
            source = Path("/") / file.relative_to(target)
            if file.is_file() and not file.is_symlink():
                assert filecmp.cmp(file, source, shallow=False), f"{source} differs"
                count += 1
    return count


def no_orphans(fleet: Fleet) -> None:
    """I5: no borg and no leash is left on the server or on the node."""
    pool = str(fleet.pool_path)

    def gone() -> bool:
        return not [p for p in fleet.processes(pool) if _name(p) in ("borg", "ssh", "sh")]

    until(gone, f"no orphans; left: {[_line(p) for p in fleet.processes(pool)]}")


def nothing_in_flight(fleet: Fleet) -> None:
    """I7: the outbox is empty and the work queue too."""
    name = fleet.database_url.rsplit("/", 1)[1]
    until(lambda: fleet.maria.sql("SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL", name).strip() == "0",
          "the outbox is empty")  # fmt: skip

    until(lambda: not queued(fleet), lambda: f"the work queue is empty; left: {queued(fleet)}")


def queued(fleet: Fleet) -> dict[str, int]:
    """Return what the work queue holds: subject -> messages."""

    async def ask() -> dict[str, int]:
        client = await nats.connect(list(fleet.nats.urls))
        info = await client.jetstream(timeout=WAIT).stream_info("JOBS", subjects_filter=">")
        await client.close()
        return info.state.subjects or {}

    return asyncio.run(ask())


class OneWriter:
    """I2: watches all the time that no repository ever has two serving or writing borgs of ours."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.worst: Counter[str] = Counter()
        self.samples = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self.samples > 0
        assert all(count <= 1 for count in self.worst.values()), f"two writers: {self.worst}"

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            now: Counter[str] = Counter()
            for process in psutil.process_iter(["cmdline"]):
                line = process.info["cmdline"] or []
                # The interpreter that runs `borg serve`, not the shell that guards it.
                ours = "--restrict-to-repository" in line and line[-1].startswith(f"{self._fleet.directory}/")
                if ours and "guard.sh" not in " ".join(line):
                    now[line[-1]] += 1
            self.worst |= now
            self.samples += 1


def secrets_are_nowhere(fleet: Fleet, secrets: list[str]) -> None:
    """I6: no secret in a log, a stored message or the database."""
    texts: dict[str, bytes] = {}
    for file in (*fleet.directory.glob("*.log"), *_messages(fleet), fleet.directory / "nats" / "nats.log"):
        with contextlib.suppress(FileNotFoundError):  # nats-server deletes what is acknowledged
            texts[str(file)] = file.read_bytes()
    texts["database"] = fleet.maria.dump(fleet.database_url.rsplit("/", 1)[1]).encode()
    argv = (" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    texts["argv"] = "\n".join(argv).encode(errors="surrogateescape")  # of the whole machine: not all is UTF-8
    for place, content in texts.items():
        for secret in secrets:
            assert secret.encode() not in content, f"a secret stands in {place}"
            assert secret.encode().hex().upper().encode() not in content.upper(), f"a secret stands in hex in {place}"


def _messages(fleet: Fleet) -> Iterator[Path]:
    """Return the files of nats-server's messages; unlike a glob, a walk steps over a directory that goes meanwhile."""
    for directory, _, names in os.walk(fleet.nats.store):
        yield from (Path(directory) / name for name in names if name.endswith(".blk"))


def _name(process: psutil.Process) -> str:
    try:
        line = process.cmdline()
    except psutil.Error:
        return ""
    words = [Path(word).name for word in line[:2]]
    return next((word for word in ("borg", "ssh", "sh") if word in words), "")


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
