"""The scripts that read and mend a repository, on real ones in the worst of states: each step passes over what it cannot read."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from borg.cache import CacheConfig
from borg.helpers import get_security_dir, msgpack
from borg.repository import Repository

from shared.borg import manifest_reader, nonce_counter, recover, sealed, verify
from tests.harness.patience import WAIT
from tests.integration.borg.conftest import BORG, PASSPHRASE

Made = tuple[Path, dict[str, str]]


def made(directory: Path, encryption: str) -> Path:
    path = directory / "repository"
    source = directory / "source"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(50_000))
    for arguments in (["init", f"--encryption={encryption}", str(path)], ["create", f"{path}::one", str(source)],
                      ["create", f"{path}::two", str(source)]):  # fmt: skip
        subprocess.run([BORG, *arguments], check=True, capture_output=True)
    return path


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"BORG_PASSPHRASE": PASSPHRASE, "BORG_BASE_DIR": str(tmp_path / "base"), "TZ": "UTC",
                        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("borg.logger.configured", True)  # else it would set up this process's own logging


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made(tmp_path, "repokey-blake2")


@pytest.fixture
def repository(path: Path) -> Iterator[Any]:
    with Repository(str(path), exclusive=True) as opened:
        opened.get_transaction_id()
        len(opened)
        yield opened


@pytest.fixture
def key(repository: Any) -> Any:
    return sealed.opened(repository, "repokey-blake2")


def archive_ids(repository: Any, key: Any) -> dict[bytes, bytes]:
    manifest, _ = key.unpack_and_verify_manifest(key.decrypt(None, repository.get(bytes(32))))
    return {entry[b"id"]: name for name, entry in manifest[b"archives"].items()}


def segments(path: Path) -> list[Path]:
    return sorted((file for file in (path / "data").rglob("*") if file.is_file()), key=lambda file: int(file.name))


def test_a_repository_that_counts_no_nonces_is_listed_and_begun_without(tmp_path: Path) -> None:
    path = made(tmp_path, "authenticated-blake2")
    with Repository(str(path), exclusive=True) as repository:
        key = sealed.opened(repository, "authenticated-blake2")
        assert manifest_reader.first_nonce(key, repository.get(bytes(32))) is None
        before = repository.get_free_nonce()
        nonce_counter.begin(repository, key, [])
        assert repository.get_free_nonce() == before


@pytest.mark.parametrize("content", [None, "", "not hexadecimal"])
def test_a_repository_that_does_not_say_what_is_given_out_says_nothing(path: Path, content: str | None) -> None:
    (path / "nonce").unlink()
    if content is not None:
        (path / "nonce").write_text(content)
    assert manifest_reader.given_out(str(path)) is None


def test_an_archive_whose_object_the_disk_garbled_is_listed_and_its_own_name_unknown(
    path: Path, repository: Any, key: Any
) -> None:
    (archive_id, name), *_ = archive_ids(repository, key).items()
    segment, offset = repository.index[archive_id]
    file = path / "data" / "0" / str(segment)
    content = bytearray(file.read_bytes())
    content[offset + 60] ^= 1
    file.write_bytes(content)
    listed = manifest_reader._entry(repository, key, name, {b"id": archive_id}, frozenset())
    assert (listed["name"], listed["there"], listed["inside"]) == (name.decode(), True, None)


def test_what_this_node_remembers_of_a_later_manifest_is_forgotten_and_of_an_earlier_one_kept(repository: Any) -> None:
    remembered = Path(get_security_dir(repository.id_str)) / "manifest-timestamp"
    seen = remembered.read_text()
    nonce_counter.forget_later(repository, "9000-01-01T00:00:00.000000")
    assert (remembered.read_text(), CacheConfig(repository).exists()) == (seen, True)
    nonce_counter.forget_later(repository, "2000-01-01T00:00:00.000000")
    assert (remembered.read_text(), CacheConfig(repository).exists()) == ("2000-01-01T00:00:00.000000", False)


def test_a_segment_that_is_garbled_hides_neither_what_was_used_nor_what_was_deleted_in_others(
    path: Path, repository: Any, key: Any
) -> None:
    used = max(nonce_counter._used(repository))
    archives = archive_ids(repository, key)
    for archive_id in archives:
        repository.delete(archive_id)
    last = segments(path)[-1]
    victim = next(file for file in segments(path) if int(file.name) != repository.index[bytes(32)][0])
    victim.write_bytes(b"garbage that is no segment of borg's")
    assert 0 < max(nonce_counter._used(repository)) <= used
    deleted = recover._deleted(repository, int(last.name))
    assert set(deleted) <= set(archives)
    assert recover._deleted(repository, -1) == {}


def test_an_archive_that_was_deleted_is_brought_back_with_what_is_left_of_it(repository: Any, key: Any) -> None:
    archives = archive_ids(repository, key)
    upto = repository.get_transaction_id()
    lost, whole = archives
    for archive_id in archives:
        repository.delete(archive_id)
    where = recover._deleted(repository, upto)
    assert recover._bring_back(repository, key, {whole: b"two", bytes([7]) * 32: b"never there"}, upto) == (1, 0)
    assert list(recover._needed(repository, key, lost, {})) == [lost]
    assert set(archives) <= {*where, whole}


def test_what_an_archive_needs_and_stands_nowhere_whole_is_counted(path: Path, repository: Any, key: Any) -> None:
    (archive_id, name), *_ = archive_ids(repository, key).items()
    upto = repository.get_transaction_id()
    archive = msgpack.unpackb(key.decrypt(archive_id, repository.get(archive_id)))
    (items,) = archive[b"items"]
    segment, offset = repository.index[items]
    repository.delete(archive_id)
    repository.delete(items)
    file = path / "data" / "0" / str(segment)
    content = bytearray(file.read_bytes())
    content[offset + 60] ^= 1
    file.write_bytes(content)
    assert recover._bring_back(repository, key, {archive_id: name}, upto) == (1, 1)


def test_an_object_that_was_sealed_by_somebody_else_is_nobodys_content(repository: Any, key: Any) -> None:
    (archive_id, name), *_ = archive_ids(repository, key).items()
    upto = repository.get_transaction_id()
    repository.put(archive_id, key.encrypt(b"of other content"))
    assert list(recover._needed(repository, key, archive_id, {})) == [archive_id]
    assert recover._joined(repository, key, [], {archive_id: name}) == {}
    assert upto is not None


@pytest.mark.parametrize("entry", [None, 7, {}, {b"id": None}, {b"id": b"short"}, {b"id": "of text"}, [b"id"]])
def test_an_entry_of_any_shape_names_no_archive(entry: Any) -> None:
    assert not recover._names_one(entry)


@pytest.mark.parametrize("written", [None, 7, b"never", b"\xff", b"2026-13-01T00:00:00"])
def test_a_time_that_is_none_is_later_than_all(written: Any) -> None:
    assert recover._moment(written).year == 9999


def test_a_copy_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"sealed")
    assert list(recover._copies([str(tmp_path / "gone"), str(tmp_path), str(tmp_path / "copy")])) == [
        None,
        None,
        b"sealed",
    ]


def test_of_two_archives_with_one_name_the_second_is_renamed_and_a_name_that_is_none_is_left_out(
    repository: Any, key: Any
) -> None:
    first, second = archive_ids(repository, key)
    joined = recover._joined(repository, key, [], {first: b"night", second: b"night"})
    renamed = f"two.{second.hex()[:8]}".encode()
    assert set(joined) == {b"night", renamed}
    assert joined[b"night"][b"id"] == first
    own = manifest_reader.inside(key, joined[renamed][b"id"], repository.get(joined[renamed][b"id"]))
    assert own is not None
    assert own[b"name"] == renamed
    assert second not in repository
    assert recover._joined(repository, key, [], {first: b""}) == {}


def test_a_repository_without_an_id_is_none(path: Path) -> None:
    (path / "config").write_text("[repository]\n")
    plan = {"key": "", "encryption": "repokey-blake2", "after": 0, "upto": 9, "seconds": 60}
    with pytest.raises(Repository.DoesNotExist):
        verify._verified(str(path), plan)


def test_a_verification_ends_where_it_was_asked_to(path: Path) -> None:
    first, second, *_ = [int(file.name) for file in segments(path)]
    plan = {"key": "", "encryption": "repokey-blake2", "after": first - 1, "upto": first, "seconds": 600}
    found = vars(verify._verified(str(path), plan))
    assert found["reached"] == first < second


@pytest.mark.parametrize("content", [[], {}, {"archives": 7}, {"archives": {}, "config": 7}])
def test_a_manifest_of_any_shape_that_was_sealed_with_the_key_is_passed_over(key: Any, content: Any) -> None:
    packed = key.pack_and_authenticate_metadata(content) if isinstance(content, dict) else msgpack.packb(content)
    good = key.encrypt(key.pack_and_authenticate_metadata({"archives": {}, "config": {}}))
    (found,) = recover._manifests(key, [None, b"", key.encrypt(packed), good], ours=False)
    assert found.sealed == good


@pytest.mark.parametrize(
    ("content", "named"),
    [([], False), ({}, False), ({"name": 7, "time": b"now"}, False), ({"time": b"now"}, False),
     ({"name": b"one", "time": b"now"}, True)],
)  # fmt: skip
def test_an_archive_of_any_shape_that_was_sealed_with_the_key_has_no_name(key: Any, content: Any, named: bool) -> None:
    packed = msgpack.packb(content)
    found = manifest_reader.inside(key, key.id_hash(packed), key.encrypt(packed))
    assert (found is not None) is named


def test_a_limit_of_memory_that_stood_before_is_kept(key: Any) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    given = (1 << 46, hard)
    resource.setrlimit(resource.RLIMIT_AS, given)
    try:
        packed = b"content"
        assert sealed.decrypted(key, key.id_hash(packed), key.encrypt(packed)) == packed
        assert resource.getrlimit(resource.RLIMIT_AS) == given
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_a_verification_that_meets_garbage_beyond_its_time_proves_nothing_of_what_follows(
    path: Path, repository: Any, key: Any
) -> None:
    archives = archive_ids(repository, key)
    for archive_id in archives:
        repository.put(archive_id, b"garbage")
    (segment,) = {repository.index[archive_id][0] for archive_id in archives}
    repository.commit(compact=False)
    with contextlib.closing(verify._repository.LoggedIO(str(path), 500 << 20, 1000)) as io:
        for until, told in ((time.monotonic() + WAIT, 2), (0.0, 1)):
            found = verify._Found(0)
            verify._read(io, key, segment, path / "data" / "0" / str(segment), found, until)
            assert len(found.garbage) == told
