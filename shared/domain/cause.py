"""A cause of failure: its stable code, what it means, whether trying again can help, what to do."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import Permanent, Transient


@dataclass(frozen=True, slots=True)
class Cause:
    """One row of a table of causes; the tables are shown in docs/operations/errors.md."""

    code: str
    says: str
    """What happened, the beginning of a sentence that what was seen completes."""
    remedy: str
    passing: bool = False
    """It may be gone in a while, without a person: the job tries again."""

    def error(self, seen: str, *, where: str = "") -> Permanent | Transient:
        """Return the error that tells what was seen, and where."""
        kind = Transient if self.passing else Permanent
        says = f"{where}: {self.says}" if where else self.says
        return kind(f"{says}: {seen}" if seen else says, code=self.code, remedy=self.remedy)
