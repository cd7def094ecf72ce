"""A pool or our own data below a source, on a server that is the backup node: it is left out, and nothing grows."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from services.backup.create.own_places import SCRIPT
from tests.harness.patience import WAIT
from tests.integration.backup.yard import Yard, files


async def test_a_pool_below_a_source_is_no_part_of_its_own_backups(
    yard: Yard, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each run held all that came before, and the pool doubled."""
    files(yard.directory / "data", 20, 20_000)
    above = tmp_path_factory.mktemp("above") / "link"
    above.symlink_to(yard.directory.parent)
    link = above / yard.directory.name  # borg meets all of it by another path than ours
    definition = await yard.backup_job(link, name="node", excludes=["sh:**/yard.db*"])  # the test's own records grow
    sizes = []
    for _ in range(3):
        job = await yard.run(definition, "succeeded")
        assert any(f"{link}/pool is left out: it is the storage pool main" in warning for warning in job.warnings)
        assert f"left out by the rule '! pp:{link}/state'" in await yard.log(job)
        sizes.append((await yard.archives(definition))[-1].original_size)
    assert max(sizes) < min(sizes) + 20_000  # what borg adds of its own
    assert min(sizes) > 20 * 20_000
    archive = (await yard.archives(definition))[-1]
    assert [reason["code"] for reason in archive.reasons] == ["own_place_left_out"] * 2
    assert archive.trusted


async def test_a_pool_as_a_source_is_refused(yard: Yard) -> None:
    definition = await yard.backup_job(yard.pool / "web1", name="loop")
    await yard.run(await yard.backup_job(files(yard.directory / "data", 3), name="first"), "succeeded")
    assert (await yard.run(definition, "failed")).code == "source_is_ours"
    assert await yard.archives(definition) == []


@pytest.mark.parametrize("shell", [["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"]], ids=" ".join)
def test_each_shell_finds_the_same_places(tmp_path: Path, shell: list[str]) -> None:
    for name in ("srv/my pool", "srv/a", "data/node", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to("srv")
    (tmp_path / "srv/my pool/.borgfleet-pool").write_text("id-1\nThis directory\n")
    (tmp_path / "elsewhere/.borgfleet-pool").write_text("id-2\n")
    (tmp_path / "data/node/host-id").write_text("host-1\n")
    (tmp_path / ".cache/borg").mkdir(parents=True)
    known = "\n".join(str(tmp_path / name) for name in ("srv/my pool", "data", "elsewhere", "gone"))
    sources = [str(tmp_path / "srv"), f"{tmp_path}/link/", str(tmp_path / "data"), str(tmp_path / "srv/gone")]

    def asked(*sources: str) -> list[str]:
        done = subprocess.run(
            [*shell, "-c", SCRIPT, "sh", f"{WAIT:.0f}", known, *sources], capture_output=True, text=True, check=True,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout.splitlines()

    srv = tmp_path / "srv"
    expected = [f"S {srv}", f"S {srv}", f"S {tmp_path}/data", f"S {srv}/gone"]
    assert asked(*sources) == [*expected, f"O id-1 {srv}/my pool", f"O host-1 {tmp_path}/data"]
    everything = asked("/")
    assert {f"O id-2 {tmp_path}/elsewhere", f"O host-1 {tmp_path}/data", f"B {tmp_path}/.cache/borg"} <= {*everything}
