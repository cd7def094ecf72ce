"""Servers of tests, side by side."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path

from tests.harness.mariadb import MariaServer


def test_a_database_server_that_starts_takes_no_temporary_table_of_another(tmp_path: Path) -> None:
    """One of two that were set up at once found its tables gone."""
    another = Path(tempfile.gettempdir()) / f"#sql-temptable-{uuid.uuid4().hex}.MAI"
    another.touch()
    try:
        MariaServer(tmp_path / "maria").start().stop()
        assert another.exists()
    finally:
        another.unlink(missing_ok=True)
