"""A view beside a writer: what it holds is what was committed, byte for byte, and the repository never notices."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.borg import segments, views
from shared.errors import Permanent, Transient
from tests.harness.untraced import untraced

NODES_BORG = str(Path(sys.executable).parent / "borg")
BORGS = {"1.4": NODES_BORG, "1.2": "/usr/bin/borg"}
CONTENT = {f"file-{number}": os.urandom(700_000) for number in range(6)}


def alive() -> None:
    """Nobody waits."""


class Repo:
    """A repository with one archive that stays, and whatever a writer does to it."""

    def __init__(self, directory: Path, borg: str) -> None:
        self.directory, self.borg, self.path = directory, borg, directory / "pool" / "web1" / "system"
        self.source = directory / "source"
        self.source.mkdir()
        for name, data in CONTENT.items():
            (self.source / name).write_bytes(data)
        self("init", "-e", "repokey-blake2", "--make-parent-dirs", str(self.path))
        # Small segments: each commit makes several, and compaction has something to do.
        config = self.path / "config"
        config.write_text(config.read_text().replace("max_segment_size = 524288000", "max_segment_size = 500000"))
        self("create", "--compression=none", f"{self.path}::kept", "source")

    def __call__(self, *arguments: str, borg: str = "", base: str = "client", cwd: Path | None = None) -> str:
        environment = untraced(os.environ) | {
            "BORG_PASSPHRASE": "canary", "BORG_BASE_DIR": str(self.directory / base), "TZ": "UTC",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes", "BORG_EXIT_CODES": "modern", "BORG_SELFTEST": "disabled",
        }  # fmt: skip
        done = subprocess.run([borg or self.borg, *arguments], env=environment, cwd=cwd or self.directory,
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    @property
    def view(self) -> Path:
        return Path(views.path_of(str(self.directory / "pool"), uuid.UUID(int=7)))

    def extracted(self, number: int) -> dict[str, bytes]:
        target = self.directory / f"out-{number}"
        target.mkdir()
        self("extract", f"{self.view}::kept", borg=NODES_BORG, base=f"of-view-{number}", cwd=target)
        return {file.name: file.read_bytes() for file in (target / "source").iterdir()}


@pytest.fixture(params=sorted(BORGS))
def repo(request: pytest.FixtureRequest, tmp_path: Path) -> Repo:
    return Repo(tmp_path, BORGS[request.param])


@pytest.fixture
def one(tmp_path: Path) -> Repo:
    return Repo(tmp_path, NODES_BORG)


@pytest.fixture
def writing(repo: Repo) -> Iterator[Callable[[], int]]:
    """Create, delete and compact without end; return how many rounds were done."""
    ending, rounds, failed = threading.Event(), [0], list[BaseException]()

    def write() -> None:
        try:
            while not ending.is_set():
                (repo.source / "more").write_bytes(os.urandom(1_200_000))
                repo("create", "--compression=none", f"{repo.path}::more-{rounds[0]}", "source")
                repo("delete", f"{repo.path}::more-{rounds[0]}")
                repo("compact", "--threshold=0", str(repo.path))
                rounds[0] += 1
        except BaseException as error:  # noqa: BLE001 - the test tells it
            failed.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    yield lambda: rounds[0]
    ending.set()
    thread.join()
    assert failed == []


def test_beside_create_delete_and_compact_every_view_is_byte_equal_and_the_repository_stays_sound(
    repo: Repo, writing: Callable[[], int]
) -> None:
    number = 0
    while number < 6 or writing() < 2:
        # Nothing holds this writer off: that it changed too often is told, and never a torn view is given.
        with contextlib.suppress(Transient):
            views.take(repo.path, repo.view, alive)
        if not repo.view.exists():
            continue
        assert repo.extracted(number) == CONTENT
        number += 1
    views.remove(repo.view, alive)
    assert not repo.view.exists()


def test_what_a_writer_adds_after_it_reaches_no_view_and_its_deletion_takes_nothing_from_it(repo: Repo) -> None:
    upto = views.take(repo.path, repo.view, alive)
    assert upto == segments.last_transaction(str(repo.path))
    before = {file: file.stat().st_ino for file in repo.view.rglob("*") if file.is_file()}
    repo("create", f"{repo.path}::later", "source")
    repo("delete", f"{repo.path}::kept")
    repo("compact", "--threshold=0", str(repo.path))
    assert {file: file.stat().st_ino for file in repo.view.rglob("*") if file.is_file()} == before
    assert repo("list", "--short", str(repo.view), borg=NODES_BORG, base="of-view").split() == ["kept"]
    assert repo.extracted(0) == CONTENT
    views.remove(repo.view, alive)
    repo("check", str(repo.path))
    assert repo("list", "--short", str(repo.path)).split() == ["later"]


def test_a_segment_that_is_being_written_is_left_out(one: Repo) -> None:
    """It shares its bytes with the view: once it is committed borg would find more there than the index says."""
    upto = segments.last_transaction(str(one.path)) or 0
    growing = one.path / "data" / "0" / str(upto + 1)
    growing.write_bytes(b"BORG_SEG")
    assert views.take(one.path, one.view, alive) == upto
    assert max(int(file.name) for file in (one.view / "data").rglob("*") if file.is_file()) == upto


def test_a_repository_whose_index_was_lost_in_a_crash_is_read_all_the_same(
    one: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "_PAUSE", 0.0)
    for file in one.path.glob("i*.*"):
        file.unlink()
    views.take(one.path, one.view, alive)
    assert one.extracted(0) == CONTENT
    assert not list(one.path.glob("index.*"))


def test_a_view_is_nobody_elses_to_look_into(one: Repo) -> None:
    views.take(one.path, one.view, alive)
    assert {oct(path.stat().st_mode & 0o777) for path in (one.view, one.view.parent)} == {"0o700"}


def test_what_an_attempt_that_was_killed_left_half_made_is_made_anew(one: Repo) -> None:
    (one.view / "data" / "0").mkdir(parents=True)
    (one.view / "data" / "0" / "1").write_bytes(b"torn")
    (one.view / "lock.exclusive").mkdir()
    views.take(one.path, one.view, alive)
    assert one.extracted(0) == CONTENT


def _refuses(number: int) -> Callable[..., None]:
    def link(*_arguments: Any, **_options: Any) -> None:
        raise OSError(number, os.strerror(number))

    return link


def _copies(source: Any, target: Any, **_options: Any) -> None:
    Path(target).write_bytes(Path(source).read_bytes())


@pytest.mark.parametrize(
    "link",
    [*(_refuses(number) for number in (errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EXDEV, errno.ENOSPC)), _copies],
    ids=["forbidden", "too many", "not supported", "other file system", "full", "copies"],
)
def test_a_pool_without_links_is_told_apart_and_keeps_nothing_half_made(
    one: Repo, monkeypatch: pytest.MonkeyPatch, link: Callable[..., None]
) -> None:
    assert views.can_link(one.directory / "pool")
    monkeypatch.setattr(os, "link", link)
    assert not views.can_link(one.directory / "pool")
    with pytest.raises(views.CannotLink):
        views.take(one.path, one.view, alive)
    assert list(one.view.parent.iterdir()) == []


def test_a_disk_that_fails_is_no_pool_without_links(one: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", _refuses(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        views.take(one.path, one.view, alive)


def test_the_names_of_views_are_found_and_nothing_else(one: Repo) -> None:
    pool = one.directory / "pool"
    assert views.names(pool) == {}
    views.take(one.path, one.view, alive)
    (one.view.parent / "notes.txt").touch()
    assert list(views.names(pool)) == [uuid.UUID(int=7)]


def _config_goes(repo: Repo, _monkeypatch: pytest.MonkeyPatch) -> None:
    (repo.path / "config").unlink()


def _commits_each_time(_repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    count = iter(range(1, 1000))
    of_disk = segments.last_transaction
    monkeypatch.setattr(segments, "last_transaction", lambda *of: (of_disk(*of) or 0) if next(count) % 2 else 10**6)


def _segment_goes_before_it_is_linked(_repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", _refuses(errno.ENOENT))


def _segment_goes_after_it_was_linked(_repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    count, of_disk = iter(range(1, 1000)), segments.committed

    def committed(repository: str, upto: int) -> list[tuple[int, Path]]:
        found = list(of_disk(repository, upto))
        return found if next(count) % 2 else found[1:]

    monkeypatch.setattr(segments, "committed", committed)


@pytest.mark.parametrize(
    "change",
    [_config_goes, _commits_each_time, _segment_goes_before_it_is_linked, _segment_goes_after_it_was_linked],
)
def test_a_repository_that_changes_each_time_is_tried_again_later_and_keeps_nothing_half_made(
    one: Repo, monkeypatch: pytest.MonkeyPatch, change: Callable[[Repo, pytest.MonkeyPatch], None]
) -> None:
    monkeypatch.setattr(views, "_PAUSE", 0.0)
    change(one, monkeypatch)
    with pytest.raises(Transient) as caught:
        views.take(one.path, one.view, alive)
    assert caught.value.code == "view_moved"
    assert list(one.view.parent.iterdir()) == []


def test_where_nothing_was_ever_committed_there_is_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "pool" / "web1" / "system" / "data").mkdir(parents=True)
    with pytest.raises(Permanent) as caught:
        views.take(tmp_path / "pool" / "web1" / "system", tmp_path / "pool" / views.DIRECTORY / "1", alive)
    assert caught.value.code == "repository_missing"


def test_no_view_is_made_where_a_link_leads_out_of_the_pool(one: Repo, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    one.view.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(views.CannotLink, match="symbolic link"):
        views.take(one.path, one.view, alive)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_node_without_traces_has_none(tmp_path: Path) -> None:
    assert views.traces(tmp_path) == set()
    views.base_of(tmp_path, uuid.UUID(int=7)).mkdir(parents=True)
    assert views.traces(tmp_path) == {uuid.UUID(int=7)}
