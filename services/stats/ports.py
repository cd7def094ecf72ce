"""What the stats service needs, and what it passes on."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from shared.domain.stats import Sample
    from shared.errors import AppError
    from shared.ssh.port import Credentials, Target


@dataclass(frozen=True, slots=True)
class Subject:
    """A server to probe, and what was known of it before."""

    server_id: uuid.UUID
    target: Target
    up: bool | None = None
    failures: int = 0
    previous: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """The servers of one job, the living first; `left_alone` are dead and not due yet."""

    subjects: tuple[Subject, ...]
    credentials: Credentials = field(repr=False)
    left_alone: int = 0


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe brought: a sample, or why there is none."""

    subject: Subject
    sample: Sample | None = None
    error: AppError | None = None


class Probe(Protocol):
    """Looks at servers."""

    async def probe(self, subject: Subject, credentials: Credentials) -> ProbeResult:
        """Return a sample, or the reason why there is none; never raises for what the server does."""
        ...
