"""Our own places in the way of a backup: a pool, a node's data, borg's cache. A backup of them would grow for ever."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from shared.borg.commands import check_pattern
from shared.domain.lines import some_lines
from shared.domain.messages.backups import SOURCE_IS_OURS_BELOW
from shared.domain.messages.source_reasons import BORG_CACHE, OWN_PLACE_LEFT_OUT
from shared.domain.text import clean
from shared.errors import Invalid, Permanent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shared.domain.message import Said

SCRIPT = files("services.backup.create").joinpath("own_places.sh").read_text()
SECONDS = 5
"""How long each question may take on the server."""
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class OwnPlace:
    """A place of ours below a source: its path as borg meets it, and what it is."""

    path: str
    what: Said
    grows: bool = True
    """A backup of it would hold itself; borg's cache is only useless."""

    @property
    def rule(self) -> str:
        """The pattern that leaves it out, with all below it."""
        return check_pattern(f"! pp:{self.path}")

    @property
    def said(self) -> Said:
        """What people are told."""
        return OWN_PLACE_LEFT_OUT(path=self.path, what=self.what)


def read_places(sources: Sequence[str], answer: str, marks: Mapping[str, Said]) -> tuple[OwnPlace, ...]:
    """Return what lies below the sources, by what `own_places.sh` says; `marks`: first word of a mark -> what it is.

    A source that lies within such a place gives nothing that is to be kept: Permanent.
    """
    physical: list[str] = []
    found: dict[str, OwnPlace] = {}
    for line in some_lines(answer):
        kind, _, rest = line.partition(" ")
        if kind == "S":
            physical.append(rest)
            continue
        word, _, place = rest.partition(" ") if kind == "O" else ("", "", rest)
        what = marks.get(word) if kind == "O" else BORG_CACHE() if kind == "B" else None
        if what is None or not place.startswith("/") or len(place) > _LONGEST or len(physical) != len(sources):
            continue
        for path in _below(sources, physical, place, what, grows=kind == "O"):
            found.setdefault(path, OwnPlace(path, what, grows=kind == "O"))
    return tuple(one for one in found.values() if not any(outer in found for outer in _parents(one.path)))


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _below(sources: Sequence[str], physical: Sequence[str], place: str, what: Said, *, grows: bool) -> Iterator[str]:
    """Return a place's paths as borg meets them, walking down from each source that holds it."""
    inner = place.rstrip("/") + "/"
    for source, real in zip(sources, physical, strict=True):
        outer = real.rstrip("/") + "/"
        if outer.startswith(inner) and grows:
            raise Permanent(SOURCE_IS_OURS_BELOW(source=source, place=clean(place, _LONGEST), what=what))
        if inner.startswith(outer) and inner != outer:
            path = source.rstrip("/") + "/" + inner[len(outer) :].rstrip("/")
            if _can_be_named(path):
                yield path


def _can_be_named(path: str) -> bool:
    try:
        return bool(check_pattern(f"! pp:{path}"))
    except Invalid:
        return False
