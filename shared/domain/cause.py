"""A cause of failure: its stable code, what it means, whether trying again can help, what to do."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.message import Message, escaped
from shared.errors import Permanent, Transient


@dataclass(frozen=True, slots=True)
class Cause:
    """One row of a table of causes; the tables are shown in docs/errors.md."""

    code: str
    says: str
    """What happened, the beginning of a sentence that what was seen completes."""
    remedy: str
    passing: bool = False
    """It may be gone in a while, without a person: the job tries again."""
    variant: str = ""
    """Tells apart causes of one code."""

    @property
    def message(self) -> Message:
        """The entry of the catalogue: where it happened, what it means, and what was seen of it."""
        says, remedy = escaped(self.says), escaped(self.remedy)
        return Message(
            self.code, 503 if self.passing else 400, f"[{{where}}: ]{says}[: {{seen}}]", remedy, self.variant
        )

    def error(self, seen: str, *, where: str = "") -> Permanent | Transient:
        """Return the error that tells what was seen, and where."""
        kind = Transient if self.passing else Permanent
        return kind(self.message(where=where, seen=seen))
