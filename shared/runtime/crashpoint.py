"""Named places where a test may kill the process, or break a task; nothing happens without the test's variables."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def crashpoint(name: str) -> None:
    """Die at once, as by kill -9, if BORGFLEET_CRASH_AT names this place."""
    if os.environ.get("BORGFLEET_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)


def failpoint(name: str) -> None:
    """Raise what nobody foresaw if BORGFLEET_FAIL_AT names this place, while the file BORGFLEET_FAIL_WHILE exists."""
    if os.environ.get("BORGFLEET_FAIL_AT") == name and Path(os.environ.get("BORGFLEET_FAIL_WHILE", "")).is_file():
        message = f"a test breaks {name}"
        raise RuntimeError(message)
