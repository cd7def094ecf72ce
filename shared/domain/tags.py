"""Names of tags, and lists of them as rows and requests hold them. Pure."""

from __future__ import annotations

import json
import re
from typing import Annotated, TypeGuard, cast

from pydantic import AfterValidator, StringConstraints

from shared.domain.names import check_name

TAG_LENGTH = 63
_COLOUR = re.compile(r"#[0-9a-f]{6}")


def check_tag(value: str) -> str:
    """Return a tag's name: a name, or two of them as `key=value`."""
    if len(value) > TAG_LENGTH:
        message = f"at most {TAG_LENGTH} characters"
        raise ValueError(message)
    key, equals, rest = value.partition("=")
    check_name(key)
    if equals:
        check_name(rest)
    return value


def check_colour(value: str) -> str:
    """Return a colour as `#rrggbb` in lower case; an empty one is none."""
    if value and not _COLOUR.fullmatch(value.lower()):
        message = "a colour is written as #1f77b4; leave it empty for none"
        raise ValueError(message)
    return value.lower()


TagName = Annotated[str, StringConstraints(max_length=TAG_LENGTH), AfterValidator(check_tag)]
Colour = Annotated[str, StringConstraints(max_length=7), AfterValidator(check_colour)]


def names_in(text: object) -> list[str] | None:
    """Return the tags in a JSON text as a row holds it; see `names_of`."""
    try:
        # SQLite keeps a JSON number as a number, and a database that was written to by hand may hold anything.
        return names_of(json.loads(text)) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def names_of(found: object) -> list[str] | None:
    """Return the tags in a list, each once, in its order; None if it is no list, or holds things and no tag among them.

    Else a list that cannot be read would seem to be empty, and a channel with an empty one hears of all servers.
    What is no name of a tag beside others is passed over: it was never one.
    """
    if not isinstance(found, list):
        return None
    things = cast("list[object]", found)
    names = list(dict.fromkeys(one for one in things if _is_tag(one)))
    return names if names or not things else None


def _is_tag(value: object) -> TypeGuard[str]:
    try:
        return isinstance(value, str) and bool(check_tag(value))
    except ValueError:
        return False
