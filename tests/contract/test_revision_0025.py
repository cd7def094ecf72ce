"""Revision 0025, accounts: a fleet of the version before keeps its rows, up, back and up again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.revisions import Schema, schema_at

ROWS: list[str] = [
    "INSERT INTO api_tokens (id, name, digest, created_at) VALUES ('11111111111111111111111111111111', 'admin', 'abc', '2026-01-01 00:00:00')",
]
"""INSERTs into the schema of revision 0024, of rows that this revision touches."""


@pytest.fixture(params=["sqlite", "mariadb"])
def schema(request: pytest.FixtureRequest, tmp_path: Path) -> Schema:
    return schema_at("0024", request, tmp_path)


def test_rows_of_the_version_before_are_there_after_revision_0025_and_without_it(schema: Schema) -> None:
    for row in ROWS:
        schema.execute(row)
    before = schema.rows()
    schema.upgrade("0025")
    assert schema.lost(before) == []
    schema.downgrade("0024")
    assert schema.rows() == before
    schema.upgrade("0025")
    assert schema.lost(before) == []
