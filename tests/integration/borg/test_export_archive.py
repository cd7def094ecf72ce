"""What of an archive is written as a tar, and counted: on real borg."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from borg.helpers import StableDict
from borg.item import Item

from shared.borg.export_archive import _headers, _numeric, _Sample
from tests.harness.borg_many import BORG_1_2
from tests.harness.untraced import tracing, untraced
from tests.integration.borg.conftest import PASSPHRASE, SCRIPTS
from tests.integration.borg.conftest import make_files as files_in

ENVIRONMENT = {"BORG_PASSPHRASE": PASSPHRASE, "TZ": "UTC", "BORG_EXIT_CODES": "modern", "LC_ALL": "C.UTF-8"}

BORGS = [sys.executable, str(BORG_1_2)]


class Kept:
    """A repository with one archive, and the borg that is read and written with."""

    def __init__(self, directory: Path, python: str = sys.executable) -> None:
        self.directory, self.python = directory, python
        source = directory / "source"
        files_in(source / "a" / "b", 3, 5000)
        (source / "a" / "soft").symlink_to("hard")
        (source / "a" / "hard").hardlink_to(source / "a" / "b" / "file0")
        self.borg("init", "-e", "repokey-blake2", "r")
        self.borg("create", "r::{{odd}}", "a", cwd=source)
        self.id = self.id_of("{odd}")

    def id_of(self, name: str) -> str:
        listed = json.loads(self.borg("list", "--json", "r"))["archives"]
        return next(one["id"] for one in listed if one["name"] == name)

    def lose(self, name: str = "{odd}") -> None:
        """Lose what stands in the middle of the largest segment, and let borg put zeros there."""
        segment = max((self.directory / "r" / "data" / "0").iterdir(), key=lambda path: path.stat().st_size)
        data = bytearray(segment.read_bytes())
        data[len(data) // 2] ^= 255
        segment.write_bytes(bytes(data))
        self.borg("check", "--repair", "r", status=None)
        self.id = self.id_of(name)

    def borg(self, *arguments: str, cwd: Path | None = None, status: int | None = 0) -> str:
        repository = [
            str(self.directory / one) if one.startswith("r") and one[1:3] in ("", "::") else one for one in arguments
        ]
        environment = untraced({**ENVIRONMENT, "BORG_BASE_DIR": str(self.directory), "PATH": "/usr/bin:/bin",
                                "BORG_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES"})  # fmt: skip
        borg = [str(Path(self.python).with_name("borg")), *repository]
        done = subprocess.run(borg, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert status is None or done.returncode == status, done.stderr
        return done.stdout

    def run(self, *items: bytes, status: int = 0, **plan: Any) -> bytes:
        encoded = [base64.b64encode(item).decode() for item in items]
        file = self.directory / "plan.json"
        file.write_text(
            json.dumps(
                {"name": "{odd}", "id": self.id, "items": encoded, "parents": [], "full": True, "count": False} | plan
            )
        )
        argv = [self.python, "-I", str(SCRIPTS / "export_archive.py"), str(self.directory / "r"), str(file)]
        traced = tracing() if self.python == sys.executable else {}
        environment = {**ENVIRONMENT, **traced, "BORG_BASE_DIR": str(self.directory), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(argv, env=environment, capture_output=True, check=False)
        assert done.returncode == status, done.stderr.decode()
        return done.stdout if status in (0, 101) else done.stderr

    def counted(self, *items: bytes, status: int = 0) -> dict[str, Any]:
        return json.loads(self.run(*items, count=True, status=status))


def with_lost_link(directory: Path, python: str) -> Kept:
    """An archive of two names of one file whose content was lost, of a symbolic link to it, and of a whole file."""
    kept = Kept(directory, python)
    source = directory / "source"
    for name in ("one", "two"):
        (source / name).mkdir()
    (source / "one" / "first").write_bytes(os.urandom(400_000))
    (source / "two" / "other").hardlink_to(source / "one" / "first")
    (source / "two" / "soft").symlink_to("one/first")
    (source / "two" / "whole").write_bytes(b"whole")
    kept.borg("create", "r::linked", "one", "two", cwd=source)
    kept.lose("linked")
    return kept


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return Kept(tmp_path_factory.mktemp("export"))


def listed(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: info for info in tar}


@pytest.mark.parametrize("full", [True, False])
def test_what_is_written_is_what_was_counted(kept: Kept, full: bool) -> None:
    found = listed(kept.run(full=full)).values()
    counted = kept.counted()
    assert sum(info.isreg() for info in found) == counted["files"] == 3
    assert sum(info.size for info in found) == counted["size"] == 15_000
    assert sum(info.islnk() for info in found) == counted["links"] == 1
    assert sum(info.isdir() for info in found) == counted["directories"] == 2
    assert sum(info.issym() for info in found) == counted["others"] == 1
    assert len(counted["sample"]) == 3
    assert all(("mtime" in info.pax_headers) is full for info in found)


@pytest.mark.parametrize("name", ["a/hard", "a/b/file0"])
def test_what_was_chosen_comes_with_its_data_whatever_name_came_first(kept: Kept, name: str) -> None:
    plan = {"parents": [base64.b64encode(b"a").decode()]}
    data = kept.run(name.encode(), b"a/no", status=101, **plan)
    assert {name: info.size for name, info in listed(data).items()} == {"a": 0, name: 5000}
    counted = kept.counted(name.encode(), b"a/no")
    assert (counted["files"], counted["links"], counted["size"]) == (1, 0, 5000)
    assert [base64.b64decode(one) for one in counted["found"]] == [name.encode()]


def test_what_plain_borg_saved_as_its_own_directory_is_no_entry_and_an_archive_is_found_by_its_id(
    tmp_path: Path,
) -> None:
    kept = Kept(tmp_path)
    kept.borg("create", "r::of {{now}}", ".", cwd=tmp_path / "source")
    by_id = {"id": kept.id_of("of {now}"), "name": "as it is called elsewhere", "by_id": True}
    names = {"a", "a/b", "a/hard", "a/soft", *(f"a/b/file{number}" for number in range(3))}
    for full in (True, False):
        assert set(listed(kept.run(full=full, **by_id))) == names
    counted = json.loads(kept.run(count=True, **by_id))
    assert (counted["files"], counted["directories"]) == (3, 2)
    assert b"Archive.DoesNotExist" in kept.run(**by_id | {"id": "f" * 64}, status=31)


def test_another_archive_of_that_name_is_not_read(kept: Kept) -> None:
    assert b"NotMeant" in kept.run(id="f" * 64, status=77)


def test_files_that_borg_repaired_with_zeros_are_named(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.lose()
    damaged = [base64.b64decode(path) for path in kept.counted()["damaged"]]
    assert damaged, "borg has replaced nothing"
    assert all(path.startswith(b"a/") for path in damaged)


@pytest.mark.parametrize("python", BORGS, ids=["1.4", "1.2"])
def test_every_name_of_a_file_that_borg_repaired_with_zeros_is_named(tmp_path: Path, python: str) -> None:
    """borg notes it with the first name alone, and takes the zeros from there for another one that was chosen."""
    kept = with_lost_link(tmp_path, python)

    def damaged(*items: bytes) -> list[bytes]:
        found = json.loads(kept.run(*items, name="linked", count=True))
        return [base64.b64decode(path) for path in found["damaged"]]

    assert damaged(b"one") == [b"one/first"]
    assert damaged(b"two/other") == damaged(b"two") == [b"two/other"]
    assert damaged(b"one", b"two") == damaged() == [b"one/first", b"two/other"]
    assert damaged(b"two/soft", b"two/whole") == []


def test_a_sample_holds_the_largest_files_and_others_by_chance() -> None:
    sample, again = _Sample("id"), _Sample("id")
    for number in range(3000):
        for one in (sample, again):
            one.add(b"%04d" % number, number)
    paths = sample.paths()
    assert paths == again.paths()
    assert {b"%04d" % number for number in range(2980, 3000)} <= set(paths)
    assert 180 <= len(paths) <= 200
    assert any(path < b"1000" for path in paths)


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        (b"user::rw-\nuser:web:r--:33\ngroup::r--", "user::rw-,user:33:r--,group::r--"),
        (b"user:web:r--\nmask::r--", "user:web:r--,mask::r--"),
    ],
)
def test_access_lists_name_numbers_where_borg_kept_them(stored: bytes, written: str) -> None:
    assert _numeric(stored) == written


def test_what_a_tar_has_no_field_for_goes_into_its_headers() -> None:
    attributes = StableDict({b"user.a=b%\xff": b"\0\xfe", b"user.none": None})
    item = Item(mtime=7_000_000_042, xattrs=attributes, acl_default=b"user:web:r--:33")
    assert _headers(item) == {
        "mtime": "7.000000042", "SCHILY.xattr.user.a%3Db%25\udcff": "\0\udcfe", "SCHILY.xattr.user.none": "",
        "SCHILY.acl.default": "user:33:r--",
    }  # fmt: skip
    assert _headers(Item(mtime=7_000_000_000)) == {}
