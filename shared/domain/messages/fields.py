"""Messages: what is wrong with one field of a request."""

from __future__ import annotations

from shared.domain.message import Message

MISSING = Message("missing", 422, "this field is missing", "give it")
UNKNOWN_FIELD = Message("unknown_field", 422, "there is no such field here", "leave it out, or correct its name")
TOO_LONG = Message("too_long", 422, "it is longer than {max_length}", "send less")
TOO_SHORT = Message("too_short", 422, "it is shorter than {min_length}", "send more")
OUT_OF_RANGE = Message(
    "out_of_range",
    422,
    "the number is out of its range[: above {gt}][: from {ge}][: below {lt}][: up to {le}]",
    "choose one within it",
)
NOT_ONE_OF = Message("not_one_of", 422, "it is none of those that there are[: {expected}]", "choose one of them")
BAD_FORM = Message("bad_form", 422, "it does not have the right form", "write it as GET /api/openapi.json says")
WRONG_TYPE = Message("wrong_type", 422, "it is not of the right type", "send it as GET /api/openapi.json says")
INVALID_VALUE = Message("invalid_value", 422, "this value cannot be taken", "correct it as its message says")
