"""Which exclusion rule keeps a whole source out of the archive: borg says nothing of what it leaves out. Pure.

Only for the sentence that people read; whether a source gave anything is counted in the archive itself.
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.borg.commands import CreateOptions

_RULE = re.compile(r"(?P<how>[+\-!]) ?(?P<pattern>.*)", re.DOTALL)
_STYLE = re.compile(r"(?P<style>fm|sh|re|pp|pf):(?P<pattern>.*)", re.DOTALL)
_SHELL = re.compile(r"(\*\*/|\*\*|\*|\?)")
_REPEAT = re.compile(r"[*+{]")
_CHOICE = re.compile(r"[?|]")
_REPEATED_GROUP = re.compile(r"\)\s*[*+?{]|\(\?[a-zA-Z-]*x")
"""What makes the time of a search grow beyond all bounds; and comments within an expression, which could hide it."""
_STEPS = 3_000_000
_SAMPLE = "some-file"


def excluding_rule(source: str, options: CreateOptions) -> str | None:
    """Return the first rule that leaves out a source, or whatever lies right in it; None if none seems to."""
    rules = [(rule, "+-!".index(found["how"]), found["pattern"], "sh") for rule in options.patterns
             if (found := _RULE.fullmatch(rule))]  # fmt: skip
    rules += [(rule, 1, rule, "fm") for rule in options.excludes]
    for path in (source, f"{source.rstrip('/')}/{_SAMPLE}"):
        for rule, how, pattern, style in rules:
            if _matches(pattern, style, path.strip("/")):
                if how == 0:
                    break
                return rule
    return None


def _matches(pattern: str, style: str, path: str) -> bool:
    if found := _STYLE.fullmatch(pattern):
        style, pattern = found["style"], found["pattern"]
    if style == "re":
        return _found(pattern, path)
    wanted = pattern.strip("/")
    if style in ("pp", "pf"):
        return path == wanted or (style == "pp" and (not wanted or path.startswith(f"{wanted}/")))
    if style == "fm":
        expression = re.compile(fnmatch.translate(wanted))
        return any(expression.match(part) for part in (path, *_parents(path)))
    return _fits(_SHELL.split(wanted), path)


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _found(pattern: str, path: str) -> bool:
    """Search by a person's own expression, unless it may take long: it would hold the event loop meanwhile."""
    repeats, choices = len(_REPEAT.findall(pattern)), len(_CHOICE.findall(pattern))
    if _REPEATED_GROUP.search(pattern) or (len(path) + 1) ** (repeats + 1) * 2**choices > _STEPS:
        return False
    try:
        return re.search(pattern, path) is not None
    except (re.error, RecursionError, OverflowError):
        return False


def _fits(pieces: list[str], path: str) -> bool:
    """Tell whether borg's `sh:` style fits a path, or a directory above it.

    `*` stays within a directory, `**/` crosses any number of them. All places that the pattern may have come to are
    walked on at once: an expression tries them one after the other, and of some stars on a deep path that has no end.
    """
    at = {0}
    for piece in pieces:
        first = min(at, default=len(path) + 1)
        if piece == "**/":
            at |= {place + 1 for place in range(first, len(path)) if path[place] == "/"}
        elif piece == "**":
            at = set(range(first, len(path) + 1))
        elif piece == "*":
            at = _within(at, path)
        elif piece == "?":
            at = {place + 1 for place in at if path[place : place + 1] not in ("", "/")}
        elif piece:
            at = {place + len(piece) for place in at if path.startswith(piece, place)}
    return any(place == len(path) or path[place] == "/" for place in at)


def _within(at: set[int], path: str) -> set[int]:
    reached: set[int] = set()
    inside = False
    for place in range(len(path) + 1):
        inside = (inside and path[place - 1] != "/") or place in at
        if inside:
            reached.add(place)
    return reached
