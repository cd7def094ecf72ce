"""What all tables share: names of constraints, UTC times, binary text, the database's own clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import BindParameter, ColumnElement, DateTime, Insert, MetaData, String, Text, TypeDecorator, literal
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from typing_extensions import override

MARIA = ("mysql", "mariadb")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime with microseconds; refuses a naive one."""

    impl = DateTime
    cache_ok = True

    @override
    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(mysql.DATETIME(fsp=6) if dialect.name in MARIA else DateTime())

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            message = "a naive datetime; give one with a time zone"
            raise ValueError(message)
        return value.astimezone(UTC).replace(tzinfo=None)

    @override
    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


def binary_text(length: int) -> String:
    """Return a text type that compares byte for byte on both databases."""
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(exact, *MARIA)


def long_text() -> Text:
    """Return a text type of up to 16 MiB, compared byte for byte."""
    return Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin"), *MARIA)


def micros(seconds: float) -> int:
    """Return whole microseconds."""
    return round(seconds * 1_000_000)


class db_now(FunctionElement[datetime]):  # noqa: N801 - reads as a SQL function
    """The database's own UTC clock plus some seconds: leases never compare two machines' clocks."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, seconds: float | BindParameter[int] = 0.0) -> None:
        """Take the seconds to add, or a parameter of microseconds, so that the statement is compiled once."""
        super().__init__(seconds if isinstance(seconds, BindParameter) else literal(micros(seconds)))


LONGEST_LEASE = 3600.0
"""No lease lasts longer: `ack_wait`, from which those of runs come, is bounded by it."""


def beyond(column: Any, seconds: float = LONGEST_LEASE) -> ColumnElement[bool]:
    """Select moments further ahead than they can be: a clock that was ahead wrote them, and was set right since."""
    return column > db_now(seconds)


@compiles(db_now)
def _maria_now(element: db_now, compiler: SQLCompiler, **options: Any) -> str:
    return f"TIMESTAMPADD(MICROSECOND, {compiler.process(element.clauses, **options)}, UTC_TIMESTAMP(6))"


@compiles(db_now, "sqlite")
def _sqlite_now(element: db_now, compiler: SQLCompiler, **options: Any) -> str:
    micros = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', ({micros} / 1000000.0) || ' seconds')"


def or_ignore(statement: Insert) -> Insert:
    """Let a row that is there already stay, in the words of each database."""
    for dialect in MARIA:
        statement = statement.prefix_with("IGNORE", dialect=dialect)
    return statement.prefix_with("OR IGNORE", dialect="sqlite")


class Base(DeclarativeBase):
    """The one metadata of the product."""

    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcDateTime()}


class Versioned:
    """What people define and change: it has a version, so that nobody overwrites what he has not seen.

    Only a change of its definition raises the version, and the API alone raises it (`services/api/kernel/versions.py`).
    What services write of it (states, sizes, moments) changes nothing that somebody could have meant to change.
    """

    DEFINITION: ClassVar[frozenset[str]] = frozenset()
    """The columns that people define; what lies in tables of its own, as schedules, belongs to it too."""

    version: Mapped[int] = mapped_column(default=1)
