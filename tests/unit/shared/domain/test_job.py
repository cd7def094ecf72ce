from __future__ import annotations

import pytest

from shared.domain.job import BACKOFF_CAP, RETRYABLE, TERMINAL, JobState, backoff, may_become


def test_what_has_ended_well_never_runs_again() -> None:
    for state in JobState:
        assert not may_become(JobState.SUCCEEDED, state)
        assert not may_become(JobState.WARNING, state)
    assert frozenset({JobState.FAILED, JobState.CANCELLED}) == RETRYABLE


def test_a_run_can_end_in_every_terminal_state_or_go_back_to_the_queue() -> None:
    for state in (*TERMINAL, JobState.QUEUED):
        assert may_become(JobState.RUNNING, state)
    assert not may_become(JobState.QUEUED, JobState.SUCCEEDED)


@pytest.mark.parametrize(("failures", "seconds"), [(0, 5), (1, 5), (2, 10), (3, 20), (30, BACKOFF_CAP)])
def test_backoff_grows_and_is_bounded(failures: int, seconds: float) -> None:
    assert backoff(failures) == seconds
