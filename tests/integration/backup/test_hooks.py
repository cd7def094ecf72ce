"""Hooks on a real server: the post-hook runs whatever ended the run, and what hooks say is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

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


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_the_post_hook_runs_whatever_ended_borg(yard: Yard, tmp_path: Path, how: str) -> None:
    """C1: cancelled while borg reads, and borg killed."""
    trace, reading = tmp_path / "trace", tmp_path / "reading"
    yard.wrap_borg(f"touch {reading}; {'exec sleep 600' if how == 'cancelled' else 'kill -9 $$'}")
    definition = await yard.backup_job(
        files(tmp_path / "srv", 3), pre_hook=f"echo pre >>{trace}", post_hook=f"echo post $BORGFLEET_RESULT >>{trace}"
    )
    job = await yard.request(definition)
    ctx, task = yard.start(job)
    if how == "cancelled":
        await yard.until(reading)
        yard.cancel(ctx, task)
    await yard.dispose(ctx, task, job)
    assert trace.read_text().splitlines() == ["pre", f"post {how}"]
    assert await yard.archives(definition) == []


async def test_a_hook_over_its_time_is_stopped(yard: Yard, tmp_path: Path) -> None:
    hook = f"echo waiting >&2; echo $$ >{tmp_path}/pid; exec sleep 600"
    definition = await yard.backup_job(files(tmp_path / "srv", 3), hook_seconds=5, post_hook=hook)
    job = await yard.run(definition, "warning")
    assert job.warnings == ["the post-hook was stopped after 5 seconds: waiting"]
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


async def test_a_child_that_a_hook_leaves_behind_is_not_waited_for(yard: Yard, tmp_path: Path) -> None:
    """C2."""
    hook = f"sleep 300 & echo $! >{tmp_path}/child; echo started"
    definition = await yard.backup_job(files(tmp_path / "srv", 3), hook_seconds=100, pre_hook=hook)
    job = await yard.run(definition, "succeeded")
    assert "info hook started" in await yard.log(job)
