"""Where a node looks for a repository of plain borg, what it takes for one, and whose locks it takes away."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.backup.node import foreign
from shared.errors import AppError, Permanent, Transient

CONFIG = "[repository]\nversion = {version}\nid = {id}\n"
HERE = socket.gethostname()


def repository(path: Path, *, version: str = "1", borg_id: str = "ab" * 32, segment: bytes = b"BORG_SEG") -> Path:
    (path / "data" / "0").mkdir(parents=True)
    (path / "config").write_text(CONFIG.format(version=version, id=borg_id))
    (path / "data" / "0" / "1").write_bytes(segment)
    return path


def code_of(work: Callable[[], object]) -> str:
    with pytest.raises(AppError) as caught:
        work()
    return caught.value.code


def test_below_the_pool_and_below_the_roots_and_nowhere_else(tmp_path: Path) -> None:
    pool, root, other = tmp_path / "pool", tmp_path / "root", tmp_path / "other"
    for one in (pool / "a" / "b", root / "a", other / "a", tmp_path / "pool2" / "a"):
        one.mkdir(parents=True)
    (pool / "out").symlink_to(other / "a")
    (pool / "up").symlink_to("..")
    (pool / "in").symlink_to(pool / "a")
    (root / "out").symlink_to("/etc")
    (tmp_path / "way").symlink_to(pool)
    roots = (str(root),)

    def real(path: Path) -> str:
        return foreign.real_place(str(path), str(pool), roots)

    assert real(pool / "a" / "b") == str(pool / "a" / "b")
    assert real(pool / "in") == str(pool / "a")
    assert real(tmp_path / "way" / "a") == str(pool / "a")
    assert real(root / "a") == str(root / "a")
    assert real(root) == str(root)
    views = (pool / ".borgfleet-views" / "x", pool / ".new-1", pool / ".broken-1")
    outside = (pool, other / "a", tmp_path / "pool2" / "a", Path("/"), Path("/etc"), pool / "out", pool / "up" / "other",
               root / "out", *views)  # fmt: skip
    assert {code_of(lambda one=one: real(one)) for one in outside} == {"import_path_refused"}
    assert code_of(lambda: foreign.real_place(str(root / "a"), str(pool), ())) == "import_path_refused"


def test_what_is_no_whole_repository_of_borg_1_is_told_for_what_it_is(tmp_path: Path) -> None:
    whole = repository(tmp_path / "whole")
    foreign.require_repository(str(whole))
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    garbled = repository(tmp_path / "garbled")
    (garbled / "config").write_bytes(b"\xff\x00[not a config")
    other = repository(tmp_path / "other")
    (other / "config").write_text("[cache]\nversion = 1\n")
    hollow = repository(tmp_path / "hollow")
    (hollow / "data" / "0" / "1").unlink()
    linked = repository(tmp_path / "linked")
    (linked / "config").rename(tmp_path / "config")
    (linked / "config").symlink_to(tmp_path / "config")
    segment = repository(tmp_path / "segment")
    (segment / "data" / "0" / "2").symlink_to("/etc/passwd")
    cases = {
        tmp_path / "nothing": "repository_invalid", tmp_path / "file": "repository_invalid",
        tmp_path / "empty": "repository_invalid", garbled: "repository_invalid", other: "repository_invalid",
        hollow: "repository_invalid", linked: "import_path_refused", segment: "import_path_refused",
        repository(tmp_path / "two", version="2"): "repository_version",
        repository(tmp_path / "odd", version="one"): "repository_version",
        repository(tmp_path / "nameless", borg_id=""): "repository_invalid",
        repository(tmp_path / "attic", segment=b"ATTICSEG"): "repository_attic",
        repository(whole / "inner"): "import_path_inside", whole / "data" / "0": "import_path_inside",
    }  # fmt: skip
    assert {one: code_of(lambda one=one: foreign.require_repository(str(one))) for one in cases} == cases


def test_one_that_cannot_be_read_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = repository(tmp_path / "r")
    closed = place / "data" / "0" / "1"
    monkeypatch.setattr(os, "access", lambda path, _mode: str(path) != str(closed))  # root may read all
    with pytest.raises(Permanent, match=str(closed)) as caught:
        foreign.require_repository(str(place))
    assert caught.value.code == "repository_unreadable"


def test_one_that_cannot_be_written_to_is_told_before_it_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = repository(tmp_path / "r")
    before = sorted(place.rglob("*"))
    foreign.require_writable(str(place))
    assert sorted(place.rglob("*")) == before

    def read_only(_self: Path, **_more: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "touch", read_only)
    assert code_of(lambda: foreign.require_writable(str(place))) == "repository_not_writable"


def locked(place: Path, holder: str) -> None:
    (place / "lock.exclusive").mkdir()
    (place / "lock.exclusive" / holder).touch()
    host, _, rest = holder.rpartition(".")
    pid, _, thread = rest.partition("-")
    (place / "lock.roster").write_text(json.dumps({"exclusive": [[host, int(pid), int(thread)]]}))


@pytest.mark.parametrize("holder", [f"{HERE}@1.999999-0", "gone.example.org@7.4242-1"])
def test_a_lock_of_the_dead_is_taken_away(tmp_path: Path, holder: str) -> None:
    place = repository(tmp_path / "r")
    assert foreign.take_locks(str(place)) == ()
    locked(place, holder)
    assert foreign.take_locks(str(place)) == (holder,)
    assert not [one for one in place.iterdir() if one.name.startswith("lock")]


@pytest.mark.parametrize("roster", ["", "null", "[1]", '{"exclusive": 7}'])
def test_a_roster_that_is_none_keeps_nobody(tmp_path: Path, roster: str) -> None:
    place = repository(tmp_path / "r")
    (place / "lock.roster").write_text(roster)
    assert foreign.take_locks(str(place)) == ()


def test_nothing_is_taken_from_who_is_at_work(tmp_path: Path) -> None:
    place = repository(tmp_path / "r")
    with (place / "data" / "0" / "1").open() as held, subprocess.Popen(["sleep", "600"], stdin=held) as reader:
        locked(place, f"{HERE}@1.999999-0")
        with pytest.raises(Transient) as caught:
            foreign.take_locks(str(place))
        assert caught.value.code == "repository_locked"
        assert str(reader.pid) in caught.value.message
        reader.kill()
    assert (place / "lock.exclusive").is_dir()
    borg = tmp_path / "borg"
    borg.write_text("import sys; print(flush=True); sys.stdin.read()")
    argv = [sys.executable, str(borg), "serve"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        (place / "lock.exclusive" / f"{HERE}@1.{server.pid}-0").touch()
        with pytest.raises(Transient, match=str(server.pid)):
            foreign.take_locks(str(place))
        server.kill()


def test_a_lock_from_elsewhere_on_a_disk_of_the_network_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = repository(tmp_path / "r")
    locked(place, "other.example.org@7.4242-1")
    monkeypatch.setattr(foreign, "_file_system", lambda _place: "nfs4")
    with pytest.raises(Permanent, match=r"other\.example\.org"):
        foreign.take_locks(str(place))
    assert (place / "lock.exclusive").is_dir()


def test_the_file_system_of_a_directory_is_known() -> None:
    assert foreign._file_system(Path("/proc/self")) == "proc"
