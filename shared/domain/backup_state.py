"""What a good backup is: the one definition, for retention, RPO, metrics, alerts and lists. Pure.

The same table stands as a SQL expression in `shared/db/queries/retention.py`; a test holds one against the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from shared.domain.job import JobState
from shared.domain.message import plain
from shared.domain.messages import read, stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from shared.domain.message import Said

MADE = (JobState.SUCCEEDED, JobState.WARNING)
"""The states of an archive that borg finished and listed; anything else is no backup, whoever accepts it."""


class Weight(StrEnum):
    """What a reason does to an archive."""

    NOTE = "note"
    """Worth telling; the archive is good."""
    DOUBT = "doubt"
    """The archive is not good until a person accepts it."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a run is not simply fine: a message, and its weight."""

    said: Said
    weight: Weight

    @property
    def code(self) -> str:
        """The stable code, for programs."""
        return self.said.code

    @property
    def text(self) -> str:
        """What happened, why, and what to do, in English; of an older version's row the sentence that it holds."""
        return self.said.sentences if stored(self.said) else self.said.text

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored with the archive; the text is for versions that do not know the entry."""
        return {"code": self.code, "weight": self.weight.value, "text": self.text, "message": stored(self.said)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read what was stored, by any version; a weight that is not known is a doubt."""
        weight = Weight.NOTE if row.get("weight") == Weight.NOTE else Weight.DOUBT
        words = plain(str(row.get("text", "")), code=str(row.get("code", "unknown")))
        return cls(read(row.get("message")) or words, weight)


def note(said: Said) -> Reason:
    """Return a reason that leaves the archive good."""
    return Reason(said, Weight.NOTE)


def doubt(said: Said) -> Reason:
    """Return a reason that makes the archive doubtful."""
    return Reason(said, Weight.DOUBT)


def is_trusted(reasons: Iterable[Reason]) -> bool:
    """Tell whether the gate found nothing but notes."""
    return all(reason.weight is Weight.NOTE for reason in reasons)


def is_good(*, state: str, trusted: bool, accepted: bool, damage: str, deleting: bool, missing: bool) -> bool:
    """Tell whether an archive can be relied on.

    It was made, the gate found no doubt or a person accepted the doubts, and it is still there to be read: not damaged,
    not about to be deleted, not missing from its repository. Accepting helps against doubts alone.
    """
    return state in MADE and (trusted or accepted) and not damage and not deleting and not missing


def is_doubtful(*, state: str, trusted: bool, accepted: bool, damage: str, deleting: bool, missing: bool) -> bool:
    """Tell whether a person's word would make an archive good."""
    with_a_word = is_good(
        state=state, trusted=trusted, accepted=True, damage=damage, deleting=deleting, missing=missing
    )
    return with_a_word and not trusted and not accepted


def is_held(*, reason: str | None, until: datetime | None, now: datetime) -> bool:
    """Tell whether an archive is pinned; `now` is the database's, as for leases."""
    return reason is not None and (until is None or until > now)
