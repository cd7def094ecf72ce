"""Standard input and outputs, whatever they are: closed, full, a pipe that nobody reads, without UTF-8."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 130, 141
"""As shells count the ends by SIGINT and SIGPIPE."""


def open_streams() -> None:
    """Put /dev/null where a standard stream is closed: else the next file opened would take its place."""
    for number, mode in ((0, "r"), (1, "w"), (2, "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        name = ("stdin", "stdout", "stderr")[number]
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def leave(status: int) -> NoReturn:
    """End at once; what could not be written is dropped, so that Python does not try it again and complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(null, number)
    raise SystemExit(status)


def is_utf8() -> bool:
    """Tell whether standard output takes UTF-8."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return encoding.lower().replace("-", "").replace("_", "") == "utf8"
