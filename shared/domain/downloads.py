"""Bytes out of archives, as the gateway asks a backup node for them: chunk by chunk, each asked for by its number."""

from __future__ import annotations

import base64
import uuid
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from shared.domain.files import Base64

OPEN, LOOK, CHUNK = "open", "look", "chunk"
FILE, TAR, TAR_ZST, ZIP, PREVIEW = "file", "tar", "tar.zst", "zip", "preview"
Format: TypeAlias = Literal["file", "tar", "tar.zst", "zip", "preview"]
OF_ONE_FILE = (FILE, PREVIEW)
CHUNK_BYTES = 256 * 1024
WINDOW = 16
"""So many chunks are asked for ahead: what a slow reader holds in memory, here and on the node."""
MOST_TRANSFERS = 4
"""Of a node at once: each is a borg at work."""
PATIENCE = 30.0
"""Seconds without a chunk being asked for, after which a transfer is given up."""
LATER_SECONDS = 10.0
"""A chunk that takes longer is answered by `LATER`, and asked for again: so each side knows that the other is there."""
OPEN_SECONDS = 10.0
LOOK_SECONDS = 10.0
TICKET_SECONDS = 60.0
MOST_ITEMS = 1000
DATA, END, LATER = b"\0", b"\1", b"\2"
"""The first byte of an answer: what follows is a chunk, an `Ended`, or nothing."""


def subject(verb: str, node: str) -> str:
    """Return where a backup node is asked to open a transfer, or what one would be."""
    return f"ask.transfer.{verb}.{node}"


def chunk_subject(node: str, transfer: str) -> str:
    """Return where the chunks of one transfer are asked for."""
    return f"ask.transfer.{CHUNK}.{node}.{transfer}"


ASKED = (subject(OPEN, "*"), subject(LOOK, "*"), chunk_subject("*", "*"))
"""All subjects of transfers, as rights name them."""


class TransferAsked(BaseModel):
    """What is to be handed on of an archive; without items all of it."""

    model_config = ConfigDict(frozen=True)

    archive_id: uuid.UUID
    """Of the record."""
    items: list[Base64] = Field(default=[], max_length=MOST_ITEMS)
    format: Format = "tar"

    def chosen(self, name: str, borg_id: str, *, by_id: bool = False) -> dict[str, object]:
        """Return the plan of `export_archive.py` for an archive of that name and id; `by_id`: whatever its name is."""
        paths = [item.strip(b"/") for item in self.items]
        parents = {b"/".join(path.split(b"/")[:n]) for path in paths for n in range(1, path.count(b"/") + 1)}
        return {
            "name": name, "id": borg_id, "by_id": by_id, "items": [base64.b64encode(path).decode() for path in paths],
            "parents": [base64.b64encode(path).decode() for path in sorted(parents)],
            "full": self.format in (TAR, TAR_ZST), "count": False,
            "format": FILE if self.format == PREVIEW else self.format,
        }  # fmt: skip


class Opened(BaseModel):
    """A transfer that waits for its chunks to be asked for."""

    model_config = ConfigDict(frozen=True)

    transfer: str


class ChunkAsked(BaseModel):
    """The number of a chunk, from 0; None: the transfer is over, or nobody wants it any more."""

    model_config = ConfigDict(frozen=True)

    number: Annotated[int, Field(ge=0)] | None = None


class Ended(BaseModel):
    """A transfer that came to its end in order: all bytes that were sent, and their SHA-256 in hex."""

    model_config = ConfigDict(frozen=True)

    size: int
    sha256: str


class LookAnswer(BaseModel):
    """How much a transfer would be; None where no catalogue knows it."""

    model_config = ConfigDict(frozen=True)

    size: int | None = None
