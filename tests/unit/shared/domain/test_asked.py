"""What a job's row says was asked for makes sense, or its run says what does not."""

from __future__ import annotations

from typing import Any

import pytest

from shared.domain.asked import Asked
from shared.domain.scheduled import asked_for
from shared.errors import Permanent

SOME_ID = "01a21468-87ff-7b98-8c44-7f449fb2f140"
SENSE: tuple[Any, ...] = (
    {},
    {"max_failures": 3, "retry_seconds": 60},
    {"retry_seconds": 0.5, "of_a_newer_version": [1, {"a": None}]},
    {"servers": [SOME_ID]},
    {"scheduled": {"schedule_id": SOME_ID, "due_at": "2026-11-25T03:00:00Z"}, "depth": "archives"},
)
NONSENSE: tuple[Any, ...] = (
    None, 5, True, "x", [1], [], [["max_failures", 3]],
    {"max_failures": "many"}, {"max_failures": 0}, {"max_failures": -1}, {"max_failures": 10**30}, {"max_failures": 1.5},
    {"max_failures": [3]}, {"retry_seconds": "soon"}, {"retry_seconds": -1}, {"retry_seconds": 1e300},
    {"retry_seconds": float("nan")}, {"retry_seconds": float("inf")}, {"retry_seconds": {}}, {"scheduled": 5}, {"scheduled": {}},
    {"scheduled": {"schedule_id": "x", "due_at": "never"}}, {"servers": "all"}, {"servers": ["web1"]}, {"servers": [None]},
    {"budget_seconds": "long"},
)  # fmt: skip


@pytest.mark.parametrize("params", SENSE, ids=repr)
def test_what_makes_sense_is_read(params: Any) -> None:
    asked = Asked.of(params)
    assert asked.max_failures == params.get("max_failures")
    assert asked.retry_seconds == params.get("retry_seconds")
    assert Asked.or_nothing(params) == asked


@pytest.mark.parametrize("params", NONSENSE, ids=repr)
def test_what_makes_none_is_refused_with_its_place_and_never_breaks_who_ends_the_job(params: Any) -> None:
    with pytest.raises(Permanent) as refused:
        Asked.of(params)
    assert refused.value.code == "job_params_invalid"
    assert refused.value.remedy
    assert next(iter(params), "params") in refused.value.message if isinstance(params, dict) else True
    assert Asked.or_nothing(params) == Asked()
    asked_for(params)  # a retry hands it on to the run that refuses it
