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
        try:
            return re.search(pattern, path) is not None
        except re.error:
            return False
    wanted = pattern.strip("/")
    if style in ("pp", "pf"):
        return path == wanted or (style == "pp" and (not wanted or path.startswith(f"{wanted}/")))
    expression = fnmatch.translate(wanted) if style == "fm" else _shell(wanted)
    return any(re.match(expression, part) for part in (path, *_parents(path)))


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _shell(pattern: str) -> str:
    """Translate borg's `sh:` style: `*` stays within a directory, `**/` crosses any number of them."""
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = (wild.get(piece) or re.escape(piece) for piece in re.split(r"(\*\*/|\*\*|\*|\?)", pattern))
    return f"(?s:{''.join(pieces)})\\Z"
