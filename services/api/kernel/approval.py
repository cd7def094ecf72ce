"""What waits for a second person: as it is shown, and as the answer to the request that asked for it."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field

from services.api.kernel.schemas import Out, Told
from shared.domain.four_eyes import FRESH

if TYPE_CHECKING:
    from services.api.kernel.principal import Principal
    from shared.db.tables.approval import Approval
    from shared.domain.four_eyes import About, Command


class ApprovalOut(Out):
    """An action that somebody asked for and that another person has to agree to."""

    id: uuid.UUID
    kind: str = Field(description="What is to be done, as `delete_backup`.")
    fields: dict[str, Any] = Field(description="What else it takes; secrets are left out.")
    noun: str = Field(description="What it is about, as it stands in the path: `backups`.")
    target_id: str
    target_name: str
    target_version: int | None = Field(description="It is done to this version, or not at all.")
    server_id: uuid.UUID | None
    reason: str = Field(description="Why it was asked for, where the request said so.")
    requested_by: str
    requested_by_id: uuid.UUID | None = Field(description="The user, also of a token; he is not the second person.")
    requested_at: datetime
    state: str = Field(
        description="asked, approved: it is done at `run_at`, rejected, withdrawn, expired, done, stale: what it is "
        "about changed meanwhile, failed: `message` says why"
    )
    decided_by: str
    decided_at: datetime | None
    note: str = Field(description="What who decided said of it.")
    run_at: datetime = Field(description="Asked: when it expires. Approved: when it is done.")
    done_at: datetime | None
    code: str = Field(description="Why it was not done: one of GET /api/errors.")
    message: Told = Field(default=None, description="The same as an entry, with its parameters.")


class ApprovalAsked(ApprovalOut):
    """The answer to who asked for something guarded: nothing was done yet."""

    secret: str | None = Field(
        default=None, description="Of a token or a link that works once another person has agreed; shown this once."
    )


def shown(approval: Approval) -> dict[str, Any]:
    """Return what of an approval may be shown."""
    return vars(approval) | {"fields": {key: one for key, one in approval.fields.items() if key not in FRESH}}


class Waits(Exception):
    """A request asked for what another person has to agree to: all it did is taken back, and the command is kept."""

    def __init__(self, asking: Principal, command: Command, about: About, secret: str | None = None) -> None:
        """Take who asks for what, and a new secret that is shown to him alone."""
        super().__init__()
        self.asking, self.command, self.about, self.secret = asking, command, about, secret
