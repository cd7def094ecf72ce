from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from shared.domain.backup_state import Reason, Weight, doubt, is_doubtful, is_good, is_held, is_trusted, note

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
FINE: dict[str, Any] = {
    "state": "succeeded", "trusted": True, "accepted": False, "damage": "", "deleting": False, "missing": False,
}  # fmt: skip
SPOILS: list[dict[str, Any]] = [
    {"state": "failed"}, {"state": "cancelled"}, {"state": ""}, {"state": "SUCCEEDED"}, {"damage": "a chunk is gone"},
    {"deleting": True}, {"missing": True},
]  # fmt: skip


@pytest.mark.parametrize(("trusted", "accepted"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("state", ["succeeded", "warning"])
def test_what_the_gate_or_a_person_trusts_is_good(state: str, trusted: bool, accepted: bool) -> None:
    assert is_good(**FINE | {"state": state, "trusted": trusted, "accepted": accepted})


@pytest.mark.parametrize("spoilt", SPOILS)
def test_no_word_of_a_person_makes_good_what_is_not_there_to_be_read(spoilt: dict[str, Any]) -> None:
    for trusted, accepted in product([True, False], repeat=2):
        archive = FINE | {"trusted": trusted, "accepted": accepted} | spoilt
        assert not is_good(**archive)
        assert not is_doubtful(**archive)


def test_a_doubt_that_nobody_accepted_is_not_good_but_waits_for_a_word() -> None:
    doubtful = FINE | {"state": "warning", "trusted": False}
    assert not is_good(**doubtful)
    assert is_doubtful(**doubtful)
    assert not is_doubtful(**doubtful | {"accepted": True})
    assert not is_doubtful(**FINE)


def test_a_reason_comes_back_as_it_was_stored() -> None:
    for reason in (note("file_changed", "/var/log/a changed"), doubt("source_empty", "The source /srv is empty.")):
        assert Reason.from_json(reason.to_json()) == reason
    assert doubt("a", "b").to_json() == {"code": "a", "weight": "doubt", "text": "b"}


@pytest.mark.parametrize("stored", [{}, {"weight": "feather"}, {"weight": None, "code": 7}])
def test_a_reason_that_cannot_be_read_is_a_doubt(stored: dict[str, Any]) -> None:
    assert Reason.from_json(stored).weight is Weight.DOUBT


def test_notes_leave_an_archive_good_and_one_doubt_does_not() -> None:
    assert is_trusted([])
    assert is_trusted([note("a", ""), note("b", "")])
    assert not is_trusted([note("a", ""), doubt("b", "")])


@pytest.mark.parametrize(
    ("reason", "until", "held"),
    [
        (None, None, False),
        (None, NOW + timedelta(days=1), False),
        ("audit", None, True),
        ("", None, True),
        ("audit", NOW + timedelta(seconds=1), True),
        ("audit", NOW, False),
        ("audit", NOW - timedelta(days=1), False),
    ],
)
def test_a_hold_ends_when_its_time_is_over_and_not_before(
    reason: str | None, until: datetime | None, held: bool
) -> None:
    assert is_held(reason=reason, until=until, now=NOW) is held
