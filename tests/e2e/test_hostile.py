"""Hostile names in every text field: refused or harmless; nothing is executed, nothing escapes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness.fleet import Fleet
from tests.harness.invariants import assert_invariants

NASTY = [
    "a;rm -rf ~", "../x", "re:.*", "{now}", "--rsh=x", "new\nline", "é ü", "x" * 300, "", " ", ".", "..", "a/b",
    "$(touch /tmp/borgfleet-canary)", "`touch /tmp/borgfleet-canary`", "-oProxyCommand=touch /tmp/borgfleet-canary",
    "a\x00b", "a'b\"c", "%s%n", "\u202egnp.exe", "|touch /tmp/borgfleet-canary", "~root", "a b",
]  # fmt: skip
CANARY = Path("/tmp/borgfleet-canary")
NAMES = {
    "/api/servers": ("name", "host", "username"),
    "/api/storage-pools": ("name", "node", "path"),
    "/api/repositories": ("name",),
    "/api/backup-jobs": ("name", "compression", "transport"),
}


def bodies(fleet: Fleet) -> dict[str, dict[str, Any]]:
    return {
        "/api/servers": {"name": "ok", "host": "192.0.2.1"},
        "/api/storage-pools": {"name": "ok", "path": "/ok"},
        "/api/repositories": {"name": "ok", "server_id": fleet.host["id"], "pool_id": fleet.pool["id"]},
        "/api/backup-jobs": {
            "name": "ok",
            "server_id": fleet.host["id"],
            "repository_id": fleet.host["id"],
            "sources": ["/x"],
        },
    }


@pytest.mark.parametrize("path", list(NAMES))
def test_every_name_that_could_mean_more_than_a_name_is_refused_with_its_field(fleet: Fleet, path: str) -> None:
    for field in NAMES[path]:
        for value in NASTY:
            answer = fleet.request("POST", path, bodies(fleet)[path] | {field: value})
            assert answer.status_code == 422, f"{path} {field} {value!r}: {answer.status_code}"
            assert answer.headers["content-type"] == "application/problem+json"
            assert any(field in error["field"] for error in answer.json()["errors"]), answer.text
    assert not CANARY.exists()


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60) | st.sampled_from(NASTY)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=TEXT, field=st.sampled_from([(p, f) for p, fields in NAMES.items() for f in fields]))
def test_no_text_makes_the_gateway_fail(fleet: Fleet, value: str, field: tuple[str, str]) -> None:
    path, name = field
    answer = fleet.request("POST", path, bodies(fleet)[path] | {name: value})
    assert answer.status_code in (201, 404, 409, 422), answer.text
    if answer.status_code == 422:
        assert answer.json()["code"]


def test_hostile_but_lawful_paths_and_patterns_are_backed_up_as_they_are(fleet: Fleet, tmp_path: Path) -> None:
    root = tmp_path / "hostile"
    root.mkdir()
    names = ["re:.*", "--rsh=x", "{now}", "a;rm -rf ~", "$(touch canary)", "é ü", "-e", "*", "a'b\"c", "x" * 200]
    sources = []
    for name in names:
        directory = root / name
        directory.mkdir()
        (directory / "file").write_text(name)
        sources.append(directory)
    odd = os.fsencode(root) + b"/not-utf8-\xff\xfe"
    Path(os.fsdecode(odd)).write_text("odd")
    sources.append(root)
    for transport in ("tunnel", "direct"):
        definition = fleet.backup_job(
            sources, transport=transport, excludes=["sh:**/--rsh=never", "re:^{now}$", "$(touch canary)/never"],
            patterns=["- sh:**/`touch canary`"],
        )  # fmt: skip
        done = fleet.finished(fleet.run(definition), "succeeded")
        assert done["result"]["files"] >= len(names) + 1
        assert_invariants(fleet, definition)
    assert not CANARY.exists()


@pytest.mark.parametrize(
    "source", ["relative", "../etc", "/a/../b", "//host/share", "re:/etc", "", "/new\nline", "/" + "x" * 5000]
)
def test_a_source_path_that_is_no_plain_absolute_path_is_refused(fleet: Fleet, source: str) -> None:
    body = bodies(fleet)["/api/backup-jobs"] | {"sources": [source]}
    answer = fleet.request("POST", "/api/backup-jobs", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


@pytest.mark.parametrize("field", ["excludes", "patterns"])
@pytest.mark.parametrize("value", ["", "a\nb", "x" * 2000, "- re:(", "R /etc", "P re"])
def test_a_pattern_that_is_none_is_refused(fleet: Fleet, field: str, value: str) -> None:
    lawful = {"excludes": ("R /etc", "P re", "- re:(")}  # plain globs there
    body = bodies(fleet)["/api/backup-jobs"] | {field: [value]}
    answer = fleet.request("POST", "/api/backup-jobs", body)
    assert answer.status_code == (404 if value in lawful.get(field, ()) else 422), answer.text


def test_without_a_token_nothing_is_told(fleet: Fleet) -> None:
    for path in ("/api/servers", "/api/jobs", "/api/backups", "/api/fleet-key", "/api/storage-pools"):
        for token in (None, "wrong"):
            headers = {"Authorization": f"Bearer {token}"} if token is not None else {"Authorization": ""}
            answer = fleet.http.get(path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
