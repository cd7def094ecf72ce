"""No missing, differing or unread file ever makes a good proof, whatever else was fine."""

from __future__ import annotations

import base64
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.domain.proofs import MOST_BYTES, Findings, ProofState, RestoreTestAsked, full_restore_seconds

NAMES = [one.name for one in fields(Findings) if one.name != "seconds"]
COUNTS = st.fixed_dictionaries({name: st.integers(0, 3) for name in NAMES})


@given(COUNTS)
def test_only_what_was_chosen_read_whole_and_agrees_is_a_good_proof(figures: dict[str, int]) -> None:
    found = Findings(**figures)
    wrong = ("damaged", "missing", "differing", "unread", "source_differing")
    good = found.chosen > 0 and found.read == found.chosen and not any(figures[name] for name in wrong)
    assert (found.state is ProofState.GOOD) == good


@given(st.lists(COUNTS, max_size=4))
def test_what_is_wrong_with_one_archive_is_wrong_with_the_sum(several: list[dict[str, int]]) -> None:
    total = Findings()
    for figures in several:
        total.add(Findings(**figures))
    for name in NAMES:
        assert getattr(total, name) == sum(figures[name] for figures in several)
    if any(figures["damaged"] or figures["missing"] for figures in several):
        assert total.state is not ProofState.GOOD


@pytest.mark.parametrize(
    ("figures", "state"),
    [
        ({}, ProofState.NOTHING),
        ({"chosen": 2, "read": 2}, ProofState.GOOD),
        ({"chosen": 2, "read": 2, "source_differing": 1}, ProofState.SOURCE_DIFFERS),
        ({"chosen": 2, "read": 1, "damaged": 1, "missing": 1}, ProofState.DAMAGED),
        ({"chosen": 2, "read": 1}, ProofState.FAILED),
        ({"chosen": 2, "read": 2, "differing": 1}, ProofState.FAILED),
        ({"unread": 1}, ProofState.FAILED),
    ],
)
def test_what_it_comes_to(figures: dict[str, int], state: ProofState) -> None:
    assert Findings(**figures).state is state


def test_a_full_restore_is_estimated_only_from_what_says_something() -> None:
    mib = 1024 * 1024
    assert full_restore_seconds(Findings(bytes=10 * mib, seconds=2.0), 100 * mib) == 20.0
    assert full_restore_seconds(Findings(bytes=10, seconds=2.0), 100 * mib) is None
    assert full_restore_seconds(Findings(bytes=10 * mib), 100 * mib) is None


def test_what_is_named_is_taken_as_archives_hold_it_each_once() -> None:
    latin = base64.b64encode(b"/srv/caf\xe9/").decode()
    asked = RestoreTestAsked(kind="named", paths=["/srv/a/", "srv/a", "srv/b"], paths_b64=[latin])
    assert asked.named == [b"srv/a", b"srv/b", b"srv/caf\xe9"]
    assert RestoreTestAsked.model_validate_json(asked.model_dump_json()) == asked


def test_a_sample_is_limited_and_what_is_named_only_if_somebody_says_so() -> None:
    assert (RestoreTestAsked().most_files, RestoreTestAsked().most_bytes) == (50, MOST_BYTES)
    assert RestoreTestAsked(kind="all").most_bytes is None
    assert RestoreTestAsked(kind="all", max_bytes=7).most_bytes == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "named"}, {"paths": ["a"]}, {"kind": "all", "files": 1}, {"kind": "named", "paths": ["a/../b"]},
        {"kind": "named", "paths": ["/"]}, {"kind": "named", "paths": [f"{number:0990}" for number in range(100)]},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RestoreTestAsked.model_validate(wrong)
