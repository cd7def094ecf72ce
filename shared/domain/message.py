"""What people are told: an entry of the catalogue, and one use of it with its parameters.

A text has parameters as `{name}` or `{name:g}`. A part in `[...]` is left out when none of its parameters has a value.
`{name:moment}` is a time: here it is written in UTC, and who shows it to a person writes it in that person's way.
`{{`, `}}`, `[[` and `]]` stand for themselves. A parameter may hold what a server or a client sent: it is cleaned and
cut before it is kept, and again where it is shown.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import Any, NamedTuple, TypeAlias, cast

from shared.domain.text import clean

LONGEST = 2000
"""Characters of one parameter."""
MOST = 50
"""Items of one parameter that is a list; the rest is counted."""
_LONGEST_TEXT = 16 * 1024
_LONGEST_NUMBER = 2**63
_CODE, _KEY = 60, 120
_MOMENT = "moment"

_TOKEN = re.compile(r"\{\{|\}\}|\[\[|\]\]|\[|\]|\{(?P<name>[a-z][a-z0-9_]*)(?::(?P<format>[^{}\[\]]*))?\}|[{}]")

Scalar: TypeAlias = "str | int | float | bool | PurePath | uuid.UUID | dt.datetime | Enum | BaseException | None"
Value: TypeAlias = "Scalar | Said | list[str] | tuple[str, ...]"
"""What a parameter may be. A `Said` is another message within this one: the cause of what happened."""
Kept: TypeAlias = "str | int | float | bool | list[str] | Said | None"
"""What is kept of it."""


class _Part(NamedTuple):
    """A piece of a text: words, or a parameter; `optional` numbers the bracket that it stands in."""

    words: str = ""
    name: str = ""
    format: str = ""
    optional: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One entry: a stable code for programs, the English text and what to do. `status` is HTTP's for a refusal."""

    code: str
    """Empty in a message that tells of another one, which has it."""
    status: int
    text: str
    remedy: str = ""
    variant: str = ""
    """Tells apart entries of one code that say different things."""

    @property
    def key(self) -> str:
        """The name of this sentence, which no other one has: other languages are found by it."""
        return f"{self.code or 'part'}.{self.variant}" if self.variant else self.code

    @property
    def params(self) -> tuple[str, ...]:
        """The names of its parameters, in the order of the text."""
        parts = (*parse(self.text), *parse(self.remedy))
        return tuple(dict.fromkeys(part.name for part in parts if part.name))

    @property
    def required(self) -> frozenset[str]:
        """The names of the parameters without which it says nothing."""
        parts = (*parse(self.text), *parse(self.remedy))
        return frozenset(part.name for part in parts if part.name and not part.optional)

    def __call__(self, **params: Value) -> Said:
        """Say it with its parameters; TypeError if one is missing or is none of this message."""
        if not self.required <= params.keys() <= set(self.params):
            wrong = f"{self.key} takes {', '.join(self.params) or 'nothing'}, not {', '.join(params) or 'nothing'}"
            raise TypeError(wrong)
        return Said(self, {name: kept(value) for name, value in params.items()})


@dataclass(frozen=True, slots=True)
class Said:
    """One use of a message. Its sentences are made when they are read."""

    message: Message
    params: Mapping[str, Kept] = field(default_factory=dict[str, Kept])

    @property
    def code(self) -> str:
        """The stable code; that of the cause, where the message tells of one."""
        return self.message.code or next((one.code for one in self._causes()), "error")

    @property
    def key(self) -> str:
        """The name of the sentence."""
        return self.message.key

    @property
    def status(self) -> int:
        """HTTP's status, where this is the answer to a request."""
        return self.message.status

    @property
    def text(self) -> str:
        """What happened, and why."""
        return _render(self.message.text, self.params)

    @property
    def remedy(self) -> str:
        """What to do."""
        if self.message.remedy:
            return _render(self.message.remedy, self.params)
        return next((one.remedy for one in self._causes()), "")

    @property
    def sentences(self) -> str:
        """What happened, why, and what to do, as whole sentences where they stand alone."""
        text = _sentence(self.text, self.message.text, self.params)
        remedy = self.remedy
        return " ".join(filter(None, (text, _ended(remedy[:1].upper() + remedy[1:]))))

    def to_json(self) -> dict[str, Any]:
        """Return what is stored and sent: the entry's name and the parameters, and no sentence."""
        params = {name: one.to_json() if isinstance(one, Said) else one for name, one in self.params.items()}
        return {"code": self.code, "key": self.key, "params": params}

    def _causes(self) -> list[Said]:
        return [one for one in self.params.values() if isinstance(one, Said)]


def plain(text: str, *, code: str, remedy: str = "", status: int = 400) -> Said:
    """Return a sentence that was made elsewhere: in an old row, by another version of a service, by a test.

    For what is read only. What Borgfleet says itself has an entry in the catalogue.
    """
    words = Message(clean(code, _CODE), status, "{text}", "{remedy}", variant="text")
    return Said(words, {"text": clean(text, _LONGEST_TEXT), "remedy": clean(remedy, _LONGEST_TEXT)})


def escaped(text: str) -> str:
    """Return words as a message's text in which nothing is a parameter or left out."""
    return re.sub(r"([{}\[\]])", r"\1\1", text)


def kept(value: Value) -> Kept:
    """Return a parameter as every database and the bus can hold it: bounded, and without what is not text."""
    if value is None or isinstance(value, (Said, bool)):
        return value
    if isinstance(value, (list, tuple)):
        more = [f"{len(value) - MOST} more"] if len(value) > MOST else []
        return [_inert(str(one)) for one in value[:MOST]] + more
    if isinstance(value, Enum):
        return _inert(str(value.value))
    if isinstance(value, int):
        return value if abs(value) < _LONGEST_NUMBER else str(value)[:LONGEST]
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # NaN and infinities are no JSON
    return _inert(value.isoformat() if isinstance(value, dt.datetime) else str(value))


def _inert(text: str) -> str:
    """Return text of one line: with line ends a server could write lines of ours."""
    return clean(clean(text, LONGEST).strip().replace("\n", " ").replace("\t", " "), LONGEST)


@lru_cache(maxsize=4096)
def parse(text: str) -> tuple[_Part, ...]:
    """Return the parts of a text; ValueError if its brackets make no sense."""
    parts: list[_Part] = []
    at, optional, brackets = 0, 0, 0
    for found in _TOKEN.finditer(text):
        parts.append(_Part(text[at : found.start()], optional=optional))
        at, sign = found.end(), found[0]
        if found["name"]:
            parts.append(_Part(name=found["name"], format=found["format"] or "", optional=optional))
        elif len(sign) > 1:
            parts.append(_Part(sign[0], optional=optional))
        elif sign == "[" and not optional:
            brackets += 1
            optional = brackets
        elif sign == "]" and optional:
            optional = 0
        else:
            wrong = f"a {sign} without its other half in: {text}"
            raise ValueError(wrong)
    if optional:
        wrong = f"a [ without its other half in: {text}"
        raise ValueError(wrong)
    return tuple(part for part in (*parts, _Part(text[at:])) if part.words or part.name)


def _render(text: str, params: Mapping[str, Kept]) -> str:
    parts = parse(text)
    filled = {part.optional for part in parts if part.name and params.get(part.name) not in (None, "", [])}
    told = (part for part in parts if not part.optional or part.optional in filled)
    shown = (_shown(params.get(part.name), part.format) if part.name else part.words for part in told)
    return clean("".join(shown), _LONGEST_TEXT)


def _sentence(words: str, template: str, params: Mapping[str, Kept]) -> str:
    """Return a text with a capital and a full stop; a name at its beginning stays as it is written."""
    first = next(iter(parse(template)), _Part())
    value = params.get(first.name)
    ours = first.words if not first.name else isinstance(value, Said) and value.message.text[:1].isalpha()
    if ours and not first.optional:
        words = words[:1].upper() + words[1:]
    return _ended(words)


def _ended(words: str) -> str:
    return words if not words or words[-1] in ".!?…" else f"{words}."


def _shown(value: Kept, spec: str) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, Said):
        return value.text
    if isinstance(value, list):
        return ", ".join(_inert(one) for one in value)
    if isinstance(value, str):
        return _in_utc(value) if spec == _MOMENT else clean(value, _LONGEST_TEXT)
    try:
        return format(value, spec)
    except ValueError:  # a row of another version may hold another kind of value
        return str(value)


def _in_utc(text: str) -> str:
    """Return a time as it was kept; what is none, as an older version made it, stays as it is."""
    try:
        at = dt.datetime.fromisoformat(text)
        return f"{at if at.tzinfo is None else at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError):
        return clean(text, _LONGEST_TEXT)


def read(stored: object, entries: Mapping[str, Message]) -> Said | None:
    """Return what was stored by `to_json`; None if this version does not know it, or it lacks what is to be said."""
    if not isinstance(stored, dict):
        return None
    found = cast("dict[str, Any]", stored)
    entry, params = entries.get(str(found.get("key", ""))[:_KEY]), found.get("params")
    if entry is None or not isinstance(params, dict):
        return None
    values: dict[str, Kept] = {}
    for name, value in cast("dict[str, Any]", params).items():
        if name in entry.params:
            values[name] = _read_value(value, entries)
    return Said(entry, values) if entry.required <= values.keys() else None


def _read_value(value: Any, entries: Mapping[str, Message]) -> Kept:
    if isinstance(value, dict):
        return read(cast("object", value), entries)
    if isinstance(value, list):
        return kept([str(one) for one in cast("list[object]", value)])
    return kept(value) if isinstance(value, (str, int, float)) else None
