"""What a person takes home of an archive: one file, a tar, a tar within zstd, a zip; on real borg."""

from __future__ import annotations

import base64
import io
import os
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from shared.borg import export_formats
from shared.borg.export_formats import LEFT_OUT, escaped
from tests.harness.untraced import untraced
from tests.integration.borg.conftest import BORG
from tests.integration.borg.test_export_archive import BORGS, ENVIRONMENT, Kept, with_lost_link

NAMES = [
    b"latin1-\xe9%",
    b"new\nline",
    b"quo\"te'",
    "größe".encode(),
    b"\xe2\x80\xaeright",
    b"back\\slash",
    b"-- {now}",
    b" ",
    b"*?[a]",
]
BIG = os.urandom(3 * 1024 * 1024 + 17)


def make_tree(source: Path) -> None:
    source.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        (source / os.fsdecode(name)).write_bytes(name * number)
    (source / "empty").touch()
    (source / "zeros").write_bytes(bytes(2_000_000))
    (source / "big").write_bytes(BIG)
    (source / "big").chmod(0o640)
    (source / "another").hardlink_to(source / "big")
    (source / "link").symlink_to(os.fsdecode(b"to-\xe9"))
    os.mkfifo(source / os.fsdecode(b"pipe-\xe9"))
    (source / "directory" / "below").mkdir(parents=True)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    directory = tmp_path_factory.mktemp("formats")
    make_tree(directory / "source" / "a")
    return Kept(directory)


@pytest.mark.parametrize(
    ("name", "data"),
    [*((name, name * number) for number, name in enumerate(NAMES)), (b"empty", b""), (b"big", BIG), (b"another", BIG)],
    ids=range(len(NAMES) + 3),
)
def test_a_file_comes_byte_for_byte_whatever_its_name(kept: Kept, name: bytes, data: bytes) -> None:
    assert kept.run(b"a/" + name, format="file", full=False) == data


@pytest.mark.parametrize(
    ("path", "said"),
    [(b"a/nothing", b"NotThere"), (b"a/directory", b"NoFile"), (b"a/link", b"NoFile"), (b"a/pipe-\xe9", b"NoFile")],
)
def test_what_is_no_file_is_told_as_that(kept: Kept, path: bytes, said: bytes) -> None:
    assert said in kept.run(path, format="file", full=False, status=77)


def test_a_tar_within_zstd_is_the_tar(kept: Kept) -> None:
    packed = kept.run(b"a", format="tar.zst")
    unpacked = subprocess.run(["zstd", "-dc"], input=packed, capture_output=True, check=True).stdout
    assert unpacked == kept.run(b"a", format="tar") == kept.run(b"a")
    assert len(packed) < len(unpacked) - 1_500_000, "nothing was compressed"
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as tar:
        extracted = tar.extractfile("a/another" if tar.getmember("a/another").isreg() else "a/big")
        assert extracted is not None
        assert extracted.read() == BIG


@pytest.mark.parametrize("form", ["tar", "tar.zst", "zip"])
@pytest.mark.parametrize("beside", [[], [b"a/empty", b"a/directory"]], ids=["alone", "beside what is there"])
def test_what_was_chosen_and_is_not_there_is_told(kept: Kept, form: str, beside: list[bytes]) -> None:
    said = kept.run(*beside, b"a/nothing", format=form, full=False, status=77)
    assert b"NotThere" in said
    assert b"a/nothing" in said


@pytest.mark.parametrize("form", ["tar", "tar.zst", "zip"])
def test_a_directory_of_which_the_archive_has_only_what_it_holds_is_there(tmp_path: Path, form: str) -> None:
    kept = Kept(tmp_path)
    kept.borg("create", "r::below", "a/b/file0", cwd=tmp_path / "source")
    kept.id = kept.id_of("below")
    assert kept.run(b"a", name="below", format=form, full=False)
    # What is chosen twice matches one pattern only, and borg warns of the other.
    assert kept.run(b"a", b"a/b", name="below", format=form, full=False, status=101)


def test_one_file_that_never_came_is_told() -> None:
    with pytest.raises(export_formats.NotThere):
        export_formats.OneFile(io.BytesIO(), "a/x").close()


def test_a_zip_holds_every_file_and_says_what_it_does_not(kept: Kept) -> None:
    with zipfile.ZipFile(io.BytesIO(kept.run(b"a", format="zip", full=False))) as found:
        assert found.testzip() is None
        for number, name in enumerate(NAMES):
            assert found.read("a/" + escaped(os.fsdecode(name))) == name * number
        assert (found.read("a/big"), found.read("a/another"), found.read("a/empty")) == (BIG, BIG, b"")
        link = found.getinfo("a/link")
        assert stat.S_ISLNK(link.external_attr >> 16)
        assert found.read(link) == b"to-\xe9"
        assert found.getinfo("a/directory/below/").is_dir()
        assert stat.S_IMODE(found.getinfo("a/big").external_attr >> 16) == 0o640
        assert found.read(LEFT_OUT) == b"a/pipe-%E9: a pipe\n"
        assert len(found.namelist()) == len(set(found.namelist()))
    assert "a/latin1-%E9%25" in found.namelist()


def test_other_programs_read_the_zip(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(kept.run(b"a", format="zip", full=False))
    test = ["python3", "-m", "zipfile", "-t", str(tmp_path / "a.zip")]
    assert "Done" in subprocess.run(test, capture_output=True, text=True, check=True).stdout


def test_a_zip_larger_than_32_bits_has_the_fields_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    stream = io.BytesIO()
    made = export_formats.Zip(stream, dict, lambda _chunks: None)
    info = tarfile.TarInfo("x")
    info.size = 5000
    made.addfile(info, io.BytesIO(b"y" * 5000))
    made.close()
    monkeypatch.undo()
    with zipfile.ZipFile(stream) as found:
        assert found.getinfo("x").extract_version == zipfile.ZIP64_VERSION
        assert found.read("x") == b"y" * 5000


def test_of_what_has_one_name_twice_the_first_comes_and_nothing_beside_it() -> None:
    """A hostile archive may hold a name twice, and borg hands on what lies around a file."""
    stream = io.BytesIO()
    one = export_formats.OneFile(stream, "a/x")
    for name, data in (("a/y", b"beside"), ("a/x", b"first"), ("a/x", b"second"), ("a/x/z", b"below")):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        one.addfile(info, io.BytesIO(data))
    assert stream.getvalue() == b"first"


@pytest.mark.parametrize("mtime", [0.0, -1e12, 1e12, 1e300])
def test_a_time_that_no_zip_has_ends_nothing(mtime: float) -> None:
    stream = io.BytesIO()
    made = export_formats.Zip(stream, dict, lambda _chunks: None)
    info = tarfile.TarInfo("x")
    info.mtime = mtime
    made.addfile(info, None)
    made.close()
    with zipfile.ZipFile(stream) as found:
        assert found.getinfo("x").date_time[0] in (1980, 2107)


@pytest.mark.parametrize("form", ["file", "tar", "tar.zst", "zip"])
def test_zeros_in_the_place_of_lost_data_are_never_handed_on(tmp_path: Path, form: str) -> None:
    kept = Kept(tmp_path)
    kept.lose()
    damaged = kept.counted()["damaged"]
    assert damaged
    assert b"Damaged" in kept.run(base64.b64decode(damaged[0]), format=form, full=False, status=77)


@pytest.fixture(scope="module", params=BORGS, ids=["1.4", "1.2"])
def lost(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return with_lost_link(tmp_path_factory.mktemp("lost"), request.param)


@pytest.mark.parametrize("form", ["file", "tar", "tar.zst", "zip"])
@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        ([b"two/other"], b"two/other"), ([b"one/first"], b"one/first"),
        ([b"two/other", b"one/first"], b"one/first"), ([b"two/other", b"two/whole"], b"two/other"),
    ],
    ids=["another name", "the first name", "both", "another name among others"],
)  # fmt: skip
def test_zeros_are_not_handed_on_by_another_name_of_the_file(
    lost: Kept, form: str, chosen: list[bytes], named: bytes
) -> None:
    status = 77 if lost.python == BORGS[0] else 2  # borg 1.2 knows no statuses but this one
    said = lost.run(*chosen, name="linked", format=form, full=False, status=status)
    assert b"Damaged" in said
    assert named in said


def test_a_link_to_a_file_that_was_lost_and_what_stands_beside_it_are_handed_on(lost: Kept) -> None:
    assert lost.run(b"two/whole", name="linked", format="file", full=False) == b"whole"
    for form in ("tar", "tar.zst", "zip"):
        assert lost.run(b"two/soft", b"two/whole", name="linked", format=form, full=False)


@pytest.mark.parametrize(
    "hostile",
    [
        "item.path = item.path.replace('file1', '../../file1')",
        "item.path = item.path.replace('file1', '/etc/file1')",
        "if item.get('source') and item.path != 'a/soft': item.source = '../../etc/passwd'",
        "if item.get('source') and item.path != 'a/soft': item.source = '/etc/passwd'",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, hostile: str) -> None:
    kept = Kept(tmp_path)
    script = (
        "import sys, borg.archive as a, borg.archiver as m\n"
        "plain = a.Archive.add_item\n"
        "def add(self, item, *more, **options):\n"
        f"    {hostile}\n"
        "    return plain(self, item, *more, **options)\n"
        "a.Archive.add_item = add\n"
        "sys.argv = ['borg', 'create', sys.argv[1] + '::{{odd}}2', 'a']\n"
        "m.main()\n"
    )
    environment = untraced({**ENVIRONMENT, "BORG_BASE_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"})
    python = Path(BORG).read_bytes().splitlines()[0].decode().removeprefix("#!")
    made = [python, "-c", script, str(tmp_path / "r")]
    subprocess.run(made, cwd=tmp_path / "source", env=environment, check=True, capture_output=True)
    kept.id = kept.borg("list", "--format={id}", "--last=1", "r")
    for form in ("tar", "zip"):
        assert b"Hostile" in kept.run(name="{odd}2", format=form, full=False, status=77)
