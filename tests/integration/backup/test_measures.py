"""Nights in a row: what runs are held against outlives retention, failing hooks and damage."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import update

from shared.db.tables import BackupJob
from tests.integration.backup.yard import Yard, files


def left(source: Path, count: int) -> None:
    """Remove all but so many files."""
    for file in sorted(source.iterdir())[count:]:
        file.unlink()


async def test_keeping_the_last_two_hides_no_slow_fall_and_takes_no_full_archive(yard: Yard, tmp_path: Path) -> None:
    """A fifth less each night, good as long as it is more than half of the most; then nothing good is pruned."""
    source = files(tmp_path / "srv", 100)
    definition = await yard.backup_job(source, retention={"keep_last": 2})
    nights = [(100, "succeeded"), (80, "succeeded"), (64, "succeeded"), (51, "succeeded"), (41, "warning"), (33, "warning"),
              (26, "warning")]  # fmt: skip
    for count, state in nights:
        left(source, count)
        await yard.run(definition, state)
        await yard.prune(definition)
    good = [archive.files for archive in await yard.archives(definition) if archive.trusted]
    assert good == [64, 51]


async def test_the_night_a_failing_hook_is_mended_a_collapse_is_no_first_run(yard: Yard, tmp_path: Path) -> None:
    source = files(tmp_path / "srv", 40)
    definition = await yard.backup_job(source, post_hook="exit 1")
    await yard.run(definition, "warning")
    await yard.run(definition, "warning")
    await yard.db.run(lambda tx: tx.session.execute(update(BackupJob).values(post_hook=None)))
    left(source, 5)
    job = await yard.run(definition, "warning")
    assert "gave fewer files: 5 files; it gave 40 files before" in job.warnings[0]
    files(source, 40)
    await yard.run(definition, "succeeded")


async def test_a_source_that_was_taken_out_of_the_job_is_told_once_and_no_measure(yard: Yard, tmp_path: Path) -> None:
    one, other = files(tmp_path / "one", 60), files(tmp_path / "other", 20)
    definition = await yard.backup_job(one, other)
    await yard.run(definition, "succeeded")
    await yard.db.run(lambda tx: tx.session.execute(update(BackupJob).values(sources=[str(other)])))
    job = await yard.run(definition, "succeeded")
    assert job.warnings == [f"the source {one} was taken out of the backup job; it gave 60 files"]
    assert (await yard.run(definition, "succeeded")).warnings == []
    left(other, 10)
    await yard.run(definition, "warning")
