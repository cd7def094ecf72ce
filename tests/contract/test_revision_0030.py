"""Revision 0030, restore proofs: a fleet of the version before keeps its rows, up, back and up again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.revisions import Schema, schema_at

ROWS: list[str] = [
    (
        "INSERT INTO servers (id, name, host, port, username, state, state_reason, tags, facts, created_at)"
        " VALUES ('11111111111111111111111111111111', 'web1', 'h', 22, 'root', 'new', '', '[]', '{}', '2026-01-01 00:00:00')"
    ),
    (
        "INSERT INTO storage_pools (id, name, node, path, problem, problem_code, created_at)"
        " VALUES ('22222222222222222222222222222222', 'main', 'node1', '/pool', '', '', '2026-01-01 00:00:00')"
    ),
    (
        "INSERT INTO repositories (id, name, server_id, pool_id, path, encryption, prune_after_backup,"
        " compact_threshold_percent, frozen_reason, restored_accepted_by, restored_accepted_reason, unfrozen_by,"
        " unfrozen_reason, segments_damage, archives_damage, unfinished_damage, archive_count, created_at)"
        " VALUES ('33333333333333333333333333333333', 'system', '11111111111111111111111111111111', '22222222222222222222222222222222', '/pool/web1/system', 'repokey', 1, 10, '', '', '',"
        " '', '', '', '', '', 0, '2026-01-01 00:00:00')"
    ),
]
"""INSERTs into the schema of revision 0029, of rows that this revision touches."""


@pytest.fixture(params=["sqlite", "mariadb"])
def schema(request: pytest.FixtureRequest, tmp_path: Path) -> Schema:
    return schema_at("0029", request, tmp_path)


def test_rows_of_the_version_before_are_there_after_revision_0030_and_without_it(schema: Schema) -> None:
    for row in ROWS:
        schema.execute(row)
    before = schema.rows()
    schema.upgrade("0030")
    assert schema.lost(before) == []
    schema.downgrade("0029")
    assert schema.rows() == before
    schema.upgrade("0030")
    assert schema.lost(before) == []
