"""Whatever fails amid the placing, it is told item by item, and nothing that was there is lost or forgotten."""

from __future__ import annotations

import base64
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.backup.restore import placer

NAMES = ("a", "b", "c")
STAMP = "20260101T000000Z"
ASIDE, OUT = f".before-restore-{STAMP}", f".restored-{STAMP}"


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Place:
    """A directory with three files, and the staging directory that brings three others."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data = directory
        self.patch = monkeypatch
        self.staging = directory / ".staging"
        (self.staging / "tree").mkdir(parents=True)
        for name in NAMES:
            (directory / name).write_text(f"old {name}")
            (self.staging / "tree" / name).write_text(f"new {name}")

    def plan(self, mode: str, *items: str) -> dict[str, Any]:
        return {
            "mode": mode, "existing": "replace", "stamp": STAMP, "previous": "previous", "top": "",
            "items": [coded(item) for item in (items or NAMES)],
        }  # fmt: skip

    def put(self, mode: str = "swap", *items: str) -> dict[str, Any]:
        self.patch.chdir(self.staging)
        parent = os.open(self.data, os.O_RDONLY)
        self.patch.setattr(placer, "_PARENT", parent)
        try:
            return placer.Placer(self.plan(mode, *items)).put()
        finally:
            os.close(parent)

    def undo(self, told: dict[str, Any], *items: str) -> dict[str, Any]:
        self.patch.chdir(self.data)
        names: tuple[str, ...] = items or NAMES
        swapped = [[coded(names[int(number)]), new, old] for number, new, old in told["swapped"]]
        return placer.Undo({"stamp": STAMP, "items": swapped}).undo()

    def text(self, name: str) -> str | None:
        path = self.data / name
        return path.read_text() if path.exists() else None

    def is_as_before(self) -> bool:
        return all(self.text(name) == f"old {name}" and self.text(name + ASIDE) is None for name in NAMES)

    def failing(self, code: int, *moves: tuple[str, str], after: Callable[[], Any] = lambda: None) -> None:
        """Let links from one name to another fail, each as often as it is given, with what happens at the last."""
        link, left = os.link, list(moves)

        def called(source: str, new: str, **more: Any) -> None:
            if (source, new) not in left:
                link(source, new, **more)
                return
            left.remove((source, new))
            if not left:
                after()
            raise OSError(code, os.strerror(code))

        self.patch.setattr(os, "link", called)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path / "data", monkeypatch)


ERRORS = {
    errno.ENOSPC: "no_room", errno.EDQUOT: "no_room", errno.EIO: "failed", errno.ESTALE: "failed",
    errno.EXDEV: "other_file_system",
}  # fmt: skip


@pytest.mark.parametrize("code", ERRORS)
@pytest.mark.parametrize("onto", ["b", f"b{ASIDE}"], ids=["placing", "setting aside"])
def test_what_fails_amid_a_swap_keeps_its_name_and_all_that_was_swapped_can_be_undone(
    place: Place, code: int, onto: str
) -> None:
    place.failing(code, ("b", onto))
    told = place.put()
    assert told["refused"] == [["b", ERRORS[code]]]
    assert [number for number, _, _ in told["swapped"]] == [0, 2]
    assert [place.text(name) for name in (*NAMES, f"b{ASIDE}")] == ["new a", "old b", "new c", None]
    assert place.undo(told) == {"wrong": [], "wrong_count": 0, "refused": []}
    assert place.is_as_before()


@pytest.mark.parametrize("code", ERRORS)
def test_what_fails_amid_a_merge_keeps_its_name(place: Place, code: int) -> None:
    real = os.link
    seen: list[str] = []

    def called(source: str, new: str, **more: Any) -> None:
        seen.append(source)
        if source == "b" and seen.count("b") == 2:
            raise OSError(code, os.strerror(code))
        real(source, new, **more)

    place.patch.setattr(os, "link", called)
    told = place.put("merge")
    assert told["refused"] == [["b", ERRORS[code]]]
    assert [place.text(name) for name in NAMES] == ["new a", "old b", "new c"]
    assert told["previous"] == ["a", "c"]


def test_where_a_directory_cannot_be_made_its_item_is_refused_and_none_is_left(place: Place) -> None:
    (place.staging / "tree" / "deep").mkdir()
    (place.staging / "tree" / "deep" / "d").write_text("new d")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    place.patch.setattr(os, "utime", full)
    told = place.put("swap", "a", "deep/d", "c")
    assert told["refused"] == [["deep/d", "no_room"]]
    assert (place.text("a"), place.text("c"), (place.data / "deep").exists()) == ("new a", "new c", False)


@pytest.mark.parametrize("made", [True, False], ids=["somebody makes one", "its name stays free"])
def test_what_was_set_aside_and_cannot_come_back_is_told_and_kept_in_the_note(place: Place, made: bool) -> None:
    if made:
        place.failing(errno.EEXIST, ("b", "b"), after=lambda: (place.data / "b").write_text("foreign"))
    else:
        place.failing(errno.EXDEV, ("b", "b"), (f"b{ASIDE}", "b"))
    told = place.put()
    assert told["refused"] == [["b", "set_aside"]]
    assert [(number, bool(new)) for number, new, _ in told["swapped"]] == [(0, True), (2, True), (1, False)]
    if made:
        assert place.undo(told)["wrong"] == [["b", "other"]]
        (place.data / "b").unlink()
    assert place.undo(told) == {"wrong": [], "wrong_count": 0, "refused": []}
    assert place.is_as_before()
    assert place.undo(told) == {"wrong": [], "wrong_count": 0, "refused": []}


@pytest.mark.parametrize("foreign", [True, False], ids=["something foreign is there", "nothing can come"])
def test_what_an_attempt_that_was_killed_had_set_aside_is_not_forgotten_by_the_next(
    place: Place, foreign: bool
) -> None:
    class Killed(BaseException):
        pass

    def killed() -> None:
        raise Killed

    with place.patch.context() as dies:
        place.patch, patch = dies, place.patch
        place.failing(errno.EIO, ("b", "b"), after=killed)
        with pytest.raises(Killed):
            place.put()
        place.patch = patch
    assert (place.text("b"), place.text(f"b{ASIDE}")) == (None, "old b")
    if foreign:
        (place.data / "b").write_text("foreign")
    else:
        place.failing(errno.EXDEV, ("b", "b"))
    told = place.put()
    assert told["refused"] == [["b", "set_aside" if foreign else "other_file_system"]]
    assert len(told["swapped"]) == (3 if foreign else 2)
    if foreign:
        (place.data / "b").unlink()
    assert place.undo(told)["wrong"] == []
    assert place.is_as_before()


def test_what_changed_between_the_look_and_its_turn_is_refused_and_stays(place: Place) -> None:
    told = place.put()
    move = vars(placer)["_move"]
    seen: list[Any] = []

    def moved(*args: Any) -> None:
        if not seen:
            (place.data / "other").write_text("foreign")
            (place.data / "other").rename(place.data / "b")
        seen.append(args)
        move(*args)

    place.patch.setattr(placer, "_move", moved)
    assert place.undo(told) == {"wrong": [], "wrong_count": 0, "refused": [["b", "other"]]}
    assert [place.text(name) for name in (*NAMES, f"b{ASIDE}")] == ["old a", "foreign", "old c", "old b"]
    assert place.text(f"b{OUT}") is None


def test_what_vanished_amid_its_turn_is_not_told_as_put_back(place: Place) -> None:
    told = place.put()
    move = vars(placer)["_move"]

    def moved(source: int, name: str, target: int, new: str) -> None:
        move(source, name, target, new)
        if new == f"b{OUT}":
            (place.data / f"b{ASIDE}").rename(place.data / "elsewhere")

    place.patch.setattr(placer, "_move", moved)
    assert place.undo(told)["refused"] == [["b", "moved_meanwhile"]]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_what_cannot_be_looked_at_is_not_told_as_gone(place: Place, code: int) -> None:
    told, real = place.put(), vars(placer)["_there"]

    def there(directory: int, name: str) -> os.stat_result | None:
        if name == "b":
            raise OSError(code, os.strerror(code))
        return real(directory, name)

    place.patch.setattr(placer, "_there", there)
    with pytest.raises(OSError, match=os.strerror(code)):
        place.undo(told)


def test_a_file_system_that_is_full_amid_a_second_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=64", "tmpfs", disk], check=False)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        place = Place(disk / "data", monkeypatch)
        for above, text in ((place.data, "old"), (place.staging / "tree", "new")):
            (above / "d").mkdir()
            (above / "d" / "file").write_text(text)
        filled = 0
        with pytest.raises(OSError, match="No space left"):
            for filled in range(64):
                (disk / f"filler{filled}").touch()
        (disk / "filler0").unlink()
        plan = base64.b64encode(json.dumps(place.plan("swap", "d", "a")).encode()).decode()
        script = 'cd "$1" && exec 7<.. && exec "$2" -I "$3" put "$4"'
        command = ["sh", "-c", script, "sh", place.staging, sys.executable, placer.__file__, plan]
        told: dict[str, Any] = {}
        for _ in range(2):
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            told = json.loads(done.stdout)
            assert told["refused"] == [["a", "no_room"]]
            assert [number for number, _, _ in told["swapped"]] == [0]
        assert (place.text("d/file"), place.text("a")) == ("new", "old a")
        assert place.undo(told, "d", "a")["wrong"] == []
        assert (place.text("d/file"), place.text("a")) == ("old", "old a")
    finally:
        monkeypatch.undo()
        subprocess.run(["umount", disk], check=True)
