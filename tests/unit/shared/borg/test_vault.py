"""What a node keeps outside of a repository: its key as borg exports it, copies of its manifest."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from pathlib import Path

import pytest

from shared.borg.segments import DELETE, MANIFEST, PUT, entries, last_transaction, manifest, read
from shared.borg.vault import KEPT, exported_key, keep_manifest, kept_manifests, repository_id
from shared.errors import AppError, Permanent

MAGIC = b"BORG_SEG"


def entry(kind: int, object_id: bytes = MANIFEST, data: bytes = b"") -> bytes:
    body = struct.pack("<IB", 41 + len(data), kind) + object_id + data
    return struct.pack("<I", zlib.crc32(body)) + body


COMMIT = struct.pack("<I", zlib.crc32(struct.pack("<IB", 9, 2))) + struct.pack("<IB", 9, 2)


def write(repository: Path, number: int, *parts: bytes) -> Path:
    file = repository / "data" / str(number // 1000) / str(number)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(MAGIC + b"".join(parts))
    return file


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, None),
        ("not a configuration", None),
        ("[repository]\nversion = 1\n", None),
        ("[repository]\nid = 00ff\n", ""),
        ("[repository]\nid = 00ff\nkey = \n", ""),
        ("[repository]\nid = 00ff\nkey = AAAA\n\tBBBB\n", "BORG_KEY 00ff\nAAAA\nBBBB\n"),
    ],
)
def test_a_key_is_exported_as_far_as_there_is_one(tmp_path: Path, config: str | None, expected: str | None) -> None:
    if config is not None:
        (tmp_path / "config").write_text(config)
    assert exported_key(str(tmp_path)) == expected


def test_a_configuration_of_other_bytes_is_left_to_borg(tmp_path: Path) -> None:
    (tmp_path / "config").write_bytes(b"\xff\xfe[repository]")
    assert exported_key(str(tmp_path)) is None
    assert repository_id(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, None), ("not a configuration", None), ("[repository]\nversion = 1\n", None), ("[repository]\nid = \n", None),
        ("[repository]\nid = 00ff\n", "00ff"), ("[repository]\nid = 00ff\n[repository]\n", None),
    ],
)  # fmt: skip
def test_the_id_is_what_the_configuration_says_if_it_says_one(
    tmp_path: Path, config: str | None, expected: str | None
) -> None:
    if config is not None:
        (tmp_path / "config").write_text(config)
    assert repository_id(str(tmp_path)) == expected


def test_the_last_copies_of_the_manifest_are_kept_and_no_more(tmp_path: Path) -> None:
    repository, copies = tmp_path / "repo", tmp_path / "copies"
    for number in range(0, 2 * (KEPT + 5), 2):
        write(repository, number, entry(PUT, data=f"manifest {number}".encode()))
        write(repository, number + 1, COMMIT)
        sealed = manifest(str(repository), number + 1)
        assert sealed
        keep_manifest(copies, sealed, number + 1)
        keep_manifest(copies, sealed, number + 1)  # twice is no harm
    (copies / "other.manifest").touch()
    kept = kept_manifests(copies)
    assert len(kept) == KEPT
    assert kept[0].read_bytes() == f"manifest {2 * (KEPT + 5) - 2}".encode()
    assert kept[-1].read_bytes() == b"manifest 10"
    assert copies.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "node_disk_full"), (errno.EIO, "node_disk_error")])
def test_a_full_disk_of_the_node_is_told_as_that_and_leaves_no_half_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("shared.borg.vault.os.fsync", full)
    with pytest.raises(AppError) as caught:
        keep_manifest(tmp_path / "copies", b"sealed", 7)
    assert caught.value.code == code
    assert list((tmp_path / "copies").iterdir()) == []


def test_a_manifest_that_was_deleted_is_not_kept(tmp_path: Path) -> None:
    write(tmp_path, 0, entry(PUT, data=b"x"))
    write(tmp_path, 1, entry(DELETE), COMMIT)
    assert manifest(str(tmp_path), 1) is None


def test_an_object_of_other_bytes_than_were_written_is_not_read(tmp_path: Path) -> None:
    file = write(tmp_path, 0, entry(PUT, data=b"manifest"))
    (found,) = entries(file, 0)
    assert read(file, found) == b"manifest"
    file.write_bytes(file.read_bytes()[:-1] + b"X")
    with pytest.raises(Permanent) as caught:
        read(file, found)
    assert caught.value.code == "segments_damaged"


@pytest.mark.parametrize("junk", [b"\0" * 9, b"abc", struct.pack("<IIB", 1, 41, 7) + b"x" * 32])
def test_what_is_no_entry_is_damage_and_commits_nothing(tmp_path: Path, junk: bytes) -> None:
    file = write(tmp_path, 3, junk, COMMIT)
    with pytest.raises(Permanent, match="segment 3"):
        list(entries(file, 3))
    assert last_transaction(str(tmp_path)) is None
    write(tmp_path, 1, COMMIT, COMMIT)
    assert last_transaction(str(tmp_path)) == 1
    write(tmp_path, 2)
    assert last_transaction(str(tmp_path)) == 1


def test_a_segment_that_is_gone_or_ends_within_an_entry_is_damage(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="cannot be read"):
        list(entries(tmp_path / "gone", 4))
    file = write(tmp_path, 4, entry(PUT, data=b"x"), b"abc")
    with pytest.raises(Permanent, match="cut short"):
        list(entries(file, 4))
    assert last_transaction(str(tmp_path)) is None
