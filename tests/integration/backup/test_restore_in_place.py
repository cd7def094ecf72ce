"""Restores to where it was: nothing of what is there is lost, whoever dies and whatever is planted."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.backup.restore import server as servers
from shared.db.tables import Archive, Job
from tests.harness.trees import tree
from tests.integration.backup.test_restore import Restores, inside
from tests.integration.backup.yard import Yard


class InPlace(Restores):
    """Restores into the very tree that was backed up."""

    @property
    def data(self) -> Path:
        return self.yard.directory / "src" / "data"

    @property
    def pristine(self) -> Path:
        return self.yard.directory / "pristine" / "data"

    async def request(self, *items: bytes, **params: Any) -> Job:
        return await super().request(*items, **{"target_path": None} | params)

    async def previewed(self, *items: bytes, **params: Any) -> dict[str, Any]:
        before = tree(self.data)
        result = (await self.run(*items, preview=True, **params)).result
        assert tree(self.data) == before, "a preview changed something"
        return result


@pytest.fixture
def placed(backed_up: tuple[Yard, Archive], tmp_path: Path) -> Iterator[InPlace]:
    made = InPlace(*backed_up, tmp_path)
    shutil.rmtree(made.data.parent)
    subprocess.run(["cp", "-a", made.pristine.parent, made.data.parent], check=True)
    yield made
    assert made.left() == []
    assert not [path for path in made.data.parent.rglob(".borgfleet-restore-*/*") if path.name not in ("job", "previous")
                and "previous" not in path.parts], "more than what was set aside stayed"  # fmt: skip


def changed(placed: InPlace) -> dict[bytes, Any]:
    """Change, remove and add what people change; return all that is there then."""
    data = placed.data
    (data / "plain").unlink()
    (data / "plain").write_text("mine")
    (data / "ü").unlink()
    (data / "suid").unlink()
    (data / "suid").mkdir()
    (data / "suid" / "kept").write_text("below")
    (data / "extra").write_text("extra")
    (data / "sub" / "extra").write_text("extra too")
    return tree(data)


def without_times(found: dict[bytes, Any], *names: bytes) -> dict[bytes, Any]:
    """Leave out the times of directories into which something was renamed."""
    return {name: [*what[:4], *what[5:]] if name in names else what for name, what in found.items()}


async def test_beside_nothing_that_is_there_changes(placed: InPlace) -> None:
    before = changed(placed)
    top = inside(placed)
    job = await placed.run(top + b"/plain", top + b"/sub", top + b"/caf\xe9", mode="beside")
    stamp = job.result["stamp"]
    after = tree(placed.data)
    assert without_times(
        {name: what for name, what in after.items() if b".restored-" not in name}, b"."
    ) == without_times(before | {b"/hard links": after[b"/hard links"]}, b".")
    was, now = tree(placed.pristine / "sub"), tree(placed.data / f"sub.restored-{stamp}")
    assert {**now, b"/hard links": []} == {**was, b"/hard links": []}
    assert (placed.data / f"plain.restored-{stamp}").samefile(placed.data / f"sub.restored-{stamp}" / "hard")
    assert (placed.data / os.fsdecode(b"caf\xe9.restored-" + stamp.encode())).exists()
    assert (job.result["placed"], job.result["refused"]) == (3, [])


async def test_swapped_the_old_stands_beside_under_its_new_name(placed: InPlace) -> None:
    before = changed(placed)
    items = [inside(placed) + name for name in (b"/plain", b"/sub", b"/suid", "/ü".encode())]
    preview = await placed.previewed(*items, mode="swap")
    assert [one["path"] for one in preview["existing"]["first"]] == ["plain", "sub", "suid"]
    job = await placed.run(*items, mode="swap", shown=preview["shown"])
    after, stamp = tree(placed.data), job.result["stamp"].encode()
    pristine = tree(placed.pristine)
    for name in (b"plain", b"sub", b"suid", "ü".encode(), b"sub/hard"):
        assert after[name] == pristine[name], name
    for name in (b"plain", b"sub", b"suid"):
        assert after[name + b".before-restore-" + stamp] == before[name], name
    assert after[b"suid.before-restore-" + stamp + b"/kept"] == before[b"suid/kept"]
    assert after[b"extra"] == before[b"extra"]


async def test_merged_and_kept_only_what_is_missing_comes(placed: InPlace) -> None:
    before = changed(placed)
    preview = await placed.previewed(inside(placed), mode="merge")
    job = await placed.run(inside(placed), mode="merge", shown=preview["shown"])
    after, pristine = tree(placed.data), tree(placed.pristine)
    assert after["ü".encode()] == pristine["ü".encode()]
    assert without_times({name: what for name, what in after.items() if name != "ü".encode()}, b".", b"sub") == (
        without_times(before, b".", b"sub")
    )
    assert (job.result["placed"], job.result["kept_count"], job.result["refused"]) == (1, 17, [])
    assert preview["existing"]["count"] == job.result["kept_count"]
    assert job.result["previous"] == []
    assert not list(placed.data.parent.glob(".borgfleet-restore-*"))


async def test_merged_and_replaced_the_old_is_set_aside(placed: InPlace) -> None:
    before = changed(placed)
    preview = await placed.previewed(inside(placed), mode="merge", existing="replace")
    job = await placed.run(inside(placed), mode="merge", existing="replace", shown=preview["shown"])
    after, pristine = tree(placed.data), tree(placed.pristine)
    for name, what in pristine.items():
        if name not in (b".", b"sub"):
            assert after[name] == what, name
    assert after[b"sub/extra"] == before[b"sub/extra"]
    aside = tree(Path(job.result["previous_in"]) / "data")
    assert aside[b"plain"] == before[b"plain"]
    assert aside[b"suid/kept"] == before[b"suid/kept"]
    assert len(job.result["previous"]) == 17
    assert job.result["placed"] == 18


@pytest.mark.parametrize("existing", ["keep", "replace"])
async def test_a_link_that_was_planted_on_the_way_is_refused_and_followed_nowhere(
    placed: InPlace, existing: str
) -> None:
    outside = placed.directory / "outside"
    outside.mkdir()
    (outside / "hard").write_text("a victim")
    (placed.data / "ü").unlink()
    shutil.rmtree(placed.data / "sub")
    (placed.data / "sub").symlink_to(outside)
    job = await placed.run(inside(placed), mode="merge", existing=existing, states=("warning",))
    assert job.result["refused"] == [{"path": "data/sub", "code": "parent_symlink"}]
    assert "data/sub (parent_symlink)" in job.warnings[0]
    assert [path.name for path in outside.iterdir()] == ["hard"]
    assert (outside / "hard").read_text() == "a victim"
    assert (placed.data / "ü").exists()
    for mode in ("swap", "beside"):
        ended = await placed.run(
            inside(placed) + b"/sub/hard", inside(placed) + b"/plain", mode=mode, states=("warning",)
        )
        assert ended.result["refused"] == [{"path": "sub/hard", "code": "parent_symlink"}]
    assert (outside / "hard").read_text() == "a victim"


@pytest.mark.parametrize("mode", ["swap", "merge"])
async def test_what_came_there_after_the_preview_ends_it_before_anything_is_changed(placed: InPlace, mode: str) -> None:
    (placed.data / "plain").unlink()
    preview = await placed.previewed(inside(placed) + b"/plain", inside(placed) + b"/empty", mode=mode)
    (placed.data / "plain").write_text("somebody wrote it meanwhile")
    before = tree(placed.data)
    job = await placed.run(inside(placed) + b"/plain", inside(placed) + b"/empty", mode=mode, shown=preview["shown"],
                           states=("failed",))  # fmt: skip
    assert job.code == "confirm_stale", job.reason
    assert tree(placed.data) == before


_ASIDE = "            _move(target, name, *aside)\n"
BROKEN_OFF = {
    "before the first": ("        tree = _open_below", "        os.kill(os.getpid(), 9)\n        tree = _open_below"),
    "old aside, new not yet there": (_ASIDE, _ASIDE + "            os.kill(os.getpid(), 9)\n"),
    "behind the last": ("        os.sync()", "        os.kill(os.getpid(), 9)"),
    "swap, old aside": (_ASIDE, _ASIDE + "            os.kill(os.getpid(), 9)\n"),
}  # fmt: skip


@pytest.mark.parametrize("where", BROKEN_OFF)
async def test_killed_while_placing_the_next_attempt_ends_it_and_nothing_is_lost(
    placed: InPlace, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    before = changed(placed)
    assert servers._PLACER.count(BROKEN_OFF[where][0]) == (2 if where == "behind the last" else 1)
    mode = {"mode": "swap"} if "swap" in where else {"mode": "merge", "existing": "replace"}
    items = [inside(placed) + b"/plain", inside(placed) + b"/suid", inside(placed) + b"/sub"]
    job = await placed.request(*items, **mode)
    with monkeypatch.context() as dies:
        dies.setattr(servers, "_PLACER", servers._PLACER.replace(*BROKEN_OFF[where]))
        ctx, task = placed.start(job)
        await placed.yard.dispose(ctx, task, job)
    assert (await placed.yard.job(job)).state == "queued"
    ended = await placed.end(job, "succeeded")
    after, pristine = tree(placed.data), tree(placed.pristine)
    for name in (b"plain", b"suid", b"sub/hard"):
        assert after[name] == pristine[name], name
    stamp = ended.result["stamp"].encode()
    aside = after if "swap" in where else tree(Path(ended.result["previous_in"]))
    end = b".before-restore-" + stamp if "swap" in where else b""
    assert aside[b"plain" + end] == before[b"plain"]
    assert aside[b"suid" + end + b"/kept"] == before[b"suid/kept"]
    assert ended.result["placed"] == 3


async def test_what_may_not_be_moved_is_refused_and_all_else_comes(placed: InPlace) -> None:
    changed(placed)
    locked = placed.data / "plain"
    if subprocess.run(["chattr", "+i", locked], check=False, capture_output=True).returncode != 0:
        pytest.skip("this file system knows no immutable files")
    try:
        job = await placed.run(inside(placed), mode="merge", existing="replace", states=("warning",))
        assert job.result["refused"] == [{"path": "data/plain", "code": "not_permitted"}]
        assert locked.read_text() == "mine"
        assert (placed.data / "suid").is_file()
    finally:
        subprocess.run(["chattr", "-i", locked], check=True)


async def test_a_time_limit_never_ends_it_amid_its_placing(placed: InPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[asyncio.Timeout] = []
    timeout, put = asyncio.timeout, servers.RestoreServer.put

    def limited(seconds: float | None) -> asyncio.Timeout:
        made = timeout(seconds)
        limits.extend([made] if seconds == 3599 else [])
        return made

    async def unlimited(server: servers.RestoreServer, result: dict[str, Any]) -> dict[str, Any]:
        assert [limit.when() for limit in limits] == [None]
        return await put(server, result)

    monkeypatch.setattr(asyncio, "timeout", limited)
    monkeypatch.setattr(servers.RestoreServer, "put", unlimited)
    await placed.run(inside(placed) + b"/plain", mode="beside", time_limit=3599)


async def test_without_python_on_the_server_nothing_is_begun(placed: InPlace) -> None:
    (placed.yard.tools / "python3").symlink_to("/bin/false")
    before = tree(placed.data)
    try:
        job = await placed.run(inside(placed), mode="merge", states=("failed",))
    finally:
        (placed.yard.tools / "python3").unlink()
    assert job.code == "merge_needs_python"
    assert tree(placed.data) == before
