"""Schemas of downloads out of backups."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field, model_validator

from services.api.kernel.items import ItemIn
from services.api.kernel.schemas import In
from shared.domain.downloads import MOST_ITEMS, OF_ONE_FILE, Format, TransferAsked
from shared.domain.restoring import Item


class DownloadIn(In):
    """What is downloaded, and in which form."""

    items: list[ItemIn] = Field(
        default=[], max_length=MOST_ITEMS, description="Files, and directories with all below. None: all of the backup."
    )
    format: Format = Field(
        default="tar.zst",
        description="file: one file as it is. tar, tar.zst: with all metadata. zip: for any machine; it says what "
        "it cannot hold. preview: one file to be shown, text up to 256 KiB or an image up to 10 MiB.",
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.format in OF_ONE_FILE and len(self.items) != 1:
            message = f"format `{self.format}` is for exactly one file: give one item"
            raise ValueError(message)
        _Items.model_validate({"items": [one.encoded() for one in self.items]})
        return self

    def paths(self) -> list[bytes]:
        """Return the bytes of what was chosen."""
        return [base64.b64decode(one) for one in _Items(items=[one.encoded() for one in self.items]).items]


class _Items(BaseModel):
    items: list[Item]


class DownloadOut(BaseModel):
    """A link that works once."""

    url: str = Field(description="Below this server; it needs no header, and is over as soon as it was used.")
    expires_at: datetime
    name: str = Field(description="Of the file, as a browser stores it.")
    estimated_bytes: int | None = Field(
        description="Of the files that were chosen; null where no catalogue knows it, or it takes too long to add up."
    )


def kept(body: DownloadIn) -> list[dict[str, Any]]:
    """Return what was chosen as it is recorded."""
    return [one.model_dump(exclude_none=True) for one in body.items]


def asked_again(archive_id: Any, items: list[Any], form: str) -> TransferAsked:
    """Return what a ticket stands for."""
    chosen = DownloadIn.model_validate({"items": items, "format": form})
    return TransferAsked.model_validate({"archive_id": archive_id, "items": chosen.paths(), "format": form})
