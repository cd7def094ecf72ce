"""Revision 0034, four eyes: a fleet of the version before keeps its rows, up, back and up again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.revisions import Schema, schema_at

ROWS: list[str] = [
    (
        "INSERT INTO audit_seals (seq, count, root, prev, at, key_id, mac)"
        " VALUES (1, 0, 'r', '', '2026-01-01 00:00:00', 'k', 'm')"
    ),
]
"""INSERTs into the schema of revision 0029, of rows that this revision touches."""


@pytest.fixture(params=["sqlite", "mariadb"])
def schema(request: pytest.FixtureRequest, tmp_path: Path) -> Schema:
    return schema_at("0033", request, tmp_path)


def test_rows_of_the_version_before_are_there_after_revision_0034_and_without_it(schema: Schema) -> None:
    for row in ROWS:
        schema.execute(row)
    before = schema.rows()
    schema.upgrade("0034")
    assert schema.lost(before) == []
    schema.downgrade("0033")
    assert schema.rows() == before
    schema.upgrade("0034")
    assert schema.lost(before) == []


def test_the_version_before_goes_on_sealing(schema: Schema) -> None:
    schema.upgrade("0034")
    for row in ROWS:
        schema.execute(row)
    rows = schema.rows()
    assert [str(row["pruned_mac"]) for row in rows["audit_seals"]] == [""]
    assert [str(row["enabled"]) for row in rows["four_eyes"]] == ["0"]
    assert [str(row["after"]) for row in rows["audit_checks"]] == ["0"]
