"""The generator freezes what events gain, and refuses to freeze what would break those who read them."""

from __future__ import annotations

import copy
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
FROZEN: dict[str, Any] = {
    "title": "Thing", "description": "A thing happened.", "type": "object", "required": ["id", "title"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "title": {"type": "string", "title": "Title"},
        "size": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None, "description": "In bytes."},
        "depth": {"$ref": "#/$defs/Depth", "default": "data"},
    },
    "$defs": {
        "Depth": {"type": "string", "enum": ["segments", "data"]},
        "Place": {"type": "object", "required": ["pool"], "properties": {"pool": {"type": "string"}}},
    },
}  # fmt: skip
Change = Callable[[dict[str, Any]], object]
GROWS: dict[str, Change] = {
    "nothing": lambda now: now,
    "a field with a default": lambda now: now["properties"].update(more={"type": "integer", "default": 0}),
    "a field of a part": lambda now: now["$defs"]["Place"]["properties"].update(more={"type": "string", "default": ""}),
    "a part": lambda now: now["$defs"].update(Other={"type": "object"}),
    "other words": lambda now: (now.update(description="x"), now["properties"]["size"].update(description="Bytes.")),
}
BREAKS: dict[str, tuple[Change, str]] = {
    "a field is gone": (lambda now: now["properties"].pop("size"), "size is gone"),
    "a field called title is gone": (lambda now: now["properties"].pop("title"), "title is gone"),
    "another type": (lambda now: now["properties"]["id"].update(type="integer"), "id changed"),
    "another format": (lambda now: now["properties"]["id"].pop("format"), "id changed"),
    "no null any more": (lambda now: now["properties"]["size"]["anyOf"].pop(), "size changed"),
    "another default": (lambda now: now["properties"]["size"].update(default=0), "size changed"),
    "no default any more": (lambda now: now["required"].append("size"), "size may not be left out any more"),
    "a duty is gone": (lambda now: now["required"].remove("id"), "id may be left out now"),
    "a new duty": (
        lambda now: (now["required"].append("more"), now["properties"].update(more={"type": "string"})),
        "more is new and has no default",
    ),
    "another word of an enum": (lambda now: now["$defs"]["Depth"]["enum"].append("all"), "Depth itself changed"),
    "a part is gone": (lambda now: now["$defs"].pop("Place"), "Place.pool is gone"),
    "a field of a part changed": (
        lambda now: now["$defs"]["Place"]["properties"]["pool"].update(type="integer"),
        "Place.pool changed",
    ),
    "the event forbids what it does not know": (
        lambda now: now.update(additionalProperties=False),
        "the event itself changed",
    ),
}


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    return runpy.run_path(str(SCRIPTS / "generate.py"))


def changed(change: Change) -> dict[str, Any]:
    now = copy.deepcopy(FROZEN)
    change(now)
    return now


def reasons(generator: dict[str, Any], schemas: Path, now: dict[str, Any]) -> list[str]:
    path = schemas / "thing.v1.json"
    path.write_text(json.dumps(FROZEN))
    return generator["refused"]({path: json.dumps(now)}, schemas)


@pytest.mark.parametrize("change", GROWS.values(), ids=GROWS)
def test_what_only_adds_is_frozen(change: Change, generator: dict[str, Any], tmp_path: Path) -> None:
    assert reasons(generator, tmp_path, changed(change)) == []


@pytest.mark.parametrize(("change", "reason"), BREAKS.values(), ids=BREAKS)
def test_what_breaks_readers_is_refused(change: Change, reason: str, generator: dict[str, Any], tmp_path: Path) -> None:
    assert f"thing.v1.json: {reason}" in reasons(generator, tmp_path, changed(change))


def test_a_schema_with_the_marks_of_a_conflict_is_not_overwritten(generator: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "thing.v1.json"
    path.write_text("<<<<<<< HEAD\n{}\n")
    found = generator["refused"]({path: json.dumps(FROZEN)}, tmp_path)
    assert "conflict" in str(found)


def test_a_new_event_and_other_documents_are_written_freely(generator: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    document = tmp_path / "docs/events.md"
    document.write_text("# Events")
    made = {tmp_path / "new.v1.json": json.dumps(FROZEN), document: "# Other events"}
    assert generator["refused"](made, tmp_path) == []


@pytest.mark.parametrize("arguments", [[], ["--check"]], ids=["write", "check"])
def test_nothing_at_all_is_written_when_an_event_would_break_its_readers(
    arguments: list[str], generator: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema, document = tmp_path / "thing.v1.json", tmp_path / "events.md"
    schema.write_text(json.dumps(FROZEN))
    made = {document: "new", schema: json.dumps(changed(lambda now: now["properties"].pop("size")))}
    main = generator["main"]
    monkeypatch.setitem(main.__globals__, "files", lambda: made)
    monkeypatch.setitem(main.__globals__, "SCHEMAS", tmp_path)
    monkeypatch.setitem(main.__globals__, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate.py", *arguments])
    with pytest.raises(SystemExit, match="size is gone"):
        main()
    assert not document.exists()
    assert json.loads(schema.read_text()) == FROZEN
