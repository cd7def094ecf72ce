"""What is wrong with a request's fields: pydantic's errors as codes of ours, each with where it is (RFC 6901)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.api.kernel.schemas import FieldProblem
from shared.domain.message import kept
from shared.domain.messages import fields
from shared.domain.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.domain.message import Message

_LONGEST_FIELD, _LONGEST_MESSAGE = 200, 1000
_BY_TYPE: dict[str, Message] = {
    "missing": fields.MISSING,
    "extra_forbidden": fields.UNKNOWN_FIELD,
    "string_too_long": fields.TOO_LONG,
    "bytes_too_long": fields.TOO_LONG,
    "too_long": fields.TOO_LONG,
    "string_too_short": fields.TOO_SHORT,
    "bytes_too_short": fields.TOO_SHORT,
    "too_short": fields.TOO_SHORT,
    "greater_than": fields.OUT_OF_RANGE,
    "greater_than_equal": fields.OUT_OF_RANGE,
    "less_than": fields.OUT_OF_RANGE,
    "less_than_equal": fields.OUT_OF_RANGE,
    "finite_number": fields.OUT_OF_RANGE,
    "multiple_of": fields.OUT_OF_RANGE,
    "literal_error": fields.NOT_ONE_OF,
    "enum": fields.NOT_ONE_OF,
    "union_tag_invalid": fields.NOT_ONE_OF,
    "union_tag_not_found": fields.NOT_ONE_OF,
    "string_pattern_mismatch": fields.BAD_FORM,
    "json_invalid": fields.BAD_FORM,
    "value_error": fields.INVALID_VALUE,
    "assertion_error": fields.INVALID_VALUE,
}
_LIMITS = ("max_length", "min_length", "gt", "ge", "lt", "le", "multiple_of", "expected", "expected_tags", "pattern")
"""What pydantic tells of a rule, and nothing of what was sent: that may be a password."""


def field_problem(error: Mapping[str, Any]) -> FieldProblem:
    """Return one of pydantic's errors as ours."""
    place: Sequence[Any] = error["loc"]
    context: Mapping[str, Any] = error.get("ctx") or {}
    return FieldProblem(
        field=clean(".".join(map(str, place)), _LONGEST_FIELD),
        location=str(place[0]) if place else "",
        pointer=pointer(place[1:]),
        code=code_of(str(error["type"])).code,
        params={name: kept(context[name]) for name in _LIMITS if name in context},
        message=clean(error["msg"], _LONGEST_MESSAGE),
    )


def code_of(kind: str) -> Message:
    """Return the entry for one of pydantic's types; types and their parsing have a common one."""
    found = _BY_TYPE.get(kind)
    if found is not None:
        return found
    is_type = kind.endswith(("_type", "_parsing", "_parsing_size", "_from_float", "_type_parsing"))
    return fields.WRONG_TYPE if is_type else fields.INVALID_VALUE


def pointer(place: Sequence[Any]) -> str:
    """Return a JSON Pointer to a place within the body, or within the parameters."""
    steps = (clean(str(step), _LONGEST_FIELD).replace("~", "~0").replace("/", "~1") for step in place)
    return clean("".join(f"/{step}" for step in steps), _LONGEST_MESSAGE)
