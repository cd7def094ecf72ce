"""Turns borg's output on the server into the run's progress and log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from shared.borg.output import LogLine, Phase, Progress

if TYPE_CHECKING:
    from services.backup.ports import BackupPlan
    from shared.runtime.context import Context

_RATE_SECONDS = 1.0


class Reporter:
    """Turns borg's output into progress and log lines."""

    def __init__(self, plan: BackupPlan, ctx: Context) -> None:
        """Take the run; the latest good archive says roughly how much there is to read."""
        self._ctx = ctx
        self._estimate = plan.reference.last_size if plan.reference else None
        self._marks: list[tuple[float, int]] = []

    def __call__(self, output: LogLine | Progress | Phase) -> None:
        """Pass one of borg's messages on."""
        match output:
            case Progress():
                self._progress(output)
            case Phase():
                self._ctx.progress(output.message, estimated_size=self._estimate)
            case LogLine():
                self._ctx.log(output.level, "borg", output.message, code=output.code)

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
