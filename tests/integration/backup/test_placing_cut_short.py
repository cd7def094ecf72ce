"""Placing that was cut short, by a kill or a full disk: nothing is told as untouched, and the undo of a swap stays whole."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from services.backup.restore import server as servers
from shared.db.tables import Job
from tests.integration.backup.test_restore import inside
from tests.integration.backup.test_restore_in_place import changed
from tests.integration.backup.test_undo import Swaps, swaps

__all__ = ["swaps"]

NAMES = ("plain", "suid", "sub")
_MOVED = "            _move(target, name, *aside)\n"
_MAIN = "def main("
_END = '        os.sync()\n        return {"refused"'
_KILL = "            os.kill(os.getpid(), 9)\n"
_FULL_FOR_SUB = """
_rename = os.rename
def _full(name, new, **more):
    if name == "sub":
        raise OSError(28, "No space left on device")
    _rename(name, new, **more)
os.rename = _full
"""


async def attempt(swaps: Swaps, job: Job, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> Job:
    assert servers._PLACER.count(old) == 1
    with monkeypatch.context() as broken:
        broken.setattr(servers, "_PLACER", servers._PLACER.replace(old, new))
        ctx, task = swaps.start(job)
        await swaps.yard.dispose(ctx, task, job)
    return await swaps.yard.job(job)


async def begun(swaps: Swaps, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A swap whose first attempt was killed when it had set its first item aside."""
    swaps.before = changed(swaps)
    job = await swaps.request(*[inside(swaps) + b"/" + name.encode() for name in NAMES], mode="swap")
    assert (await attempt(swaps, job, monkeypatch, _MOVED, _MOVED + _KILL)).state == "queued"
    return job


def staging(swaps: Swaps, job: Job) -> Path:
    return swaps.data / f".borgfleet-restore-{job.id.hex}"


async def test_a_disk_that_is_full_at_the_second_attempt_leaves_an_undo_of_all_that_was_swapped(
    swaps: Swaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await begun(swaps, monkeypatch)
    ended = await attempt(swaps, job, monkeypatch, _MAIN, _FULL_FOR_SUB + _MAIN)
    assert (ended.state, ended.result["refused"]) == ("warning", [{"path": "sub", "code": "no_room"}])
    assert "sub (no_room)" in ended.warnings[0]
    assert len(ended.result["undo"]["items"]) == 2
    await swaps.undone(ended)
    swaps.is_as_before()


async def test_an_end_that_told_nothing_is_not_told_as_nothing_placed_and_a_retry_goes_on(
    swaps: Swaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await begun(swaps, monkeypatch)
    failed = await attempt(
        swaps, job, monkeypatch, _END, '        raise OSError(28, "No space left on device")\n' + _END
    )
    assert (failed.state, failed.code) == ("failed", "target_full")
    assert "nothing was placed" not in (failed.reason or "")
    assert (staging(swaps, job) / "swapped").exists()
    assert await swaps.yard.db.run(lambda tx: retried(tx, job))
    ended = await swaps.end(job, "succeeded")
    assert len(ended.result["undo"]["items"]) == len(NAMES)
    assert not staging(swaps, job).exists()
    await swaps.undone(ended)
    swaps.is_as_before()


async def retried(tx: object, job: Job) -> bool:
    jobs = getattr(tx, "jobs")  # noqa: B009 - of any unit of work
    return await jobs.retry(await jobs.get(job.id))


async def test_a_note_that_cannot_be_read_is_named_and_nothing_is_removed(
    swaps: Swaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await begun(swaps, monkeypatch)
    (staging(swaps, job) / "result").write_text('{"files": ')
    ended = await swaps.end(job, "failed")
    assert (ended.code, staging(swaps, job).name in (ended.reason or "")) == ("placed_unreadable", True)
    assert "before-restore" in (ended.remedy or "")
    assert sorted(path.name for path in staging(swaps, job).iterdir()) == [
        "job",
        "placing",
        "result",
        "swapped",
        "tree",
    ]


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., int]:
    """Run the server's script in a directory of its own."""

    def run(verb: str, *more: str, stdin: str = "") -> int:
        command = ["sh", "-c", servers._SCRIPT, "sh", verb, "j", str(tmp_path), ".borgfleet-restore-j", *more]
        return subprocess.run(command, input=stdin, text=True, check=False, capture_output=True).returncode

    return run


@pytest.mark.parametrize("verb", ["put", "place"])
def test_half_of_a_result_is_not_kept_and_nothing_begins(script: Callable[..., int], tmp_path: Path, verb: str) -> None:
    told, made = json.dumps({"files": 1}), tmp_path / ".borgfleet-restore-j"
    assert script("stage") == 0
    more = ("import os; os.mkdir('begun')", "-") if verb == "put" else ("",)
    assert script(verb, *more, str(len(told)), stdin=told[:-3]) == 1
    assert not (made / "result").exists()
    assert not (made / "placing").exists()
    assert not (made / "begun").exists()
    assert script("clean") == 0
    assert not made.exists()


def test_the_result_of_the_attempt_that_began_stays(script: Callable[..., int], tmp_path: Path) -> None:
    told, made = json.dumps({"files": 1}), tmp_path / ".borgfleet-restore-j"
    assert script("stage") == 0
    assert script("put", "open('swapped', 'w')", "-", str(len(told)), stdin=told) == 0
    assert script("put", "", "-", "900", stdin='{"fi') == 0
    assert (made / "result").read_text() == told
    assert script("clean", "unknown") == 0
    assert (made / "tree").is_dir()
    assert script("clean") == 0
    assert not made.exists()
