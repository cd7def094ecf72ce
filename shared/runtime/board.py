"""How the tasks of this process fare: `/readyz` names what is down, and a metric says when each last succeeded."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from shared.errors import AppError
from shared.runtime.tasks import Periodic

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.runtime.tasks import Task
    from shared.telemetry.metrics import TaskMetrics

_log = structlog.get_logger()
STEADY_SECONDS = 5.0
"""Work without rounds has recovered when it has run for so long."""
_PATIENCE = 3
"""Failures in a row from which on an expected error counts as down; an error that nobody foresaw does at once."""
_RETRY_FIRST = 1.0
_RETRY_CAP = 60.0
_PASSING_CAP = 4.0


@dataclass(slots=True)
class _State:
    periodic: bool
    succeeded_at: float
    began: float = 0.0
    failures: int = 0
    grave: bool = False
    """Whether one of these failures was an error that nobody foresaw."""
    error: str = ""
    running: bool = False


class Board:
    """One process's tasks by name."""

    def __init__(self, metrics: TaskMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the metrics to keep, and a clock that is never set back."""
        self.metrics = metrics
        self._clock = clock
        self._states: dict[str, _State] = {}

    def add(self, task: Task) -> None:
        """Begin to watch a task; until it succeeds for the first time, its start stands for its last success."""
        state = _State(isinstance(task, Periodic), time.time())
        self._states[task.name] = state
        self.metrics.last_success.labels(task.name).set_function(partial(self._last_success, state))
        self.metrics.interval.labels(task.name).set(task.every if isinstance(task, Periodic) else 0)
        self.metrics.failures.labels(task.name)

    def began(self, name: str) -> None:
        """Note that a task has begun a round, or its only one."""
        state = self._states[name]
        state.began, state.running = self._clock(), True

    def succeeded(self, name: str) -> None:
        """Note that a round went well."""
        state = self._states[name]
        state.running = False
        if state.failures:
            _log.info("task_recovered", task=name, failures=state.failures)
        self._recovered(state)
        state.succeeded_at = time.time()

    def failed(self, name: str, error: BaseException) -> float:
        """Note a failure; return how many seconds to wait before the next try: more and more."""
        state = self._states[name]
        if self._steady(state):
            self._recovered(state)
        state.running = False
        state.failures += 1
        state.grave = state.grave or not isinstance(error, AppError)
        state.error = error.code if isinstance(error, AppError) else type(error).__name__
        self.metrics.failures.labels(name).inc()
        passing = isinstance(error, AppError)
        delay = min(_PASSING_CAP if passing else _RETRY_CAP, _RETRY_FIRST * 2.0 ** min(state.failures - 1, 10))
        if state.failures & (state.failures - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: a log must not drown in one error
            _log_failure(name, error, state.failures, delay)
        return delay

    def problems(self) -> dict[str, str]:
        """Return what is down, by name; the error's own words are in the log alone, for whom it may concern."""
        return {name: self._problem(state) for name, state in self._states.items() if self._is_down(state)}

    def stalled_by(self, codes: tuple[str, ...]) -> set[str]:
        """Return the tasks whose last failure was a foreseen error whose code begins so."""
        return {name for name, state in self._states.items() if not state.grave and state.error.startswith(codes)}

    def _is_down(self, state: _State) -> bool:
        return (state.grave or state.failures >= _PATIENCE) and not self._steady(state)

    def _steady(self, state: _State) -> bool:
        return not state.periodic and state.running and self._clock() - state.began >= STEADY_SECONDS

    def _last_success(self, state: _State) -> float:
        if not state.periodic and state.running and (not state.failures or self._steady(state)):
            state.succeeded_at = time.time()
        return state.succeeded_at

    @staticmethod
    def _recovered(state: _State) -> None:
        state.failures, state.grave, state.error = 0, False, ""

    @staticmethod
    def _problem(state: _State) -> str:
        times = "once" if state.failures == 1 else f"{state.failures} times in a row"
        return f"failed {times} ({state.error}); it is started again, see the log"


def _log_failure(name: str, error: BaseException, failures: int, delay: float) -> None:
    fields = {"task": name, "failures": failures, "retry_in": round(delay, 1)}
    if isinstance(error, AppError):
        _log.warning("task_stalled", code=error.code, reason=error.message, **fields)
    else:
        _log.error("task_crashed", exc_info=error, **fields)
