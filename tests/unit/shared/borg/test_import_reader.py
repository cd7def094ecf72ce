"""What of a repository of plain borg is broken, forged or of an old version is told, and ends no import without a word."""

from __future__ import annotations

import stat
import time
from types import SimpleNamespace
from typing import Any, Self

import pytest

from shared.borg import import_reader as reader

ID = b"\x11" * 32
ENTRY = {b"id": ID, b"time": b"2026-11-20T12:00:00"}
PLAN = {"known": [], "seconds": 60}


class Repository:
    """As much of one as is read."""

    class ObjectNotFound(Exception):
        """It is not there."""

    holds: dict[bytes, bytes] = {}  # noqa: RUF012 - set by each test

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __contains__(self, of: bytes) -> bool:
        return of in self.holds

    def get(self, of: bytes) -> bytes:
        if of not in self.holds:
            raise self.ObjectNotFound
        return self.holds[of]


class Key:
    """A key whose archives are verified as a test says."""

    ARG_NAME, logically_encrypted = "repokey", True

    def __init__(self, told: Any = None) -> None:
        self.told = told

    def unpack_and_verify_archive(self, _data: bytes, **_: Any) -> Any:
        if isinstance(self.told, Exception):
            raise self.told
        return self.told, True, b""


@pytest.fixture(autouse=True)
def borg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_repository", SimpleNamespace(Repository=Repository))
    monkeypatch.setattr(reader._key, "key_factory", lambda *_: Key())
    monkeypatch.setattr(reader._sealed, "decrypted", lambda *_: b"data")
    monkeypatch.setattr(reader._sealed, "alive", lambda: None)
    monkeypatch.setattr(Repository, "holds", {reader._MANIFEST: b"m", ID: b"a"})


def loading(monkeypatch: pytest.MonkeyPatch, result: Any) -> None:
    def load(*_: Any, **__: Any) -> Any:
        if isinstance(result, Exception):
            raise result
        return result, None

    monkeypatch.setattr(reader._helpers.Manifest, "load", load)


def manifest(entries: dict[Any, Any]) -> Any:
    return SimpleNamespace(archives=SimpleNamespace(get_raw_dict=lambda: entries), tam_verified=True)


def test_without_a_list_of_archives_it_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Repository, "holds", {})
    with pytest.raises(reader._helpers.NoManifestError):
        reader._found("r", PLAN)


def test_a_list_that_no_key_opens_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader._sealed, "decrypted", lambda *_: None)
    with pytest.raises(reader.Unreadable):
        reader._found("r", PLAN)


def test_a_list_that_proves_nothing_has_to_be_upgraded_first(monkeypatch: pytest.MonkeyPatch) -> None:
    loading(monkeypatch, reader._key.TAMRequiredError("r"))
    found = reader._found("r", PLAN)
    assert found == {"encryption": "repokey", "hidden": True, "signed": False, "upgrade": True}


@pytest.mark.parametrize("error", [TypeError("no dict"), KeyError("archives"), ValueError("no text")])
def test_a_list_of_another_shape_is_unreadable(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    loading(monkeypatch, error)
    with pytest.raises(reader.Unreadable):
        reader._found("r", PLAN)


@pytest.mark.parametrize("odd", [{}, [], None, {b"id": 7, b"time": 8}, {b"id": ID}])
def test_what_is_no_archive_is_counted_and_hides_no_other(monkeypatch: pytest.MonkeyPatch, odd: Any) -> None:
    loading(monkeypatch, manifest({b"odd": odd, b"good": ENTRY}))
    monkeypatch.setattr(reader, "_figures", lambda *_: {"signed": True})
    found = reader._found("r", PLAN)
    assert ([one["name"] for one in found["archives"]], found["odd"]) == (["good"], 1)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (reader._key.ArchiveTAMInvalid(), {"signed": None}),
        (reader._helpers.IntegrityError("x"), {}),
        (TypeError("of another shape"), {}),
        ({b"nfiles": 3, b"size": 9, b"csize": 5, b"time_end": b"2026-11-20T12:01:00"},
         {"signed": True, "end": "2026-11-20T12:01:00", "files": 3, "size": 9, "csize": 5}),
        ({b"nfiles": 3, b"size": "many"}, {"signed": True, "end": "began", "files": 3}),
    ],
)  # fmt: skip
def test_of_an_archive_is_said_what_can_be_believed(told: Any, expected: dict[str, Any]) -> None:
    about = {"id": ID.hex(), "name": "x", "end": "began"}
    assert reader._figures(Repository(), Key(told), None, about, time.monotonic() + 60) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(60, {"files": 2, "size": 7}), (-1, {})])
def test_files_are_counted_where_an_archive_does_not_say_how_many(
    monkeypatch: pytest.MonkeyPatch, seconds: float, expected: dict[str, int]
) -> None:
    class Item(dict[str, Any]):
        mode = stat.S_IFREG

        def get_size(self) -> int:
            return self["size"]

    directory = Item(size=0)
    directory.mode = stat.S_IFDIR
    items = [Item(size=3), Item(size=4), Item(size=4, source="x"), directory]
    archive = SimpleNamespace(iter_items=lambda: items)
    monkeypatch.setattr(reader._archive, "Archive", lambda *_: archive)
    assert reader._counted(Repository(), Key(), None, "x", time.monotonic() + seconds) == expected
    about = {"id": ID.hex(), "name": "x", "end": "began"}
    found = reader._figures(Repository(), Key({}), None, about, time.monotonic() + seconds)
    assert {name: found[name] for name in ("files", "size") if name in found} == expected
