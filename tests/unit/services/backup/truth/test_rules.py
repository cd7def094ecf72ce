from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backup.truth.rules import excluding_rule
from shared.borg.commands import CreateOptions


def excluded(source: str, *excludes: str) -> str | None:
    return excluding_rule(source, CreateOptions(sources=[source], excludes=excludes))


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("/srv/a.tmp", "sh:**/*.tmp"),
        ("/srv/x/y/cache", "sh:srv/**/cache"),
        ("/srv/cache", "sh:/srv/**/cache"),
        ("/srv/deep/er", "sh:srv/*"),
        ("/srv/ab", "sh:srv/a?"),
        ("/srv/ab", "fm:*/ab"),
        ("/srv/ab", "re:^srv/a"),
        ("/srv/a+b", "re:a\\+b$"),
        ("/srv", "pp:srv"),
    ],
)
def test_the_rule_that_leaves_a_source_out_is_named(source: str, rule: str) -> None:
    assert excluded(source, "pp:/elsewhere", rule) == rule


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("/srv/a/b", "sh:srv/*b"),
        ("/srv", "sh:srv?"),
        ("/srv/ab", "sh:**/b"),
        ("/srv/ab", "re:(("),
        ("/srv/ab", "re:" + "(" * 5000),
        ("/srv/ab", "re:a{99999999999}"),
    ],
)
def test_another_rule_is_not(source: str, rule: str) -> None:
    assert excluded(source, rule) is None


SLOW = [
    "re:(a+)+$", "re:(a|a)*$", "re:(.*/)*x$", "re:(?x)(a|a) # all\n *$", "re:" + "a*" * 40 + "$", "re:" + ".*" * 8 + "!",
    "sh:" + "**/" * 20 + "x", "sh:" + "*a" * 30 + "!", "sh:" + "**a" * 30 + "!", "fm:" + "*a" * 30 + "!", "re:(a?){40}!",
    "re:" + "a?" * 40 + "!", "re:" + "(a|a)" * 40 + "!",
]  # fmt: skip


@pytest.mark.parametrize("rule", SLOW)
@pytest.mark.parametrize("source", ["/" + "a" * 4000, "/a" * 2000, "/" + "a" * 40])
def test_no_rule_of_a_person_holds_the_runs_of_all_others_up(source: str, rule: str) -> None:
    """It is looked at in the process that keeps the leases of all runs; some such rules never come to an end."""
    began = time.process_time()
    excluded(source, rule)
    assert time.process_time() - began < 10


@given(st.text("ab/*?", max_size=9), st.text("ab/", min_size=1, max_size=9))
def test_stars_mean_what_an_expression_of_them_means(pattern: str, path: str) -> None:
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    wanted, bare = pattern.strip("/"), f"/{path}".strip("/")
    pieces = (wild.get(piece) or re.escape(piece) for piece in re.split(r"(\*\*/|\*\*|\*|\?)", wanted))
    expression = re.compile(f"(?s:{''.join(pieces)})\\Z")
    for one in (bare, f"/{path}".rstrip("/") + "/some-file"):
        parts = one.strip("/").split("/")
        if any(expression.match("/".join(parts[:count])) for count in range(1, len(parts) + 1)):
            assert excluded(f"/{path}", f"sh:{pattern}") is not None
            return
    assert excluded(f"/{path}", f"sh:{pattern}") is None
