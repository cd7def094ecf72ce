"""How far the revision that is being applied has come: on MariaDB each change of the schema commits by itself.

Killed in the middle of a revision, `migrate` would meet its own tables and columns. So each statement that changes
something is counted, and the count is kept in the database. Whoever goes on leaves out what is counted. A change of
rows commits together with its count. A change of the schema commits before it, so the one after the last that is
counted is in doubt: it is tried, and is done if the server says that it was done.
A revision must therefore send the same statements each time, whatever it reads before.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import event

from shared.domain.messages.database import MIGRATION_UNFINISHED
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

TABLE = "migration_progress"
_MAKE = (
    "CREATE TABLE IF NOT EXISTS migration_progress (id INT NOT NULL PRIMARY KEY, revision VARCHAR(32) NOT NULL,"
    " direction VARCHAR(10) NOT NULL, done INT NOT NULL, doubtful BOOL NOT NULL) ENGINE=InnoDB"
)
_CHANGES_NOTHING = re.compile(r"\s*(?:SELECT|SHOW|DESCRIBE|DESC|EXPLAIN|SET|USE)\b", re.IGNORECASE)
# Table, column, key, primary key, constraint of this name exists already; column or key, table, table or column of
# this name is not there (any more).
_DONE_BEFORE = frozenset({1050, 1060, 1061, 1068, 1826, 1091, 1051, 1146, 1054})
_NO_TABLE_MADE, _ROW_EXISTS = 1005, 1062


class Script(Protocol):
    """A revision as Alembic knows it."""

    revision: str
    module: Any


class Progress:
    """Counts the statements of revisions, and leaves out those that an earlier try has done."""

    def __init__(self, connection: Connection, *, versioned: bool) -> None:
        """Take the connection that migrates; `versioned`: the schema had a version before this try began."""
        self._raw: Any = connection.connection.dbapi_connection
        self._driver: Any = connection.dialect.loaded_dbapi
        self._versioned = versioned
        self._active = False
        self._step = self._done = 0
        self._resumed = self._doubtful = False
        self._listen(connection.engine)

    def watch(self, script: Script) -> None:
        """Count what a revision does, in both directions."""
        for direction in ("upgrade", "downgrade"):
            counted = self._counted(script.revision, direction, getattr(script.module, direction))
            setattr(script.module, direction, counted)

    def version_applied(self, *_given: object, **_more: object) -> None:
        """Forget the count in the transaction that has written the new version."""
        self._sql("UPDATE migration_progress SET revision = '', direction = '', done = 0, doubtful = 0")
        self._raw.commit()

    def _counted(self, revision: str, direction: str, work: Callable[[], None]) -> Callable[[], None]:
        def counted() -> None:
            self._begin(revision, direction)
            self._active = True
            try:
                work()
            finally:
                self._active = False

        return counted

    def _begin(self, revision: str, direction: str) -> None:
        self._sql(_MAKE)
        row = self._sql("SELECT revision, direction, done, doubtful FROM migration_progress")
        self._resumed = row is not None and (row[0], row[1]) == (revision, direction)
        if row is not None and row[0] and not self._resumed:
            raise Permanent(MIGRATION_UNFINISHED(direction=str(row[1]), revision=str(row[0])))
        self._step, self._done = 0, row[2] if row is not None and self._resumed else 0
        # No count was ever kept: a version that kept none may have been killed within this revision.
        self._doubtful = bool(row[3]) if row is not None else self._versioned
        if not self._resumed:
            self._sql("REPLACE INTO migration_progress VALUES (1, %s, %s, 0, %s)", revision, direction, self._doubtful)
        self._raw.commit()

    def _listen(self, engine: Engine) -> None:
        def one(cursor: Any, statement: str, given: Any, _context: object) -> bool:
            return self._execute(statement, lambda: cursor.execute(statement, given))

        def many(cursor: Any, statement: str, given: Any, _context: object) -> bool:
            return self._execute(statement, lambda: cursor.executemany(statement, given))

        def plain(cursor: Any, statement: str, _context: object) -> bool:
            return self._execute(statement, lambda: cursor.execute(statement))

        for name, run in (("do_execute", one), ("do_executemany", many), ("do_execute_no_params", plain)):
            event.listen(engine, name, run)

    def _execute(self, statement: str, run: Callable[[], object]) -> bool:
        """Run a statement unless it was done before; False leaves it to SQLAlchemy."""
        if not self._active or _CHANGES_NOTHING.match(statement):
            return False
        self._step += 1
        if self._step > self._done:
            try:
                run()
            except self._driver.Error as error:
                if not self._was_done(error):
                    raise
            self._sql("UPDATE migration_progress SET done = %s", self._step)
            self._raw.commit()
        return True

    def _was_done(self, error: Exception) -> bool:
        """Tell whether a statement in doubt failed because it was done before."""
        number = error.args[0] if error.args else None
        if self._doubtful and number == _ROW_EXISTS:
            return True
        if not self._doubtful and not (self._resumed and self._step == self._done + 1):
            return False
        return number in _DONE_BEFORE or (number == _NO_TABLE_MADE and "errno: 121" in str(error))

    def _sql(self, statement: str, *given: object) -> Any:
        cursor = self._raw.cursor()
        try:
            cursor.execute(statement, given or None)
            return cursor.fetchone() if cursor.description else None
        finally:
            cursor.close()
