"""Event schemas are frozen: fields are only ever added, with defaults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.events.base import Event
from shared.events.streams import EVENTS

SCHEMAS = Path(__file__).parent / "schemas"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type_name())
def test_an_events_schema_only_grows(event: type[Event]) -> None:
    frozen = json.loads((SCHEMAS / f"{event.type_name()}.json").read_text())
    now = event.model_json_schema()
    assert set(now.get("required", [])) == set(frozen.get("required", [])), "a new field needs a default"
    for name, shape in frozen["properties"].items():
        assert now["properties"].get(name) == shape, f"{event.type_name()}.{name} changed: make a new version instead"
    unfrozen = set(now["properties"]) - set(frozen["properties"])
    assert not unfrozen, f"freeze the new fields {unfrozen}: python scripts/generate.py"


def test_no_schema_is_left_of_an_event_that_is_gone() -> None:
    assert {file.stem for file in SCHEMAS.glob("*.json")} == {event.type_name() for event in EVENTS}
