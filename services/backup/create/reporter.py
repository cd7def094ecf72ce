"""Turns borg's output on the server into the run's progress and log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from shared.borg.output import LogLine, Phase, Progress

if TYPE_CHECKING:
    from services.backup.ports import BackupPlan
    from shared.runtime.context import Context

_RATE_SECONDS = 1.0
LINES = 1500
"""Of borg's in a job's log, which keeps its first 2,000: hooks and what follows have to find room."""


class Reporter:
    """Turns borg's output into progress and log lines."""

    def __init__(self, plan: BackupPlan, ctx: Context) -> None:
        """Take the run; the latest good archive says roughly how much there is to read."""
        self._ctx = ctx
        self._estimate = plan.reference.last_size if plan.reference else None
        self._marks: list[tuple[float, int]] = []
        self._lines = 0

    def __call__(self, output: LogLine | Progress | Phase) -> None:
        """Pass one of borg's messages on."""
        match output:
            case Progress():
                self._progress(output)
            case Phase():
                self._ctx.progress(output.message, estimated_size=self._estimate)
            case LogLine():
                self._line(output)

    def _line(self, line: LogLine) -> None:
        self._lines += 1
        if self._lines <= LINES:
            self._ctx.log(line.level, "borg", line.message, code=line.code)
        elif self._lines == LINES + 1:
            text = f"borg said more than {LINES} lines: only the first of them are here, all are counted"
            self._ctx.log("warning", "kernel", text, code="log_full")

    def _progress(self, output: Progress) -> None:
        self._ctx.progress(
            "reading",
            files=output.files,
            original_size=output.original_size,
            deduplicated_size=output.deduplicated_size,
            estimated_size=self._estimate,
            rate=self._rate(output.original_size),
            path=output.path or None,
        )

    def _rate(self, size: int) -> float | None:
        """Return the bytes a second over the last few seconds; unknown at first."""
        now = time.monotonic()
        if not self._marks or now - self._marks[-1][0] >= _RATE_SECONDS:
            self._marks = [*self._marks[-5:], (now, size)]
        since, before = self._marks[0]
        return (size - before) / (now - since) if now > since else None
