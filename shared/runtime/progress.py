"""Progress: at most one message a second, and once more at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from shared.errors import Transient
from shared.events.progress import JobProgress

if TYPE_CHECKING:
    import uuid

    from shared.bus.port import Bus

_EVERY = 1.0


class ProgressReporter:
    """The progress of one run; the last value is kept for the job's row."""

    def __init__(self, bus: Bus, job_id: uuid.UUID, correlation_id: uuid.UUID) -> None:
        """Report for one job."""
        self._bus = bus
        self._base: dict[str, Any] = {"job_id": job_id, "correlation_id": correlation_id}
        self._sent_at = 0.0
        self._sent: JobProgress | None = None
        self.latest: JobProgress | None = None

    def __call__(self, phase: str, **figures: Any) -> None:
        """Note where the run is; unknown figures are left out and stay null."""
        self.latest = JobProgress(phase=phase, **self._base, **figures)

    async def flush(self, *, final: bool = False) -> None:
        """Publish what is new, if the last message is old enough."""
        due = final or time.monotonic() - self._sent_at >= _EVERY
        if self.latest is None or self.latest is self._sent or not due:
            return
        self._sent_at, self._sent = time.monotonic(), self.latest
        try:
            await self._bus.notify(
                f"{JobProgress.subject}.{self.latest.job_id}", self.latest.model_dump_json().encode()
            )
        except Transient:
            return  # progress is lossy by design

    async def end(self) -> None:
        """Publish the last word."""
        if self.latest is not None:
            self.latest = self.latest.model_copy(update={"done": True})
            await self.flush(final=True)

    def as_row(self) -> dict[str, Any] | None:
        """Return the latest value for the job's row, or None."""
        return self.latest.model_dump(mode="json", exclude={"event_id"}) if self.latest else None
