"""The database's door: what SQLAlchemy or a driver raises leaves it as an error of ours; their words go to the log."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.db.causes import cause_of
from shared.db.constraints import broken_by
from shared.domain.messages.database import DATABASE_SILENT, DATABASE_URL_INVALID, INTERNAL_DATABASE, INTERNAL_VALUE
from shared.errors import AppError, Internal, Permanent, Transient

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_log = structlog.get_logger()

# Out of range, too long (for a column, for a packet), no valid text or time, wrong value; 4025 is MariaDB's own check
# of JSON (NaN, surrogates).
_OF_VALUES = frozenset({1264, 1265, 1292, 1366, 1406, 1153, 1411, 1690, 3140, 4025, 4038})
_THROUGH = ("sqlalchemy", "aiomysql", "pymysql", "aiosqlite", "sqlite3")
_SILENT_REMEDY = "nothing if it passes; if it stays, see that the database runs and what its log says"
_REMEDY = "look into this service's log for the whole error; report it if it stays"
URL_REMEDY = "write it as mariadb+aiomysql://user@host/name, or leave it out"


class translated:  # noqa: N801 - reads as a phrase: with translated()
    """Turn what comes from SQLAlchemy and the drivers into our own errors; all else passes."""

    def __init__(self, file: Path | None = None) -> None:
        """Take the file of the database if it is SQLite's: it is named to people, and looked at."""
        self._file = file

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise our error from the driver's."""
        if isinstance(error, Exception) and (ours := translation(error, self._file)) is not None:
            raise ours from error


def translation(error: Exception, file: Path | None = None) -> AppError | None:
    """Return what an error is to the rest of the program; None for one that is not the database's."""
    if isinstance(error, AppError):
        return None
    if isinstance(error, (TimeoutError, PoolTimeout, ConnectionError)):
        return Transient(DATABASE_SILENT(), retry_after=1.0)
    if isinstance(error, DBAPIError) and (known := _known(error, file)) is not None:
        return known
    if not isinstance(error, SQLAlchemyError) and not _came_through_the_driver(error):
        return None
    return _unforeseen(error)


def _unforeseen(error: Exception) -> AppError:
    if _is_about_the_url(error):  # not logged: its text may hold the password
        return Permanent(DATABASE_URL_INVALID())
    _log.error("database_error", exc_info=error)
    if _is_about_a_value(error):
        return Permanent(INTERNAL_VALUE())
    return Internal(INTERNAL_DATABASE())


def _known(error: DBAPIError, file: Path | None) -> AppError | None:
    """Return what is foreseen: the database cannot, now or at all, or a constraint stands in the way."""
    if (cause := cause_of(error, file)) is not None:
        _log.warning("database_cannot", code=cause.code, reason=_first_line(error))
        return cause.error()
    if (broken := broken_by(error)) is not None:
        _log.info("constraint_broken", code=broken.code, reason=_first_line(error))
        return broken.error()
    return None


def _is_about_the_url(error: Exception) -> bool:
    """Tell whether it cannot be read, or names a kind of database or a driver that is not there."""
    return isinstance(error, (NoSuchModuleError, ImportError)) or "sqlalchemy.engine.url" in _modules(error)


def _is_about_a_value(error: Exception) -> bool:
    """Tell whether it was not the statement but a value in it: no number, text or nesting that can be stored."""
    if isinstance(error, DBAPIError):
        arguments: tuple[object, ...] = error.orig.args if error.orig else ()
        return not isinstance(error, IntegrityError) and bool(arguments) and arguments[0] in _OF_VALUES
    return isinstance(error, StatementError) or not isinstance(error, SQLAlchemyError)


def _came_through_the_driver(error: Exception) -> bool:
    """Tell by its traceback: a driver also raises what it does not know itself, as OverflowError for a long number."""
    return any(module.partition(".")[0] in _THROUGH for module in _modules(error))


def _modules(error: Exception) -> list[str]:
    """Return the modules that an error went through."""
    return [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(error.__traceback__)]


def _first_line(error: DBAPIError) -> str:
    return (str(error.orig).splitlines() or [""])[0][:300]
