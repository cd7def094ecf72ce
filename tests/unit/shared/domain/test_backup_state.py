from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from shared.domain.backup_state import Reason, Weight, doubt, is_doubtful, is_good, is_held, is_trusted, note
from shared.domain.messages.counts import FILES, number
from shared.domain.messages.run_reasons import ARCHIVE_EMPTY, REPORT_LOST, VANISHED_WHILE_READ
from shared.domain.messages.source_reasons import AS_BEFORE, BORG_CACHE, OWN_PLACE_LEFT_OUT, SOURCE_EMPTY

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
    vanished = VANISHED_WHILE_READ(files=number(1204, FILES), examples="/srv/a: gone", more=3)
    for reason in (note(vanished), doubt(SOURCE_EMPTY(path="/srv", held=number(1, FILES)))):
        assert Reason.from_json(reason.to_json()) == reason
    assert doubt(SOURCE_EMPTY(path="/srv", held=number(1, FILES))).to_json() == {
        "code": "source_empty",
        "weight": "doubt",
        "text": "The source /srv is empty; last time it held 1 file. Mount or fill it, or accept this backup if that is "
        "right.",
        "message": {
            "code": "source_empty",
            "key": "source_empty",
            "params": {"path": "/srv", "held": {"code": "error", "key": "part.one_file", "params": {}}},
        },
    }


def test_what_is_said_with_a_name_first_keeps_the_name_as_it_is_written() -> None:
    left_out = note(OWN_PLACE_LEFT_OUT(path="srv/b", what=BORG_CACHE()))
    assert left_out.text.startswith("srv/b is left out: it is borg's cache, and")
    again = note(AS_BEFORE(reason=ARCHIVE_EMPTY()))
    assert (again.code, again.text.partition(". ")[0]) == (
        "archive_empty", "The archive holds no file at all, as in the backup before"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "code", "text"),
    [
        ({"code": "source_empty", "weight": "doubt", "text": "The source /srv is empty."}, "source_empty", "The source /srv is empty."),
        (
            {"code": "too_old", "weight": "doubt", "text": "It is old [5].", "message": {"key": "too_old", "params": {"n": 5}}},
            "too_old", "It is old [5].",
        ),
        (
            {"code": "source_empty", "weight": "doubt", "text": "It is empty.", "message": {"key": "source_empty", "params": {}}},
            "source_empty", "It is empty.",
        ),
        ({"code": "source_empty", "weight": "doubt", "text": "It is empty.", "message": 7}, "source_empty", "It is empty."),
    ],
)  # fmt: skip
def test_a_reason_of_another_version_is_shown_in_its_own_words(stored: dict[str, Any], code: str, text: str) -> None:
    read = Reason.from_json(stored)
    assert (read.code, read.text, read.weight) == (code, text, Weight.DOUBT)
    assert read.to_json() == {"code": code, "weight": "doubt", "text": text, "message": None}


@pytest.mark.parametrize("stored", [{}, {"weight": "feather"}, {"weight": None, "code": 7}])
def test_a_reason_that_cannot_be_read_is_a_doubt(stored: dict[str, Any]) -> None:
    assert Reason.from_json(stored).weight is Weight.DOUBT


def test_notes_leave_an_archive_good_and_one_doubt_does_not() -> None:
    assert is_trusted([])
    assert is_trusted([note(ARCHIVE_EMPTY()), note(REPORT_LOST())])
    assert not is_trusted([note(ARCHIVE_EMPTY()), doubt(REPORT_LOST())])


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
