from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.names import (
    check_host,
    check_name,
    check_node,
    check_pool_path,
    check_source,
    check_text,
    check_user,
    repository_path,
)


@given(st.text(max_size=80))
def test_an_accepted_name_is_one_harmless_path_component(value: str) -> None:
    try:
        name = check_name(value)
    except ValueError:
        return
    assert PurePosixPath(name).name == name
    assert name.isascii()
    assert not set(name) & set(" /\\;|&$`'\"(){}[]<>*?!#~%^\n\r\t\0:=,")
    assert name not in (".", "..")
    assert not name.startswith(("-", "."))
    assert len(name) <= 63


@pytest.mark.parametrize("good", ["a", "web1", "web-1.example_x", "A" * 63, "1.2.3"])
def test_ordinary_names_are_accepted(good: str) -> None:
    assert check_name(good) == good


@pytest.mark.parametrize("bad", ["", "-a", ".a", "a.", "a..b", "A" * 64, "é", "a b", "a\n", "re:x", "{now}"])
def test_odd_names_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="letters"):
        check_name(bad)


def test_a_node_holds_no_dot_because_it_is_a_token_of_a_subject() -> None:
    assert check_node("node-1") == "node-1"
    with pytest.raises(ValueError, match="dots"):
        check_node("a.b")


@pytest.mark.parametrize("good", ["a", "web1.example.org", "192.0.2.1", "2001:db8::1"])
def test_hosts(good: str) -> None:
    assert check_host(good) == good


@pytest.mark.parametrize("bad", ["", "-oProxyCommand=x", "a b", "a..b", "a;b", "a\n", "x" * 255])
def test_bad_hosts(bad: str) -> None:
    with pytest.raises(ValueError, match="host name"):
        check_host(bad)


@pytest.mark.parametrize("bad", ["", "Root", "a b", "-x", "a" * 33, "r;id"])
def test_bad_users(bad: str) -> None:
    assert check_user("backup_1") == "backup_1"
    with pytest.raises(ValueError, match="login name"):
        check_user(bad)


@given(st.text(max_size=200))
def test_an_accepted_source_is_absolute_and_has_no_way_up(value: str) -> None:
    try:
        path = check_source("/" + value)
    except ValueError:
        return
    assert path.startswith("/")
    assert not path.startswith("//")
    assert ".." not in PurePosixPath(path).parts
    assert path.isprintable() or not any(ord(c) < 32 for c in path)


def test_sources_are_normalised_and_bounded() -> None:
    assert check_source("/a//b/./c/") == "/a/b/c"
    for bad in ("a", "//a", "/a/../b", "/a\nb", "/" + "é" * 2100, ""):
        with pytest.raises(ValueError):  # noqa: PT011 - each has its own sentence
            check_source(bad)


def test_text_and_pool_paths() -> None:
    assert check_text("é ü") == "é ü"
    with pytest.raises(ValueError, match="control"):
        check_text("a\x1b[31m")
    assert check_pool_path("/opt/backups") == "/opt/backups"
    for bad in ("/", "/a b", "/a/../b", "/a/", "a", "/a;b", "/a\n", "/.hidden"):
        with pytest.raises(ValueError, match="absolute path"):
            check_pool_path(bad)


def test_a_repository_lies_below_its_pool_whatever_it_is_called() -> None:
    assert repository_path("/opt/backups", "virus", "system") == "/opt/backups/virus/system"
    with pytest.raises(ValueError, match="letters"):
        repository_path("/opt/backups", "..", "system")
