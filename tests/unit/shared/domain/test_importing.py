"""Which paths and key files are taken for an import, and what a repository is called after its directory."""

from __future__ import annotations

import pytest

from shared.domain.importing import (
    ImportSecrets,
    check_import_path,
    check_keyfile,
    name_from,
)
from shared.domain.names import check_name

KEY = "BORG_KEY 00ff\nhqlhbGdvcml0aG2m\nc2hhMjU2\n"


@pytest.mark.parametrize(
    ("given", "path"),
    [("/a", "/a"), ("/a/", "/a"), ("/a/./b//c", "/a/b/c"), ("/My Backups/web 1", "/My Backups/web 1")],
)
def test_a_path_is_one_absolute_directory(given: str, path: str) -> None:
    assert check_import_path(given) == path


@pytest.mark.parametrize(
    "path",
    ["", "a", "/", "//", "/..", "/a/../b", "/{now}", "/a}b", "/a::b", "/a\nb", "/a\0b", "/a\ud800", "/a\u202eb", "/" + "x" * 512, "/" + "é" * 300],
)  # fmt: skip
def test_a_path_that_means_something_else_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        check_import_path(path)


@pytest.mark.parametrize("text", [KEY, KEY.replace("\n", "\r\n"), "\n" + KEY, KEY.rstrip()])
def test_a_key_file_is_taken_as_it_is_exported(text: str) -> None:
    assert check_keyfile(text) == KEY


@pytest.mark.parametrize(
    "text", ["", "\n", "BORG_KEY 00ff", "-----BEGIN", "key\nBORG_KEY 00ff\nx", KEY + "é", " \n \n"]
)
def test_what_is_no_key_file_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="BORG_KEY"):
        check_keyfile(text)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/pool/old", "old"), ("/pool/My Backups", "My-Backups"), ("/pool/.hidden", "hidden"), ("/pool/-x-", "x"),
        ("/pool/é", "imported"), ("/pool/" + "a" * 200, "a" * 63), ("/pool/a.b", "a-b"), ("/", "imported"),
    ],
)  # fmt: skip
def test_a_name_is_one_that_may_stand_in_a_path(path: str, name: str) -> None:
    assert check_name(name_from(path)) == name


def test_secrets_are_shown_to_nobody() -> None:
    assert "word" not in repr(ImportSecrets("word", KEY))
