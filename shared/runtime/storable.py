"""What a run says, in a form that every database and the bus can hold: cleaned once, where it enters the kernel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast, overload

from shared.domain.text import clean

if TYPE_CHECKING:
    from shared.errors import AppError

_TEXT = 64 * 1024
_DEPTH = 20
_LONGEST = 2**63


def storable(value: Any, depth: int = _DEPTH) -> Any:
    """Return a JSON value whose texts are clean, whose numbers are numbers, and which is not endlessly deep.

    NaN and infinities, which are no JSON, become null; so do integers of more than 64 bits, and what lies deeper than
    20 levels.
    """
    if isinstance(value, str):
        return clean(value, _TEXT)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if abs(value) < _LONGEST else None
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {clean(str(name), 200): storable(one, depth - 1) for name, one in items} if depth else None
    if isinstance(value, (list, tuple)):
        return [storable(one, depth - 1) for one in cast("list[Any]", value)] if depth else None
    return value


@overload
def cleaned(error: AppError) -> AppError: ...


@overload
def cleaned(error: AppError | None) -> AppError | None: ...


def cleaned(error: AppError | None) -> AppError | None:
    """Clean an error's words in place: they come from borg, ssh and servers, and go into columns of set lengths."""
    if error is not None:
        error.message, error.remedy = clean(error.message, _TEXT), clean(error.remedy, _TEXT)
        error.code = clean(error.code, 60)
    return error
