"""A process whose clock is wrong: libfaketime, preloaded into it alone."""

from __future__ import annotations

import sysconfig
from pathlib import Path

_LIBRARY = Path("/usr/lib") / str(sysconfig.get_config_var("MULTIARCH")) / "faketime" / "libfaketime.so.1"


def wrong_clock(offset: str) -> dict[str, str]:
    """Return the environment of a process whose clock is off, as `+1d`; its monotonic clock is right."""
    assert _LIBRARY.is_file(), "install libfaketime"
    return {"LD_PRELOAD": str(_LIBRARY), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
