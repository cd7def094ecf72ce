"""Our own places in the way of a backup: a pool, a node's data, borg's cache. A backup of them would grow for ever."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from shared.borg.commands import check_pattern
from shared.domain.text import clean
from shared.errors import Invalid, Permanent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SCRIPT = files("services.backup.create").joinpath("own_places.sh").read_text()
SECONDS = 5
"""How long each question may take on the server."""
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class OwnPlace:
    """A place of ours below a source: its path as borg meets it, and what it is."""

    path: str
    what: str
    grows: bool = True
    """A backup of it would hold itself; borg's cache is only useless."""

    @property
    def rule(self) -> str:
        """The pattern that leaves it out, with all below it."""
        return check_pattern(f"! pp:{self.path}")

    @property
    def sentence(self) -> str:
        """What people are told."""
        return f"{self.path} is left out: it is {self.what}, and a backup of it would grow with each run."


def read_places(sources: Sequence[str], answer: str, marks: Mapping[str, str]) -> tuple[OwnPlace, ...]:
    """Return what lies below the sources, by what `own_places.sh` says; `marks`: first word of a mark -> what it is.

    A source that lies within such a place gives nothing that is to be kept: Permanent.
    """
    physical: list[str] = []
    found: dict[str, OwnPlace] = {}
    for line in answer.split("\n"):
        kind, _, rest = line.partition(" ")
        if kind == "S":
            physical.append(rest)
            continue
        word, _, place = rest.partition(" ") if kind == "O" else ("", "", rest)
        what = marks.get(word) if kind == "O" else "borg's cache" if kind == "B" else None
        if what is None or not place.startswith("/") or len(physical) != len(sources):
            continue
        for path in _below(sources, physical, place, what, grows=kind == "O"):
            found.setdefault(path, OwnPlace(path, what, grows=kind == "O"))
    return tuple(one for one in found.values() if not any(_holds(other, one) for other in found.values()))


def _holds(outer: OwnPlace, inner: OwnPlace) -> bool:
    return inner.path.startswith(outer.path + "/")


def _below(sources: Sequence[str], physical: Sequence[str], place: str, what: str, *, grows: bool) -> Iterator[str]:
    """Return a place's paths as borg meets them, walking down from each source that holds it."""
    inner = place.rstrip("/") + "/"
    for source, real in zip(sources, physical, strict=True):
        outer = real.rstrip("/") + "/"
        if outer.startswith(inner) and grows:
            message = f"the source {source} lies in {clean(place, _LONGEST)}, which is {what}"
            remedy = "take it out of the backup job's sources: a backup of it would hold itself"
            raise Permanent(message, code="source_is_ours", remedy=remedy)
        if inner.startswith(outer) and inner != outer:
            path = source.rstrip("/") + "/" + inner[len(outer) :].rstrip("/")
            if _can_be_named(path):
                yield path


def _can_be_named(path: str) -> bool:
    try:
        return bool(check_pattern(f"! pp:{path}"))
    except Invalid:
        return False
