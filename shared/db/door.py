"""The database's door: what SQLAlchemy or a driver raises leaves it as an error of ours; their words go to the log."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.db.constraints import broken_by
from shared.errors import AppError, Internal, Permanent, Transient

if TYPE_CHECKING:
    from types import TracebackType

_log = structlog.get_logger()

# Deadlock, lock wait timeout, gone away, lost connection, cannot connect, too many connections (of all, of a user),
# Galera not ready, shutting down, connection killed, query interrupted or over its time, network errors, read-only
# while another server takes over, disk or table full.
_PASSING = frozenset(
    {1213, 1205, 2006, 2013, 2002, 2003, 1040, 1203, 1226, 1047, 1053, 1927, 1317, 1969, 3024, 1158, 1159, 1160, 1161}
    | {1290, 1836, 1021, 1114}
)
_PASSING_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PROTOCOL")
# Out of range, too long, no valid text or time, wrong value; 4025 is MariaDB's own check of JSON (NaN, surrogates).
_OF_VALUES = frozenset({1264, 1265, 1292, 1366, 1406, 1411, 1690, 3140, 4025, 4038})
_THROUGH = ("sqlalchemy", "aiomysql", "pymysql", "aiosqlite", "sqlite3")
_SILENT_REMEDY = "nothing if it passes; if it stays, see that the database runs and what its log says"
_BUSY_REMEDY = "try again; if it stays, see that the database runs, is writable, and has room on its disk"
_REMEDY = "look into this service's log for the whole error; report it if it stays"


class translated:  # noqa: N801 - reads as a phrase: with translated()
    """Turn what comes from SQLAlchemy and the drivers into our own errors; all else passes."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise our error from the driver's."""
        if isinstance(error, Exception) and (ours := translation(error)) is not None:
            raise ours from error


def translation(error: Exception) -> AppError | None:
    """Return what an error is to the rest of the program; None for one that is not the database's."""
    if isinstance(error, AppError):
        return None
    if isinstance(error, (TimeoutError, PoolTimeout, ConnectionError)):
        message = "the database did not answer in time"
        return Transient(message, code="database_silent", remedy=_SILENT_REMEDY, retry_after=1.0)
    if isinstance(error, DBAPIError) and (known := _known(error)) is not None:
        return known
    if not isinstance(error, SQLAlchemyError) and not _came_through_the_driver(error):
        return None
    _log.error("database_error", exc_info=error)
    if _is_about_a_value(error):
        return Permanent("the database cannot keep a value that was given", code=Internal.default_code, remedy=_REMEDY)
    return Internal("the database refused a statement of ours", remedy=_REMEDY)


def _known(error: DBAPIError) -> AppError | None:
    """Return what is foreseen: the database cannot now, or a constraint stands in the way."""
    if _is_passing(error):
        _log.warning("database_busy", reason=_first_line(error))
        message = "the database cannot do this now"
        return Transient(message, code="database_busy", remedy=_BUSY_REMEDY, retry_after=1.0)
    if (broken := broken_by(error)) is not None:
        _log.info("constraint_broken", code=broken.code, reason=_first_line(error))
        return broken.error()
    return None


def _is_passing(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    if str(getattr(error.orig, "sqlite_errorname", "")).startswith(_PASSING_SQLITE):
        return True
    arguments: tuple[object, ...] = error.orig.args if error.orig else ()
    return bool(arguments) and (arguments[0] in _PASSING or "database is locked" in str(arguments[0]))


def _is_about_a_value(error: Exception) -> bool:
    """Tell whether it was not the statement but a value in it: no number, text or nesting that can be stored."""
    if isinstance(error, DBAPIError):
        arguments: tuple[object, ...] = error.orig.args if error.orig else ()
        return not isinstance(error, IntegrityError) and bool(arguments) and arguments[0] in _OF_VALUES
    return isinstance(error, StatementError) or not isinstance(error, SQLAlchemyError)


def _came_through_the_driver(error: Exception) -> bool:
    """Tell by its traceback: a driver also raises what it does not know itself, as OverflowError for a long number."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(str(frame.f_globals.get("__name__", "")).partition(".")[0] in _THROUGH for frame, _ in frames)


def _first_line(error: DBAPIError) -> str:
    return (str(error.orig).splitlines() or [""])[0][:300]
