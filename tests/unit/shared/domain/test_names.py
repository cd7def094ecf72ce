from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.names import (
    check_host,
    check_login,
    check_name,
    check_node,
    check_pool_path,
    check_source,
    check_text,
    check_user,
    repository_path,
    shown_address,
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


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a", "a"), ("web1.example.org", "web1.example.org"), ("web1.example.org.", "web1.example.org"),
        ("WEB1", "WEB1"), ("_db", "_db"), ("my_host._tcp", "my_host._tcp"), ("3com.example", "3com.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"), ("a" * 63 + ".x", "a" * 63 + ".x"),
        ("192.0.2.1", "192.0.2.1"), ("::1", "::1"), ("[::1]", "::1"), ("2001:db8::", "2001:db8::"),
        ("2001:DB8:0:0::1", "2001:db8::1"), ("fe80::1%eth0", "fe80::1%eth0"), ("fe80::1%br-lan.7", "fe80::1%br-lan.7"),
    ],
)  # fmt: skip
def test_hosts_that_people_really_have_are_taken(given: str, kept: str) -> None:
    assert check_host(given) == kept
    assert check_host(kept) == kept


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("", "host name"), ("-oProxyCommand=x", "host name"), ("a b", "host name"), ("a..b", "host name"),
        ("a;b", "host name"), ("a\n", "host name"), ("x" * 255, "host name"), (".", "host name"), ("a..", "host name"),
        ("-a.example", "begins"), ("a-.example", "begins"), ("x" * 64 + ".a", "63"), ("ß.example", "xn--"),
        (".".join(["x" * 60] * 5), "253"), ("a\ud800", "host name"), ("user@host", "host name"),
        ("256.1.1.1", "IPv4"), ("192.0.2.010", "IPv4"), ("0x7f.1", "IPv4"), ("127.1", "IPv4"), ("1.2.3.0x10", "IPv4"),
        ("fe80::1%", "interface"), ("fe80::1%eth0;id", "interface"), ("fe80::1% -o", "interface"),
        ("192.0.2.1%eth0", "interface"), ("::1::", "IPv6"), ("[::1", "IPv6"), ("[::1]:22", "IPv6"), ("web1:22", "IPv6"),
        ("1:2:3:4:5:6:7:8:9", "IPv6"), ("[web1]", "IPv6"),
    ],
)  # fmt: skip
def test_a_refused_host_says_why(bad: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_host(bad)


def test_an_ipv6_address_is_shown_in_brackets_before_its_port() -> None:
    assert shown_address("::1", 22) == "[::1]:22"
    assert shown_address("fe80::1%eth0", 2222) == "[fe80::1%eth0]:2222"
    assert shown_address("web1", 22) == "web1:22"


@pytest.mark.parametrize(
    "good",
    ["root", "Admin", "svc$", "DOM\\user", "EXAMPLE.ORG\\jane.doe", "_backup", "a+b", "7of9", "jürgen", "x" * 32],
)
def test_logins_that_servers_really_have_are_taken(good: str) -> None:
    assert check_login(good) == good


@pytest.mark.parametrize(
    "bad", ["", "-x", ".x", "a b", "a:b", "a@b", "r;id", "$(id)", "a$b", "`id`", "a'b", 'a"b', "a\n", "a\x00", "\\x",
            "a\\", "a\\b\\c", "a/b", "a|b", "a*", "~", "#x", "a\u202eb", "a\ud800", "{x}"],
)  # fmt: skip
def test_a_login_that_a_shell_could_misread_is_refused_and_says_why(bad: str) -> None:
    with pytest.raises(ValueError, match="login name: letters"):
        check_login(bad)


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
