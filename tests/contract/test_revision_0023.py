"""Revision 0023, messages: a fleet of the version before keeps its rows, up, back and up again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.revisions import Schema, schema_at

ROWS = [
    (
        "INSERT INTO dead_letters (id, message_key, subject, code, reason, remedy, deliveries, at) VALUES"
        " ('00000000000000000000000000000001', 'k', 's', 'undecodable', 'words', 'remedy', 1, '2026-01-01 00:00:00')"
    )
]
"""INSERTs into the schema of revision 0022, of rows that this revision touches."""


@pytest.fixture(params=["sqlite", "mariadb"])
def schema(request: pytest.FixtureRequest, tmp_path: Path) -> Schema:
    return schema_at("0022", request, tmp_path)


def test_rows_of_the_version_before_are_there_after_revision_0023_and_without_it(schema: Schema) -> None:
    for row in ROWS:
        schema.execute(row)
    before = schema.rows()
    schema.upgrade("0023")
    assert schema.lost(before) == []
    schema.downgrade("0022")
    assert schema.rows() == before
    schema.upgrade("0023")
    assert schema.lost(before) == []
