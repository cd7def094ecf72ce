"""Named places where a test may kill the process; nothing happens without the test's variable."""

from __future__ import annotations

import os
import signal


def crashpoint(name: str) -> None:
    """Die at once, as by kill -9, if BORGFLEET_CRASH_AT names this place."""
    if os.environ.get("BORGFLEET_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
