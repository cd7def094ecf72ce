"""A running job's progress, from the bus: lossy by design, and from whoever may publish there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import ValidationError

from shared.domain.text import clean
from shared.events.progress import JobProgress

if TYPE_CHECKING:
    import uuid

_MOST = 2**63 - 1
_LONGEST = 1000


def read_progress(data: bytes, job_id: uuid.UUID) -> dict[str, object] | None:
    """Return what a message says of a job, each part of it within bounds; None for one that is no progress of it."""
    try:
        progress = JobProgress.model_validate_json(data)
    except ValidationError:
        return None
    if progress.job_id != job_id:
        return None
    shown = {name: _bounded(value) for name, value in progress.model_dump(mode="json").items()}
    return shown if isinstance(shown["phase"], str) and shown["phase"] else None


def _bounded(value: object) -> object:
    if isinstance(value, str):
        return clean(value, _LONGEST)
    if isinstance(value, (int, float)):
        return value if math.isfinite(value) and 0 <= value <= _MOST else None
    return value
