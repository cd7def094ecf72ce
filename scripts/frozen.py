"""Tells what a change of an event's schema would break: who reads an event counts on each field that was ever sent."""

from __future__ import annotations

from typing import Any, cast

_WORDS = ("title", "description")
_VALUES = ("default", "const", "enum", "examples")
_GROWS = ("properties", "required", "$defs")


def broken(frozen: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return what of a frozen schema no longer holds; nothing if it only grew by fields that have defaults."""
    found = _object("", frozen, now)
    for name, shape in frozen.get("$defs", {}).items():
        found += _object(f"{name}.", shape, now.get("$defs", {}).get(name, {}))
    return found


def _object(prefix: str, frozen: dict[str, Any], now: dict[str, Any]) -> list[str]:
    before, after = frozen.get("properties", {}), now.get("properties", {})
    must, must_now = set(frozen.get("required", [])), set(now.get("required", []))
    kept = [name for name in before if name in after]
    found = [f"{prefix}{name} is gone" for name in before if name not in after]
    found += [f"{prefix}{name} changed" for name in kept if _bare(before[name]) != _bare(after[name])]
    found += [f"{prefix}{name} is new and has no default" for name in sorted(must_now - set(before))]
    found += [f"{prefix}{name} may be left out now" for name in kept if name in must - must_now]
    found += [f"{prefix}{name} may not be left out any more" for name in kept if name in must_now - must]
    rest = [_bare({key: value for key, value in shape.items() if key not in _GROWS}) for shape in (frozen, now)]
    return found if rest[0] == rest[1] else [*found, f"{prefix.rstrip('.') or 'the event'} itself changed"]


def _bare(shape: object) -> object:
    """Return a schema without its words: they explain a message to its reader, and change none."""
    if isinstance(shape, list):
        return [_bare(each) for each in cast("list[object]", shape)]
    if not isinstance(shape, dict):
        return shape
    return {
        key: value if key in _VALUES else _bare(value)
        for key, value in cast("dict[str, object]", shape).items()
        if key not in _WORDS
    }
