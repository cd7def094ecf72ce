"""Bad nights under keep-last 2, on real borg: however many there are, the last full archive is there after them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.backup.plan import load_repository
from shared.db.tables import BackupJob
from tests.harness.hanging import mounted
from tests.integration.backup.yard import NODES_BORG, Yard, emptied, files

NIGHTS = 2


@dataclass
class House:
    """Two sources that were backed up whole, and what is undone after the test."""

    yard: Yard
    definition: BackupJob
    one: Path
    two: Path
    end: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    async def pruned(self) -> None:
        """Let the retention take what it takes."""
        assert (await self.yard.prune(self.definition)).state in ("succeeded", "warning")

    def contents(self) -> dict[str, bytes]:
        found = (file for source in (self.one, self.two) for file in source.rglob("*") if file.is_file())
        return {str(file).removeprefix("/"): file.read_bytes() for file in found}

    async def borg(self, *arguments: str, cwd: Path) -> str:
        place = await self.yard.db.run(lambda tx: load_repository(tx, self.definition.repository_id))
        more = {"BORG_PASSPHRASE": place.passphrase, "BORG_BASE_DIR": str(self.yard.directory / "reader")}
        argv = [NODES_BORG, *(argument.format(repo=place.path) for argument in arguments)]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=cwd, env=os.environ | more)
        return done.stdout


async def emptied_one(house: House, _night: int) -> None:
    emptied(house.one)


async def gone(house: House, _night: int) -> None:
    subprocess.run(["rm", "-rf", str(house.one)], check=True)


async def all_gone(house: House, _night: int) -> None:
    subprocess.run(["rm", "-rf", str(house.one), str(house.two)], check=True)


async def unmounted(house: House, _night: int) -> None:
    house.end.close()


async def a_link(house: House, night: int) -> None:
    if night == 0:
        house.one.rename(house.one.with_name("elsewhere"))
        house.one.symlink_to(house.one.with_name("elsewhere"))


async def a_cache_tag(house: House, _night: int) -> None:
    (house.one / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")


async def shrinking(house: House, night: int) -> None:
    """Just more than half of what was there the night before."""
    for source in (house.one, house.two):
        left = sorted(source.iterdir())
        for file in left[-(len(left) * 49 // 100) :]:
            file.unlink()
    assert night < NIGHTS


async def hollow(house: House, _night: int) -> None:
    """All files are there, and none has a byte."""
    for file in [*house.one.iterdir(), *house.two.iterdir()]:
        file.write_bytes(b"")


async def nothing_explained(house: House, _night: int) -> None:
    emptied(house.one)
    house.yard.wrap_borg('$BORG "$@" 2>/dev/null; exit 1')


async def said_after_the_chatter(house: House, _night: int) -> None:
    emptied(house.one)
    house.yard.wrap_borg(
        'i=0; while [ $i -lt 520 ]; do echo "debug1: $i" >&2; i=$((i+1)); done; $BORG "$@"; s=$?; '
        'echo "/srv/x: permission denied" >&2; [ $s = 0 ] && s=1; exit $s'
    )


async def killed_after_its_archive(house: House, night: int) -> None:
    """The first attempt loses a source, and is killed when its archive is there; the second one finds it."""
    subprocess.run(["rm", "-rf", str(house.one)], check=True)
    mark = house.yard.directory / f"killed-{night}"
    house.yard.wrap_borg(f'$BORG "$@"; status=$?; [ -e {mark} ] && exit $status; touch {mark}; kill -9 $$')


async def tried_again_by_a_person(house: House, _night: int) -> None:
    subprocess.run(["rm", "-rf", str(house.one), str(house.two)], check=True)
    job = await house.yard.run(house.definition, "failed")
    await house.yard.run(house.definition, "failed", job=await house.yard.retry(job))


NIGHT: dict[str, tuple[Callable[[House, int], Awaitable[None]], tuple[str, ...]]] = {
    "one of two sources is empty": (emptied_one, ("warning",)),
    "one of two sources is gone": (gone, ("warning",)),
    "all sources are gone": (all_gone, ("failed",)),
    "a source is not mounted": (unmounted, ("warning",)),
    "a source became a link": (a_link, ("warning",)),
    "a cache tag lies in a source": (a_cache_tag, ("warning",)),
    "a half goes each night": (shrinking, ("succeeded", "warning")),
    "no file has a byte": (hollow, ("warning",)),
    "borg ends with 1 and does not say why": (nothing_explained, ("warning",)),
    "borg says it as plain text after 520 lines": (said_after_the_chatter, ("warning",)),
    "borg is killed after its archive": (killed_after_its_archive, ("warning",)),
    "a failed run is retried": (tried_again_by_a_person, ("failed",)),
}


@pytest.mark.parametrize("misfortune", NIGHT)
async def test_the_last_full_archive_outlives_all_bad_nights(yard: Yard, tmp_path: Path, misfortune: str) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    retention = {"keep_last": 2, "deletion_limit_percent": 100}
    house = House(yard, await yard.backup_job(one, two, retention=retention), one, two)
    happens, states = NIGHT[misfortune]
    with house.end:
        if happens is unmounted:
            house.end.enter_context(mounted(one))
        files(one, 40), files(two, 12)
        contents = house.contents()
        await yard.run(house.definition, "succeeded")
        for night in range(NIGHTS):
            await happens(house, night)
            await yard.run(house.definition, *states)
    await house.pruned()
    full, *later = await yard.archives(house.definition)
    assert full.name in (await house.borg("list", "--short", "{repo}", cwd=tmp_path)).split()
    (tmp_path / "out").mkdir()
    await house.borg("extract", f"{{repo}}::{full.name}", cwd=tmp_path / "out")
    assert {
        str(file.relative_to(tmp_path / "out")): file.read_bytes()
        for file in (tmp_path / "out").rglob("*")
        if file.is_file()
    } == contents
    # The retention is at work: what a person accepts takes its place. What holds nothing at all cannot be accepted.
    yard.wrap_borg("")
    for archive in later[-2:]:
        await yard.accept(archive)
    await house.pruned()
    left = {archive.name for archive in await yard.archives(house.definition)}
    assert (full.name in left) is ("failed" in states)
