"""Revision 0032, imported repositories: a fleet of the version before keeps its rows, up, back and up again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.test_revision_0028 import ROWS as OLDER
from tests.harness.revisions import Schema, schema_at

ROWS = OLDER[:3]
"""INSERTs of rows that this revision touches: a server, a pool, a repository."""


@pytest.fixture(params=["sqlite", "mariadb"])
def schema(request: pytest.FixtureRequest, tmp_path: Path) -> Schema:
    return schema_at("0031", request, tmp_path)


def test_rows_of_the_version_before_are_there_after_revision_0032_and_without_it(schema: Schema) -> None:
    for row in ROWS:
        schema.execute(row)
    before = schema.rows()
    schema.upgrade("0032")
    assert schema.lost(before) == []
    (repository,) = schema.rows()["repositories"]
    assert repository["mode"] == "managed"
    schema.downgrade("0031")
    assert schema.rows() == before
    schema.upgrade("0032")
    assert schema.lost(before) == []


def test_the_version_before_goes_on_writing_rows(schema: Schema) -> None:
    schema.upgrade("0032")
    for row in ROWS:
        schema.execute(row)
    (repository,) = schema.rows()["repositories"]
    assert repository["mode"] == "managed"
