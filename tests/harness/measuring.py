"""Which tests measure coverage: measuring doubles what a test computes, so each line is measured where it is cheapest.

A test that is not measured runs and asserts just the same. `tests/coverage_floor.py` says if one line too many goes
unmeasured.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import coverage
import pytest

PROCESS = "COVERAGE_PROCESS_CONFIG"
"""With it in its environment, each Python program that a test starts measures itself."""

_ANOTHER_BACKEND = ("mariadb", "jetstream")
"""The lines are measured on SQLite and on the bus in memory: the same test, the same code of ours."""


class Measuring:
    """Turns the measuring of this process, and of the programs that it starts, off and on between tests."""

    def __init__(self) -> None:
        self._coverage = coverage.Coverage.current()
        self._on = self._coverage is not None
        if self._on:
            ThreadPoolExecutor.submit = _submit_measured  # type: ignore[method-assign] - the same call, for every pool

    def turn(self, *, on: bool) -> None:
        if self._coverage is None or on == self._on:
            return
        self._on = on
        if on:
            self._coverage.start()  # sets the variable, too
        else:
            self._coverage.stop()
            os.environ.pop(PROCESS, None)


_submit = ThreadPoolExecutor.submit


def _submit_measured(pool: ThreadPoolExecutor, work: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
    return _submit(pool, _measured, work, *args, **named)


def _measured(work: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
    """Measure in a pool's thread as in the one that asks: it may have begun in a test that is not measured."""
    if sys.gettrace() is None:
        sys.settrace(threading.gettrace())
    return work(*args, **named)


def measured(item: pytest.Item) -> bool:
    """Go by the nearest of the marks `measured` and `unmeasured`, else by where a test is and what it runs on."""
    if marks := [mark.name for mark in item.iter_markers() if mark.name in {"measured", "unmeasured"}]:
        return marks[0] == "measured"
    call = getattr(item, "callspec", None)
    elsewhere = call is not None and any(value in _ANOTHER_BACKEND for value in call.params.values())
    return not elsewhere and not item.path.is_relative_to(item.config.rootpath / "tests" / "e2e")
