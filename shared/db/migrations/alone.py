"""One `migrate` at a time: the others wait until it is done, and find nothing to do."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import text

from shared.db.engines import MIGRATE_WAIT_SECONDS
from shared.domain.messages.database import MIGRATION_RUNNING
from shared.errors import Transient

if TYPE_CHECKING:
    from sqlalchemy import Connection

_TURN_SECONDS = 5
_log = structlog.get_logger()


def lock(connection: Connection) -> None:
    """Wait until no other `migrate` works on this schema of MariaDB, and keep the others out until the connection ends.

    The lock is of the connection that migrates, and not of another: after a kill the server still ends the statement
    that it was given. A lock on a connection of its own would be free while the old statement changes a table.
    The name holds the schema's, since the server has one set of names for all its schemas.
    """
    if _in_a_galera_cluster(connection):
        # Each of its nodes would give the same lock to somebody else, or the server refuses it.
        _log.warning("migrate_not_locked", reason="a Galera cluster has no lock: start one `borgfleet migrate` only")
        return
    schema = connection.scalar(text("SELECT DATABASE()"))
    name = f"borgfleet:migrate:{hashlib.sha256(str(schema).encode()).hexdigest()[:16]}"
    deadline, told = time.monotonic() + MIGRATE_WAIT_SECONDS, False
    seconds = 0
    while connection.scalar(text("SELECT GET_LOCK(:name, :seconds)"), {"name": name, "seconds": seconds}) != 1:
        if time.monotonic() > deadline:
            raise still_running()
        if not told:
            _log.info("migrate_waits", reason="another `borgfleet migrate` works on this database")
        told, seconds = True, _TURN_SECONDS


def still_running() -> Transient:
    """Return what is said when another process does not let go of the database."""
    minutes = MIGRATE_WAIT_SECONDS // 60
    return Transient(MIGRATION_RUNNING(minutes=minutes))


def _in_a_galera_cluster(connection: Connection) -> bool:
    row = connection.execute(text("SHOW VARIABLES LIKE 'wsrep_on'")).one_or_none()
    return row is not None and str(row[1]).upper() == "ON"
