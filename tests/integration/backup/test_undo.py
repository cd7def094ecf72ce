"""The undo of a swap: what was there comes back as it was, whoever dies, and nothing that was changed meanwhile is touched."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from services.backup.restore import server as servers
from services.backup.restore.server import RestoreServers
from services.backup.restore.undo import undo_restore
from shared.db.stores.requests import request_undo
from shared.db.tables import Archive, Job
from shared.errors import AppError, Conflict
from shared.events.archive import RestoreUndo
from shared.runtime.context import Context
from tests.harness.patience import WAIT
from tests.harness.trees import tree
from tests.integration.backup.test_restore import inside
from tests.integration.backup.test_restore_in_place import InPlace, changed, without_times
from tests.integration.backup.yard import Yard


class Swaps(InPlace):
    """Swaps, and their undo."""

    before: dict[bytes, Any]
    """All that was there before the swap."""

    async def swapped(self, *names: bytes) -> Job:
        self.before = changed(self)
        return await self.run(*[inside(self) + b"/" + name for name in names], mode="swap")

    async def ask(self, restore: Job) -> Job:
        return await self.yard.db.run(lambda tx: self._ask(tx, restore.id))

    @staticmethod
    async def _ask(tx: Any, restore_id: uuid.UUID) -> Job:
        return await request_undo(tx, await tx.session.get_one(Job, restore_id))

    def start_undo(self, job: Job) -> tuple[Context, asyncio.Task[None]]:
        ctx = Context(self.yard.db, self.yard.bus, key="k", lease_seconds=600)
        work = undo_restore(RestoreUndo(job_id=job.id), ctx, servers=RestoreServers(self.yard.ssh, WAIT))
        return ctx, asyncio.create_task(work)

    async def undone(self, restore: Job, *states: str) -> Job:
        return await self.end_undo(await self.ask(restore), *states)

    async def end_undo(self, job: Job, *states: str) -> Job:
        while (ended := await self.yard.job(job)).state == "queued":
            ctx, task = self.start_undo(job)
            await self.yard.dispose(ctx, task, job)
        assert ended.state in (states or ("succeeded",)), (
            f"{ended.state} {ended.code} {ended.reason} {ended.warnings}\n{await self.yard.log(job)}"
        )
        return ended

    def is_as_before(self, *but: bytes) -> None:
        """All is there as it was; beside it stands what was restored."""
        now = {name: what for name, what in tree(self.data).items() if b".restored-" not in name}
        before = self.before | {b"/hard links": now[b"/hard links"]}
        assert without_times(now, b".", *but) == without_times(before, b".", *but)


@pytest.fixture
def swaps(backed_up: tuple[Yard, Archive], tmp_path: Path) -> Swaps:
    made = Swaps(*backed_up, tmp_path)
    shutil.rmtree(made.data.parent)
    subprocess.run(["cp", "-a", made.pristine.parent, made.data.parent], check=True)
    return made


NAMES = (b"plain", b"suid", b"sub", "ü".encode(), b"caf\xe9", b"dangling", b"fifo", b"new\nline")


async def test_all_of_the_target_is_as_it_was_and_what_was_restored_stands_beside_it(swaps: Swaps) -> None:
    restore = await swaps.swapped(*NAMES)
    noted = restore.result["undo"]
    assert noted["possible"] is True
    assert len(noted["items"]) == len(NAMES)
    assert noted["until"] > restore.created_at.isoformat()
    job = await swaps.undone(restore)
    swaps.is_as_before()
    end = b".restored-" + restore.result["stamp"].encode()
    after, pristine = tree(swaps.data), tree(swaps.pristine)
    for name in (*NAMES, b"sub/hard"):
        first, _, below = name.partition(b"/")
        assert after[first + end + (b"/" + below if below else b"")] == pristine[name], name
    assert (job.result["put_back"], job.result["set_aside"], job.result["refused"]) == (7, 8, [])
    told = (await swaps.yard.job(restore)).result["undo"]
    assert (told["possible"], told["job_id"]) == (False, str(job.id))
    with pytest.raises(Conflict) as twice:
        await swaps.ask(restore)
    assert twice.value.code == "undo_done"


async def test_what_was_edited_in_place_since_is_kept_with_what_was_restored(swaps: Swaps) -> None:
    restore = await swaps.swapped(b"plain", b"sub")
    with (swaps.data / "plain").open("a") as file:
        file.write(" and more")
    (swaps.data / "sub" / "later").write_text("later")
    await swaps.undone(restore)
    swaps.is_as_before()
    stamp = restore.result["stamp"]
    assert (swaps.data / f"plain.restored-{stamp}").read_text() == "plain and more"
    assert (swaps.data / f"sub.restored-{stamp}" / "later").read_text() == "later"


def _replaced(path: Path, link: str = "") -> None:
    """Put something else there; it is made while the first is there, so that it cannot get the first's inode number."""
    other = path.with_name("other")
    if link:
        other.symlink_to(link)
    else:
        other.write_text("another")
    other.rename(path)


MOVED: dict[str, tuple[Callable[[Path, str], Any], str]] = {
    "what was restored is gone": (lambda data, _: (data / "plain").rename(data / "moved"), "is not there any more"),
    "something else is at its place": (lambda data, _: _replaced(data / "plain"), "something else"),
    "a link is at its place": (
        lambda data, _: ((data / "plain").rename(data / "moved"), (data / "plain").symlink_to("moved")), "something else",
    ),
    "what was set aside is gone": (lambda data, end: (data / f"plain{end}").unlink(), "is not there any more"),
    "what was set aside was changed": (lambda data, end: (data / f"plain{end}").write_text("more"), "was changed since"),
    "a directory that was set aside was changed": (
        lambda data, end: (data / f"suid{end}" / "kept").rename(data / "kept"), "was changed since",
    ),
    "something else is where it was set aside": (lambda data, end: _replaced(data / f"plain{end}"), "something else"),
    "a link is where it was set aside": (
        lambda data, end: _replaced(data / f"plain{end}", "/etc/passwd"), "something else",
    ),
    "the new name is taken": (
        lambda data, end: (data / f"plain{end.replace('before-restore', 'restored')}").touch(), "is there already",
    ),
    "the directory became a link": (
        lambda data, _: (data.rename(data.with_name("elsewhere")), data.symlink_to("elsewhere")), "symbolic link",
    ),
    "the directory is gone": (lambda data, _: data.rename(data.with_name("elsewhere")), "is gone"),
}  # fmt: skip


@pytest.mark.parametrize("case", MOVED)
async def test_where_something_moved_nothing_is_renamed_and_the_thing_is_named(swaps: Swaps, case: str) -> None:
    move, says = MOVED[case]
    restore = await swaps.swapped(b"suid", b"plain", b"sub")
    move(swaps.data, f".before-restore-{restore.result['stamp']}")
    there = tree(swaps.data.parent)
    job = await swaps.undone(restore, "failed")
    assert (job.code, says in (job.reason or "")) == ("undo_moved", True), job.reason
    assert "plain" in (job.reason or "") or "suid" in (job.reason or "") or "directory" in case, job.reason
    assert job.remedy
    assert tree(swaps.data.parent) == there
    assert (await swaps.yard.job(restore)).result["undo"]["possible"] is True


async def test_put_right_by_hand_it_is_undone_when_asked_again(swaps: Swaps) -> None:
    restore = await swaps.swapped(b"plain", b"suid")
    (swaps.data / "plain").rename(swaps.data / "moved")
    assert (await swaps.undone(restore, "failed")).code == "undo_moved"
    (swaps.data / "moved").rename(swaps.data / "plain")
    await swaps.undone(restore)
    swaps.is_as_before()


BELOW = {"sub": b"sub/hard", "deep": b"sub/deep"}


@pytest.mark.parametrize("item", BELOW.values(), ids=list(BELOW))
async def test_a_link_that_was_planted_on_the_way_leads_nowhere(swaps: Swaps, item: bytes) -> None:
    swaps.before = changed(swaps)
    restore = await swaps.run(inside(swaps) + b"/" + item, inside(swaps) + b"/plain", mode="swap")
    outside = swaps.directory / "outside"
    outside.mkdir()
    stamp = restore.result["stamp"]
    name = item.decode().rpartition("/")[2]
    for victim in (name, f"{name}.before-restore-{stamp}"):
        (outside / victim).write_text("a victim")
    (swaps.data / "sub").rename(swaps.data / "hidden")
    (swaps.data / "sub").symlink_to(outside)
    there, victims = tree(swaps.data), tree(outside)
    job = await swaps.undone(restore, "failed")
    assert (job.code, "symbolic link" in (job.reason or "")) == ("undo_moved", True), job.reason
    assert (tree(swaps.data), tree(outside)) == (there, victims)


_OUT = '                _move(above, name, above, f"{name}.restored-{self.stamp}")\n'
_BACK = "                _move(above, aside, above, name)\n"
_LINK = "    else:\n        os.unlink(name, dir_fd=source)\n"
_DIE = "os.kill(os.getpid(), 9)\n"
UNDO_BROKEN_OFF = {
    "before the first": ("        refused: list[list[str]] = []\n", "        " + _DIE),
    "what was restored is out, nothing is back": (_OUT, _OUT + " " * 16 + _DIE),
    "the first is back": (_BACK, _BACK + " " * 16 + _DIE),
    "a file has both names": (_LINK, _LINK.replace("        os", f"        {_DIE}        os")),
    "behind the last": ('        os.sync()\n        return {"wrong"', "        " + _DIE + '        return {"wrong"'),
}


@pytest.mark.parametrize("where", UNDO_BROKEN_OFF)
@pytest.mark.parametrize("names", [(b"plain", b"suid", b"sub"), (b"sub", b"suid", b"plain"), ("ü".encode(),)])
async def test_killed_at_any_rename_the_next_attempt_ends_it(
    swaps: Swaps, monkeypatch: pytest.MonkeyPatch, where: str, names: tuple[bytes, ...]
) -> None:
    restore = await swaps.swapped(*names)
    job = await swaps.ask(restore)
    old, new = UNDO_BROKEN_OFF[where]
    assert servers._PLACER.count(old) == 1
    deaths = 0
    for _ in range(9):  # it dies again and again, each time behind another rename, until none is left
        if (await swaps.yard.job(job)).state == "failed":
            job = await swaps.ask(restore)  # given up; whoever asks again goes on with it
        with monkeypatch.context() as dies:
            dies.setattr(servers, "_PLACER", servers._PLACER.replace(old, new))
            ctx, task = swaps.start_undo(job)
            await swaps.yard.dispose(ctx, task, job)
        if (await swaps.yard.job(job)).state == "succeeded":
            break
        deaths += 1
        if where in ("before the first", "behind the last"):
            break
    assert deaths or (where, names) == ("the first is back", ("ü".encode(),)), "it never died: this proves nothing"
    if (await swaps.yard.job(job)).state == "failed":
        job = await swaps.ask(restore)
    ended = await swaps.end_undo(job)
    swaps.is_as_before()
    assert ended.result["set_aside"] == len(names)
    assert not [path for path in swaps.data.rglob("*") if ".before-restore-" in path.name]


SWAP_BROKEN_OFF = {
    "noted, nothing moved": ('    Path("swapped.new").rename("swapped")\n', '    Path("swapped.new").rename("swapped")\n    ' + _DIE),
    "a file has both names": (_LINK, _LINK.replace("        os", f"        {_DIE}        os")),
    "behind the last": ('        os.sync()\n        return {"refused"', "        " + _DIE + '        return {"refused"'),
}  # fmt: skip


@pytest.mark.parametrize("where", SWAP_BROKEN_OFF)
async def test_a_swap_that_was_cut_short_and_ended_by_another_attempt_is_undone_in_whole(
    swaps: Swaps, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    swaps.before = changed(swaps)
    names = (b"plain", b"suid", b"sub", "ü".encode())
    job = await swaps.request(*[inside(swaps) + b"/" + name for name in names], mode="swap")
    old, new = SWAP_BROKEN_OFF[where]
    assert servers._PLACER.count(old) == 1
    for _ in range(2 if where == "a file has both names" else 1):
        with monkeypatch.context() as dies:
            dies.setattr(servers, "_PLACER", servers._PLACER.replace(old, new))
            ctx, task = swaps.start(job)
            await swaps.yard.dispose(ctx, task, job)
        assert (await swaps.yard.job(job)).state == "queued", "it did not die: this proves nothing"
    restore = await swaps.end(job, "succeeded")
    after, pristine = tree(swaps.data), tree(swaps.pristine)
    for name in (*names, b"sub/hard"):
        assert after[name] == pristine[name], name
    await swaps.undone(restore)
    swaps.is_as_before()


async def test_what_lies_in_a_chosen_directory_is_placed_with_it_and_comes_back_with_it(swaps: Swaps) -> None:
    """Chosen beside its own directory, a file was taken out of that before it was placed, so that it lacked it."""
    swaps.before = changed(swaps)
    top = inside(swaps)
    restore = await swaps.run(top + b"/sub/hard", top + b"/sub", top + b"/plain", mode="swap")
    after, pristine = tree(swaps.data), tree(swaps.pristine)
    assert {name: after[name] for name in pristine if name.startswith(b"sub")} == {
        name: what for name, what in pristine.items() if name.startswith(b"sub")
    }
    await swaps.undone(restore)
    swaps.is_as_before()


async def test_a_later_swap_of_the_same_has_to_be_undone_first(swaps: Swaps) -> None:
    first = await swaps.swapped(b"plain", b"suid")
    job = await swaps.request(inside(swaps) + b"/plain", mode="swap")
    earlier = update(Job).where(Job.id == job.id).values(created_at=job.created_at - timedelta(days=1))
    await swaps.yard.db.run(lambda tx: tx.session.execute(earlier))  # so that its names are others
    second = await swaps.end(job, "succeeded")
    refused = await swaps.undone(first, "failed")
    assert (refused.code, "something else" in (refused.reason or "")) == ("undo_moved", True)
    await swaps.undone(second)
    await swaps.undone(first)
    swaps.is_as_before()


async def test_of_two_who_ask_at_once_one_gets_a_job(swaps: Swaps) -> None:
    restore = await swaps.swapped(b"plain")
    found = await asyncio.gather(swaps.ask(restore), swaps.ask(restore), return_exceptions=True)
    refused = [one.code for one in found if isinstance(one, AppError)]
    jobs = [one for one in found if isinstance(one, Job)]
    assert (len(jobs), refused) == (1, ["undo_busy"])
    await swaps.end_undo(jobs[0])
    swaps.is_as_before()


async def test_what_cannot_get_a_longer_name_stays_and_nothing_is_to_be_undone(swaps: Swaps) -> None:
    there = tree(swaps.data)
    restore = await swaps.run(inside(swaps) + b"/" + b"x" * 255, mode="swap", states=("warning",))
    assert restore.result["refused"] == [{"path": "x" * 200, "code": "name_too_long"}]
    assert without_times(tree(swaps.data), b".") == without_times(there, b".")
    with pytest.raises(Conflict) as nothing:
        await swaps.ask(restore)
    assert nothing.value.code == "undo_nothing"


async def test_it_needs_neither_the_backup_nor_its_repository(swaps: Swaps) -> None:
    restore = await swaps.swapped(b"plain", b"suid")
    gone = uuid.uuid4()
    change = update(Job).where(Job.id == restore.id).values(archive_id=gone, repository_id=gone)
    await swaps.yard.db.run(lambda tx: tx.session.execute(change))
    await swaps.undone(restore)
    swaps.is_as_before()
