"""Files that are lost by a mount, by a truncation, or while borg reads: on real mounts and with both borgs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.hanging import mounted
from tests.integration.backup.yard import NODES_BORG, Yard, files


@pytest.fixture(params=["1.2", "1.4"])
def either_borg(request: pytest.FixtureRequest, yard: Yard) -> Yard:
    """Run with each of the borgs that servers have."""
    if request.param == "1.4":
        yard.wrap_borg(f'exec {NODES_BORG} "$@"')
    return yard


def codes(archive: object) -> list[str]:
    return [reason["code"] for reason in archive.reasons]  # type: ignore[attr-defined] - any row that has reasons


async def test_files_that_all_became_empty_are_doubted_however_small_they_were(
    either_borg: Yard, tmp_path: Path
) -> None:
    """borg 1.2 adds the size of its own records to an archive's: small files hide in that."""
    source = files(tmp_path / "srv", 20, size=6)
    definition = await either_borg.backup_job(source)
    await either_borg.run(definition, "succeeded")
    for file in source.iterdir():
        file.write_bytes(b"")
    await either_borg.run(definition, "warning")
    (code,) = codes((await either_borg.archives(definition))[-1])
    assert code in ("source_fewer_bytes", "fewer_bytes")  # the latter where borg's own sum shows it


@pytest.mark.parametrize("how", ["another device", "the same device"])
async def test_a_mount_below_a_source_that_is_gone_is_doubted_by_name(yard: Yard, tmp_path: Path, how: str) -> None:
    """60 files of its own and 40 on a mount below: 60 of 100 is more than half."""
    source, disk = files(tmp_path / "srv", 60), tmp_path / "srv" / "a disk"
    arguments = [] if how == "another device" else ["--bind", str(files(tmp_path / "bound", 40))]
    definition = await yard.backup_job(source)
    with mounted(disk, *arguments):
        files(disk, 40)
        await yard.run(definition, "succeeded")
    job = await yard.run(definition, "warning")
    said = f"{disk} was mounted below the source {source} and is not mounted now; it gave 40 files before"
    assert job.warnings == [said]
    await yard.accept((await yard.archives(definition))[-1])
    assert (await yard.run(definition, "succeeded")).warnings == []


async def test_a_source_on_a_mount_that_is_gone_is_doubted_though_a_stale_copy_lies_below(
    yard: Yard, tmp_path: Path
) -> None:
    source = files(tmp_path / "nas" / "data", 30)
    definition = await yard.backup_job(source)
    with mounted(tmp_path / "nas"):
        files(source, 40)
        await yard.run(definition, "succeeded")
    job = await yard.run(definition, "warning")
    assert f"the source {source} is not mounted: it was on {tmp_path / 'nas'}" in job.warnings[0]


async def test_what_is_unmounted_while_borg_reads_is_doubted_without_any_hook(yard: Yard, tmp_path: Path) -> None:
    source = tmp_path / "disk"
    definition = await yard.backup_job(source)
    with mounted(source):
        files(source, 10)
        await yard.run(definition, "succeeded")
        yard.wrap_borg(f'$BORG "$@"; status=$?; umount -l {source}; exit $status')
        await yard.run(definition, "warning")
        assert codes((await yard.archives(definition))[-1]) == ["source_vanished"]


async def test_a_source_that_goes_just_before_borg_reads_it_is_told_so(either_borg: Yard, tmp_path: Path) -> None:
    one, other = files(tmp_path / "one", 5), files(tmp_path / "other", 5)
    definition = await either_borg.backup_job(one, other)
    wrapped = (either_borg.tools / "borg").read_text() if not (either_borg.tools / "borg").is_symlink() else ""
    borg = NODES_BORG if NODES_BORG in wrapped else "$BORG"
    either_borg.wrap_borg(f'mv {other} {other}.away; exec {borg} "$@"')
    job = await either_borg.run(definition, "warning")
    assert f"the source {other} was there at first, and did not exist any more when borg came to it" in job.warnings[0]
    assert "source_missing" in codes((await either_borg.archives(definition))[-1])
