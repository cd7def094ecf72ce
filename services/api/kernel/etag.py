"""Versions in HTTP: `ETag` says which version an answer shows, `If-Match` for which version a change was meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

from fastapi import Depends, Header, Request, Response

from services.api.kernel.errors import Refused
from shared.domain.messages.requests import IF_MATCH_MALFORMED, PRECONDITION_REQUIRED
from shared.domain.values import CleanText

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = "If-Match"
_PART = re.compile(r'[ \t]*(?P<tag>(?:W/)?"[\x21\x23-\x7e\x80-\xff]*")?[ \t]*(?:,|$)')
_VERSION = re.compile(r"[0-9]{1,9}")


class Shown(Protocol):
    """An answer that shows a version."""

    @property
    def version(self) -> int:
        """Which one it is."""
        ...


T = TypeVar("T", bound=Shown)


@dataclass(frozen=True, slots=True)
class Precondition:
    """For which versions of a thing a change is meant."""

    given: bool = False
    """Without one the change is meant for whatever there is."""
    anything: bool = False
    """`*`: any version, as long as the thing is there."""
    tags: frozenset[str] = frozenset()
    """The versions as they were written. A weak tag is none of them: it says nothing of a whole definition."""

    def holds(self, version: int | None) -> bool:
        """Tell whether a change may be made to this version; None: to a thing that is not there."""
        if not self.given:
            return True
        return version is not None and (self.anything or str(version) in self.tags)

    @property
    def known(self) -> int | None:
        """The latest version that whoever asks has seen; None where he named none."""
        return max((int(tag) for tag in self.tags if _VERSION.fullmatch(tag)), default=None)


ANY = Precondition()
"""No condition."""


def meant_for(given: Precondition, seen: int | None) -> Precondition:
    """Return for which version a definition is meant that may hold the version it was made from, as GET shows it."""
    return given if given.given or seen is None else Precondition(given=True, tags=frozenset({str(seen)}))


def parsed(lines: Sequence[str]) -> Precondition:
    """Read the header as RFC 9110 says; several lines are one list. `Refused` with 400 for what is none."""
    if not lines:
        return Precondition()
    text = ", ".join(lines)
    if text.strip(" \t") == "*":
        return Precondition(given=True, anything=True)
    tags: list[str] = []
    place = 0
    while place < len(text):
        part = _PART.match(text, place)
        if part is None:
            raise Refused(IF_MATCH_MALFORMED())
        tags += [part["tag"]] if part["tag"] else []
        place = part.end()
    if not tags:
        raise Refused(IF_MATCH_MALFORMED())
    return Precondition(given=True, tags=frozenset(tag[1:-1] for tag in tags if not tag.startswith("W/")))


def if_match(
    request: Request,
    _described: Annotated[
        CleanText | None,
        Header(
            alias=HEADER,
            description='For which version this is meant, as `ETag` gave it, `"3"`; `*`: any. Another one: 412.',
        ),
    ] = None,
) -> Precondition:
    """Read for which version a change is meant."""
    return parsed(request.headers.getlist(HEADER))


IfMatch = Annotated[Precondition, Depends(if_match)]
"""For which version a change is meant, if that is said."""


def _required(given: IfMatch) -> Precondition:
    if not given.given:
        raise Refused(PRECONDITION_REQUIRED())
    return given


MustMatch = Annotated[Precondition, Depends(_required)]
"""The same where it has to be said."""


def tagged(response: Response, answer: T) -> T:
    """Return an answer, and say in its head which version it shows."""
    response.headers["ETag"] = f'"{answer.version}"'
    return answer
