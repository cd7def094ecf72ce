"""The audit log."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from services.api.kernel.schemas import Out


class AuditOut(Out):
    """One thing that was done, or refused."""

    id: uuid.UUID
    at: datetime
    actor_kind: str = Field(description="user, token, console, or outside: nobody who is known.")
    actor_id: uuid.UUID | None = Field(description="The user.")
    actor_name: str
    token_id: uuid.UUID | None
    address: str
    request_id: str
    action: str = Field(description="The operation, as `delete_backup`.")
    noun: str = Field(description="What it was about, as it stands in the path: `backups`.")
    target_id: str
    target_name: str
    server_id: uuid.UUID | None
    before: dict[str, Any] | None = Field(description="By row, the fields that were changed; a secret is `changed`.")
    after: dict[str, Any] | None
    outcome: str = Field(description="done, refused, or asked: another person has to agree")
    code: str = Field(description="Why it was refused: one of GET /api/errors.")
    seal: int | None = Field(description="The seal that it is under; null for about a second.")


class BrokenOut(Out):
    """What is wrong with the log."""

    what: Literal["row_changed", "rows_differ", "seal_changed", "seal_missing", "key_missing"] = Field(
        description="row_changed: a row is not as it was written. rows_differ: rows were added or taken away. "
        "seal_changed: a seal is not as it was written. seal_missing: a seal was taken away or put elsewhere. "
        "key_missing: the master key that it was written with is not here."
    )
    seal: int | None
    entry: uuid.UUID | None


class VerifiedOut(Out):
    """How far the log was verified, and the first thing that is wrong."""

    seals: int
    rows: int
    next: int | None = Field(description="Ask again with `after` of this for what follows; null: that was all.")
    broken: BrokenOut | None
