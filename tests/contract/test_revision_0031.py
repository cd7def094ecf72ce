"""Revision 0031, kit entries: a fleet of the version before keeps its rows, up, back and up again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.revisions import Schema, schema_at

ROWS: list[str] = [
    (
        "INSERT INTO servers (id, name, host, port, username, state, state_reason, tags, facts, created_at)"
        " VALUES ('11111111111111111111111111111111', 'web1', 'h', 22, 'root', 'new', '', '[]', '{}', '2026-01-01 00:00:00')"
    ),
]
"""INSERTs into the schema of the revision before."""


@pytest.fixture(params=["sqlite", "mariadb"])
def schema(request: pytest.FixtureRequest, tmp_path: Path) -> Schema:
    return schema_at("0030", request, tmp_path)


def test_rows_of_the_version_before_are_there_after_revision_0031_and_without_it(schema: Schema) -> None:
    for row in ROWS:
        schema.execute(row)
    before = schema.rows()
    schema.upgrade("0031")
    assert schema.lost(before) == []
    schema.downgrade("0030")
    assert schema.rows() == before
    schema.upgrade("0031")
    assert schema.lost(before) == []
