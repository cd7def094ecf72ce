"""A database whose schema is that of a chosen revision, on SQLite or MariaDB, without the models of today."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic import command

from shared.db.migrations import alembic_config
from shared.db.migrations.progress import TABLE
from tests.harness.mariadb import MariaServer

_OURS = {"alembic_version", TABLE}
Rows = dict[str, list[dict[str, Any]]]


class Schema:
    """What a revision is tried on."""

    def __init__(self, url: str, maria: MariaServer | None) -> None:
        self.url, self._maria = url, maria

    def upgrade(self, revision: str) -> None:
        command.upgrade(alembic_config(self.url), revision)

    def downgrade(self, revision: str) -> None:
        command.downgrade(alembic_config(self.url), revision)

    def execute(self, statement: str) -> None:
        if self._maria is not None:
            self._maria.sql(statement, self._name)
            return
        with sqlite3.connect(self._name) as connection:
            connection.execute(statement)

    def rows(self) -> Rows:
        """Return every row of every table, each column as text."""
        return {table: self._rows(table) for table in self._tables() if table not in _OURS}

    def lost(self, before: Rows) -> list[str]:
        """Return the tables that lost a row; a column that is new or gone says nothing about that."""
        now = self.rows()
        return [table for table, rows in before.items() if len(now.get(table, [])) < len(rows)]

    @property
    def _name(self) -> str:
        return self.url.rpartition("/")[2] if self._maria is not None else self.url.partition("///")[2]

    def _tables(self) -> list[str]:
        if self._maria is not None:
            return self._maria.sql("SHOW TABLES", self._name).split()
        with sqlite3.connect(self._name) as connection:
            return [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]

    def _rows(self, table: str) -> list[dict[str, Any]]:
        if self._maria is not None:
            columns = [
                line.split("\t")[0] for line in self._maria.sql(f"SHOW COLUMNS FROM `{table}`", self._name).splitlines()
            ]
            lines = self._maria.sql(f"SELECT * FROM `{table}`", self._name).splitlines()  # noqa: S608 - names of our own
            found = [dict(zip(columns, line.split("\t"), strict=True)) for line in lines]
        else:
            with sqlite3.connect(self._name) as connection:
                connection.row_factory = sqlite3.Row
                found = [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608 - as above
        return sorted(found, key=str)


def schema_at(revision: str, request: pytest.FixtureRequest, directory: Path) -> Schema:
    """Make a database of a revision, of the kind that the test asks for."""
    if request.param == "sqlite":
        schema = Schema(f"sqlite+aiosqlite:///{directory / 'revision.db'}", None)
    else:
        maria: MariaServer = request.getfixturevalue("maria")
        schema = Schema(maria.database(), maria)
    schema.upgrade(revision)
    return schema
