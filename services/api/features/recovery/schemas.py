"""The recovery kit."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from services.api.kernel.schemas import In, Out, Secret
from shared.domain.values import CleanText

_MOST_RECIPIENTS = 20


class KitIn(In):
    """For whom a kit is encrypted: either of the two."""

    # No key in the place of the passphrase: a kit for a key that was copied from here could be opened by nobody.
    model_config = ConfigDict(json_schema_extra={"examples": [{"passphrase": "a passphrase of your own"}]})

    recipients: list[Annotated[CleanText, Field(min_length=1, max_length=2000)]] = Field(
        default=[], max_length=_MOST_RECIPIENTS, description="Public keys of age, `age1...`; each opens it alone."
    )
    passphrase: Secret | None = Field(default=None, description="At least 12 characters.")


class KitState(Out):
    """How much of the fleet the kits cover, and when Borgfleet itself was last backed up."""

    exported_at: datetime | None = Field(description="When the last kit was made; null: never.")
    repositories: int = Field(description="That were used, so that a kit is needed for them.")
    covered: int = Field(description="That a kit has as they are now.")
    missing: list[uuid.UUID] = Field(description="Ids of those that no kit has as they are now, the first 1,000.")
    self_backup_at: datetime | None = Field(description="When Borgfleet itself was last backed up; null: never.")
