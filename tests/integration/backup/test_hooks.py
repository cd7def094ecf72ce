"""Hooks on a real server: the post-hook runs whatever ended the run, and what hooks say is kept."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from shared.runtime.context import Abort
from tests.integration.backup.yard import Yard, files


async def test_what_hooks_say_is_in_the_log_and_the_last_complaint_in_the_reason(yard: Yard, tmp_path: Path) -> None:
    """C3; and what they learn from their environment."""
    pre = 'echo "$BORGFLEET_JOB $BORGFLEET_SERVER $BORGFLEET_PHASE [$BORGFLEET_STATUS]"'
    post = (
        'seq 1000; echo "$BORGFLEET_PHASE $BORGFLEET_STATUS $BORGFLEET_RESULT $BORGFLEET_ARCHIVE"; '
        "echo 'mysqldump: Access denied' >&2; echo bye; exit 2"
    )
    definition = await yard.backup_job(files(tmp_path / "srv", 3), pre_hook=pre, post_hook=post)
    job = await yard.run(definition, "warning")
    (archive,) = await yard.archives(definition)
    assert job.warnings == ["the post-hook ended with status 2: mysqldump: Access denied"]
    log = (await yard.log(job)).splitlines()
    for line in ("job web1 pre []", "bye", "1000", f"post 0 succeeded {archive.name}"):
        assert f"info hook {line}" in log
    said = [line for line in log if line.startswith("info hook ")]
    assert "info hook 1" not in log  # only the last lines are kept
    assert len(said) < 220
    failing = await yard.backup_job(tmp_path / "srv", name="failing", pre_hook="echo why >&2; exit 3", post_hook=post)
    job = await yard.run(failing, "failed")
    assert (job.code, job.reason) == (
        "pre_hook_failed", "nothing was backed up: the pre-hook ended with status 3: why",
    )  # fmt: skip


ENDS = {
    "cancelled": ("exec sleep 600", Abort.CANCELLED, "cancelled []"),
    "lease lost": ("exec sleep 600", Abort.LEASE_LOST, "failed []"),
    "borg killed": ("kill -9 $$", None, "failed [137]"),
    "borg failed": ("exit 2", None, "failed [2]"),
}


@pytest.mark.parametrize("how", ENDS)
async def test_the_post_hook_runs_whatever_ended_borg_and_is_told_which(yard: Yard, tmp_path: Path, how: str) -> None:
    """C1; that nobody cancelled is told at a time limit and at a shutdown too, see the unit tests."""
    trace, reading = tmp_path / "trace", tmp_path / "reading"
    borg, reason, told = ENDS[how]
    yard.wrap_borg(f"touch {reading}; {borg}")
    definition = await yard.backup_job(
        files(tmp_path / "srv", 3),
        pre_hook=f"echo pre >>{trace}",
        post_hook=f'echo "post $BORGFLEET_RESULT [$BORGFLEET_STATUS]$BORGFLEET_ARCHIVE" >>{trace}',
    )
    job = await yard.request(definition)
    ctx, task = yard.start(job)
    if reason is not None:
        await yard.until(reading)
        yard.cancel(ctx, task, reason)
    await yard.dispose(ctx, task, job)
    assert trace.read_text().splitlines() == ["pre", f"post {told}"]
    assert await yard.archives(definition) == []


IN_TIME = 20
"""Seconds of a hook that ends by them alone: on a slow machine, too, it says first what the test asks for."""


async def test_a_hook_over_its_time_is_stopped(yard: Yard, tmp_path: Path) -> None:
    hook = f"echo waiting >&2; echo $$ >{tmp_path}/pid; exec sleep 600"
    definition = await yard.backup_job(files(tmp_path / "srv", 3), hook_seconds=IN_TIME, post_hook=hook)
    job = await yard.run(definition, "warning")
    assert job.warnings == [f"the post-hook was stopped after {IN_TIME} seconds: waiting"]
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


async def test_a_child_that_a_hook_leaves_behind_is_not_waited_for(yard: Yard, tmp_path: Path) -> None:
    """C2."""
    hook = f"sleep 300 & echo $! >{tmp_path}/child; echo started"
    definition = await yard.backup_job(files(tmp_path / "srv", 3), hook_seconds=100, pre_hook=hook)
    job = await yard.run(definition, "succeeded")
    assert "info hook started" in await yard.log(job)


async def test_what_a_hook_said_before_it_was_stopped_is_in_the_log_up_to_its_last_word(
    yard: Yard, tmp_path: Path
) -> None:
    """On stdout, and behind the last newline; only stderr was kept."""
    hook = "echo dumping table 17; echo 10%; printf '20%%\\r30%%'; exec sleep 600"
    definition = await yard.backup_job(files(tmp_path / "srv", 3), hook_seconds=IN_TIME, post_hook=hook)
    job = await yard.run(definition, "warning")
    said = [line for line in (await yard.log(job)).splitlines() if line.startswith("info hook ")]
    assert said[:2] == ["info hook dumping table 17", "info hook 10%"]
    assert "info hook 30%" in said[2:]  # beside the shell's own word that it was terminated
    assert not any("20%" in line for line in said)


async def test_what_a_hook_said_before_its_run_was_cancelled_is_in_the_log(yard: Yard, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    hook = f"echo freezing the database; echo waiting for a lock >&2; touch {begun}; exec sleep 600"
    definition = await yard.backup_job(files(tmp_path / "srv", 3), pre_hook=hook, post_hook="true")
    job = await yard.request(definition)
    ctx, task = yard.start(job)
    await yard.until(begun)
    yard.cancel(ctx, task)
    await yard.dispose(ctx, task, job)
    log = await yard.log(job)
    assert "info hook freezing the database" in log
    assert "info hook waiting for a lock" in log


FLOODS = {
    "lines": "head -c 3000000 /dev/zero | tr '\\0' x | fold -w 100",
    "one line": "head -c 3000000 /dev/zero | tr '\\0' x; echo",
    "a line written over": "yes 'copying, 50 percent' | head -c 3000000 | tr '\\n' '\\r'; echo",
    "binary": "head -c 50000000 /dev/urandom; head -c 50000000 /dev/urandom >&2",
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_of_a_hook_that_says_much_the_last_words_are_kept_and_the_run_goes_on(
    yard: Yard, tmp_path: Path, flood: str
) -> None:
    """The first megabyte of stdout was kept; 50 MB of random bytes took a run 228 s; a child holds the outputs open."""
    hook = f"{FLOODS[flood]}; sleep 600 & echo $! >{tmp_path}/child; echo; echo the last words; echo >&2; echo why >&2; exit 2"
    definition = await yard.backup_job(files(tmp_path / "srv", 3), post_hook=hook)
    before = time.process_time()
    job = await yard.run(definition, "warning")
    spent = time.process_time() - before
    assert job.warnings == ["the post-hook ended with status 2: why"]
    log = await yard.log(job)
    assert "info hook the last words" in log
    assert len(log) < 100_000
    assert spent < 60
    await asyncio.create_subprocess_exec("kill", (tmp_path / "child").read_text().strip())


async def test_the_reason_is_the_hooks_last_complaint_and_not_that_it_left_a_process(
    yard: Yard, tmp_path: Path
) -> None:
    hook = f"sleep 600 & echo $! >{tmp_path}/child; echo 'mysqldump: Access denied' >&2; exit 2"
    definition = await yard.backup_job(files(tmp_path / "srv", 3), post_hook=hook)
    job = await yard.run(definition, "warning")
    assert job.warnings == ["the post-hook ended with status 2: mysqldump: Access denied"]
    assert "left a process running in the background" in await yard.log(job)
    await asyncio.create_subprocess_exec("kill", (tmp_path / "child").read_text().strip())


SCRIPTS = {"-x; echo ran": 0, "--version; echo ran": 0, "-c 'exit 9'; exit 5": 5, "exit 201": 201, "exit 202": 202}


@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_hook_is_run_as_it_stands_and_its_status_is_its_own(yard: Yard, tmp_path: Path, script: str) -> None:
    """One that began with a dash was taken for options of the shell; 201 and 202 for ends of our own."""
    definition = await yard.backup_job(files(tmp_path / "srv", 3), post_hook=script)
    job = await yard.run(definition)
    status = SCRIPTS[script]
    assert (job.state, f"post-hook ended with status {status}" in await yard.log(job)) == (
        "warning" if status else "succeeded", True,
    )  # fmt: skip
    assert ("info hook ran" in await yard.log(job)) == (status == 0)


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_a_post_hook_that_fails_without_an_archive_is_told_with_the_job_and_run_first_of_all_next_time(
    yard: Yard, tmp_path: Path, how: str
) -> None:
    """The database stayed frozen, and one line of a log knew of it."""
    trace, reading, thawed = tmp_path / "trace", tmp_path / "reading", tmp_path / "thawed"
    yard.wrap_borg(f"touch {reading}; {'exec sleep 600' if how == 'cancelled' else 'exit 2'}")
    thaw = f"echo post $BORGFLEET_RESULT >>{trace}; [ -e {thawed} ] || {{ echo cannot thaw >&2; exit 3; }}"
    definition = await yard.backup_job(files(tmp_path / "srv", 3), pre_hook=f"echo pre >>{trace}", post_hook=thaw)
    job = await yard.request(definition)
    ctx, task = yard.start(job)
    if how == "cancelled":
        await yard.until(reading)
        yard.cancel(ctx, task)
    await yard.dispose(ctx, task, job)
    ended = await yard.run(definition, how, job=job)  # a failure is tried again first
    assert "the post-hook ended with status 3: cannot thaw" in ended.warnings
    thawed.touch()
    yard.wrap_borg("")
    await yard.run(definition, "succeeded")
    assert trace.read_text().splitlines()[-4:] == [f"post {how}", "post failed", "pre", "post succeeded"]
