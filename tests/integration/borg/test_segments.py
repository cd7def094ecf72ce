"""What real borg writes, read entry by entry: an honest client is never taken for an attacker, an attacker always."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import zlib
from pathlib import Path

import pytest

from shared.borg.segments import (
    DELETE,
    MANIFEST,
    PUT,
    Entry,
    entries,
    history,
    last_transaction,
    manifest,
    originals,
    segments,
)
from shared.errors import Permanent
from tests.harness.borg_client import DEBIAN, NODE, Client, node, write_behind

BOTH = pytest.mark.parametrize("borg", [DEBIAN, NODE], ids=["1.2.4", "1.4.5"])


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    for number in range(40):
        (directory / f"file{number}").write_bytes(os.urandom(60_000))
    return directory


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A repository with one archive."""
    made = tmp_path_factory.mktemp("template") / "repo"
    home = made.parent / "home"
    node(made, home, "init", "--encryption=repokey-blake2", "{repo}")
    Client(NODE, made, home).create("first", data)
    return made


@pytest.fixture
def repository(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path / "repo")
    return tmp_path / "repo"


def everything(repository: Path) -> list[Entry]:
    upto = last_transaction(str(repository)) or 0
    return [entry for number, file in segments(str(repository), -1, upto) for entry in entries(file, number)]


def objects(repository: Path) -> dict[bytes, Entry]:
    return {one.id: one for one in everything(repository) if one.kind == PUT and one.id != MANIFEST}


@BOTH
def test_honest_runs_of_every_kind_rewrite_nothing(borg: str, repository: Path, data: Path, tmp_path: Path) -> None:
    client, path = Client(borg, repository, tmp_path / "client"), str(repository)
    start = last_transaction(path)
    more = tmp_path / "more"
    more.mkdir()
    for number in range(20):
        (more / f"new{number}").write_bytes(os.urandom(100_000))
    client.create("again", data)
    client.create("both", data, more)
    (tmp_path / "empty").mkdir()
    client.create("empty", tmp_path / "empty")
    checkpoints = ("--checkpoint-interval=1", "--upload-ratelimit=300")
    for number in range(30):
        (more / f"later{number}").write_bytes(os.urandom(60_000))
    client.create("with-checkpoints", more, options=checkpoints)
    deleted = [one for one in everything(repository) if one.kind == DELETE and one.id != MANIFEST]
    assert deleted, "a run with checkpoints deletes its own: else this test says nothing"
    shutil.rmtree(tmp_path / "client" / ".cache")
    client.create("cache-lost", data, more)
    Client(NODE, repository, tmp_path / "second").create("second-client", data)
    client.run("list", "{repo}")
    client.run("extract", "--dry-run", "{repo}::both")
    found = history(path, start)
    assert (found.rewritten, found.upto) == (frozenset(), last_transaction(path))
    assert found.upto is not None
    assert start is not None
    assert found.upto > start


@BOTH
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_was_cut_and_made_again_rewrites_nothing(
    borg: str, how: signal.Signals, repository: Path, tmp_path: Path
) -> None:
    client, path = Client(borg, repository, tmp_path / "client"), str(repository)
    start = last_transaction(path)
    large = tmp_path / "large"
    large.write_bytes(os.urandom(1_500_000))
    for number in range(2):
        client.cut(f"cut{number}", large, how)
        while list(repository.glob("lock.*")) and how is signal.SIGKILL:
            client.run("break-lock", "{repo}")
        assert history(path, start).rewritten == frozenset()
    client.create("whole", large)
    assert history(path, start).rewritten == frozenset()
    assert history(path, start).upto == last_transaction(path)


@BOTH
@pytest.mark.parametrize("how", ["delete", "recreate", "rename", "prune"])
def test_what_a_client_deletes_of_what_was_there_is_seen(borg: str, how: str, repository: Path, tmp_path: Path) -> None:
    client, path = Client(borg, repository, tmp_path / "client"), str(repository)
    start, before = last_transaction(path), objects(repository)
    argv = {
        "delete": ["delete", "{repo}::first"],
        "recreate": ["recreate", "--exclude=*/file1*", "{repo}::first"],
        "rename": ["rename", "{repo}::first", "other"],
        "prune": ["prune", "--keep-last=1", "{repo}"],
    }[how]
    if how == "prune":
        client.create("second", tmp_path / "client" / ".config")
    client.run(*argv)
    found = history(path, start)
    assert found.rewritten
    assert found.rewritten <= before.keys()


@pytest.mark.parametrize("how", ["replaced", "deleted", "manifest deleted", "own deleted, then another's"])
def test_a_patched_client_is_seen_too(how: str, repository: Path) -> None:
    path = str(repository)
    start, (victim, *_) = last_transaction(path), objects(repository)
    own = bytes([7]) * 32
    if how == "replaced":
        write_behind(repository, {victim: b"garbage"})
    elif how == "deleted":
        write_behind(repository, {}, (victim,))
    elif how == "manifest deleted":
        write_behind(repository, {}, (MANIFEST,))
        assert manifest(path, last_transaction(path) or 0) is None
        victim = MANIFEST
    else:
        write_behind(repository, {own: b"mine"}, (own, victim))
    assert history(path, start).rewritten == {victim}


def test_the_nodes_own_maintenance_is_what_the_starting_point_is_for(repository: Path, tmp_path: Path) -> None:
    path, home = str(repository), tmp_path / "home"
    before = last_transaction(path)
    node(repository, home, "delete", "{repo}::first")
    assert history(path, before).rewritten
    node(repository, home, "compact", "--threshold=0", "{repo}")
    start = last_transaction(path)
    Client(DEBIAN, repository, tmp_path / "client").create("after", home)
    found = history(path, start)
    assert found.rewritten == frozenset()
    assert history(path, found.upto).upto == found.upto


def test_the_manifest_is_found_as_borg_sealed_it(repository: Path, data: Path, tmp_path: Path) -> None:
    path = str(repository)
    early = last_transaction(path)
    assert early is not None
    sealed = manifest(path, early)
    Client(DEBIAN, repository, tmp_path / "client").create("second", data)
    late = last_transaction(path)
    assert late is not None
    assert manifest(path, early) == sealed != manifest(path, late)


@pytest.mark.parametrize("how", ["flipped", "cut", "missing", "unreadable", "no segment"])
def test_damage_is_no_attack_and_has_a_name_of_its_own(how: str, repository: Path, data: Path, tmp_path: Path) -> None:
    path = str(repository)
    start = last_transaction(path)
    Client(NODE, repository, tmp_path / "client").create("second", data)
    upto = last_transaction(path)
    assert start is not None
    assert upto is not None
    chosen = segments(path, start, upto)
    file = next(file for number, file in chosen if any(e.kind == DELETE for e in entries(file, number)))
    whole = bytearray(file.read_bytes())
    if how == "flipped":
        whole[20] ^= 1
        file.write_bytes(whole)
    elif how == "cut":
        file.write_bytes(whole[:-5])
    elif how == "missing":
        file.unlink()
    elif how == "unreadable":
        file.unlink()
        file.symlink_to(file.parent)
    else:
        file.write_bytes(b"JUNKJUNK" + whole[8:])
    with pytest.raises(Permanent) as caught:
        history(path, start)
    assert caught.value.code == "segments_damaged"


def test_more_deletions_than_fit_into_one_round_hide_nothing(repository: Path) -> None:
    path = str(repository)
    start, (victim, *_) = last_transaction(path), objects(repository)
    own = {os.urandom(32): b"mine" for _ in range(30)}
    write_behind(repository, own, (*own, victim))
    assert history(path, start, most=7).rewritten == {victim}
    write_behind(repository, {}, tuple(objects(repository).keys() - own.keys() - {victim}))
    assert 0 < len(history(path, start, most=7).rewritten) <= 7
    assert start is not None
    found, gone = originals(path, start)
    assert ({one.id for one in found}, gone) == (history(path, start).rewritten, 0)
    assert all(one.segment <= start for one in found)


def test_an_object_that_ends_like_a_commit_commits_nothing(repository: Path) -> None:
    path = str(repository)
    before = last_transaction(path)
    assert before is not None
    committed = segments(path, -1, before)[-1][1].read_bytes()[-9:]
    body = struct.pack("<IB32s", 41 + 9, PUT, b"x" * 32) + committed
    forged = repository / "data" / "0" / str(before + 1)
    forged.write_bytes(b"BORG_SEG" + struct.pack("<I", zlib.crc32(body)) + body)
    assert last_transaction(path) == before
    assert history(path, before).upto == before


def test_an_empty_directory_holds_nothing(tmp_path: Path) -> None:
    assert history(str(tmp_path), None).upto is None
    assert manifest(str(tmp_path), 5) is None
