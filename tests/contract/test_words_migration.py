"""Revision 0024, words of the field: a fleet of the version before keeps its rows, up, back and up again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness.revisions import Schema, schema_at

ROWS = [
    """INSERT INTO notification_channels (id, name, kind, shown_as, enabled, least_level, kinds, tags, digest_seconds,
        recovered, created_at)
        VALUES ('c1', 'ops', 'webhook', 'https://example.org/...', 1, 'warning', '[]', '[]', 0, 1, '2026-01-01')""",
    """INSERT INTO servers (id, name, host, port, username, state, state_reason, tags, facts, created_at)
        VALUES ('s1', 'web1', 'h', 22, 'root', 'new', '', '[]', '{}', '2026-01-01')""",
    "INSERT INTO storage_pools (id, name, node, path, created_at) VALUES ('p1', 'main', 'n1', '/pool', '2026-01-01')",
    """INSERT INTO repositories (id, name, server_id, pool_id, path, encryption, archive_count, created_at, whole_at,
        whole_segment)
        VALUES ('r1', 'system', 's1', 'p1', '/pool/web1', 'repokey-blake2', 2, '2026-01-01', '2026-01-02', 7)""",
    """INSERT INTO archives (id, repository_id, server_id, name, state, started_at, ended_at, duration, files,
        original_size, compressed_size, deduplicated_size, created_at, leaving, lost)
        VALUES ('a1', 'r1', 's1', 'one', 'succeeded', '2026-01-01', '2026-01-01', 1, 1, 1, 1, 1, '2026-01-01', 1, 0),
        ('a2', 'r1', 's1', 'two', 'succeeded', '2026-01-01', '2026-01-01', 1, 1, 1, 1, 1, '2026-01-01', 0, 1)""",
    """INSERT INTO jobs (id, type, title, state, correlation_id, attempt, failures, cancel_requested, warnings, result,
        created_at, waiting_for)
        VALUES ('j1', 'backup_run', 't', 'queued', 'j1', 0, 0, 0, '[]', '{}', '2026-01-01', 'its turn'),
        ('j2', 'backup_run', 't', 'queued', 'j2', 0, 0, 0, '[]', '{}', '2026-01-01', 'web1/system')""",
]


@pytest.fixture(params=["sqlite", "mariadb"])
def schema(request: pytest.FixtureRequest, tmp_path: Path) -> Schema:
    return schema_at("0023", request, tmp_path)


def test_rows_of_the_version_before_keep_what_they_said(schema: Schema) -> None:
    for row in ROWS:
        schema.execute(re.sub(r"'([a-z]\d)'", lambda short: f"'{short[1].encode().hex():0>32}'", row))
    before = schema.rows()
    schema.upgrade("0024")
    now = schema.rows()
    assert [row["label"] for row in now["notification_channels"]] == ["https://example.org/..."]
    assert [str(row["verified_complete_segment"]) for row in now["repositories"]] == ["7"]
    assert [row["verified_complete_at"][:10] for row in now["repositories"]] == ["2026-01-02"]
    marks = {row["name"]: (str(row["deleting"]), str(row["missing"])) for row in now["archives"]}
    assert marks == {"one": ("1", "0"), "two": ("0", "1")}
    assert {row["waiting_for"] for row in now["jobs"]} == {"a free slot", "web1/system"}
    schema.downgrade("0023")
    assert schema.rows() == before
    schema.upgrade("0024")
    assert schema.rows() == now
