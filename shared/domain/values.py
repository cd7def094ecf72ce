"""The types of whatever comes in from outside: text, integers, moments and figures that every database can hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints

from shared.domain.text import clean

_FIRST_YEAR, _LAST_YEAR = 1970, 9998
INT32, INT63 = 2**31 - 1, 2**63 - 1


def check_clean(value: str) -> str:
    """Return text of one line that every database, log and terminal shows as it is."""
    check_lines(value)
    if "\n" in value or "\t" in value:
        message = "no line breaks and no tabs"
        raise ValueError(message)
    return value


def check_lines(value: str) -> str:
    """Return text of several lines, in which line breaks and tabs are the only characters that nobody sees."""
    if clean(value, len(value)) != value:
        message = (
            "no control characters, no characters that turn the direction of a line or end it unseen, no half of a "
            "surrogate pair"
        )
        raise ValueError(message)
    return value


def check_moment(value: datetime) -> datetime:
    """Return an aware time in UTC; years that arithmetic or a zone's offset could carry out of range are refused."""
    # The years next to the bounds of the calendar overflow when a zone's offset is taken off: ask before that.
    if value.tzinfo is None or not _FIRST_YEAR - 1 <= value.year <= _LAST_YEAR:
        raise _no_moment()
    moment = value.astimezone(UTC)
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise _no_moment()
    return moment


def _no_moment() -> ValueError:
    message = f"a time with its zone between {_FIRST_YEAR} and {_LAST_YEAR}, as 2027-01-31T00:00:00Z"
    return ValueError(message)


CleanText: TypeAlias = Annotated[str, StringConstraints(max_length=1000), AfterValidator(check_clean)]
"""One line; narrow it with `Field(max_length=...)`."""
CleanLines: TypeAlias = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(check_lines)]
"""Several lines, as a hook's script."""
Int32: TypeAlias = Annotated[int, Field(ge=-INT32 - 1, le=INT32)]
"""What a column of 32 bits holds; narrow it with `Field(ge=..., le=...)`."""
Int63: TypeAlias = Annotated[int, Field(ge=0, le=INT63)]
"""A count or a size in a column of 64 bits."""
Moment: TypeAlias = Annotated[datetime, AfterValidator(check_moment)]
"""A time, in UTC from here on."""
Figure: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
"""A number that JSON and every database know: neither NaN nor infinite."""
