"""What is read of a repository that plain borg made: from what import_reader.py prints to values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from shared.borg.scripts import script_answer
from shared.domain.archive import ArchiveFigures
from shared.domain.messages.importing import READER_MUTE
from shared.domain.text import clean
from shared.domain.values import INT63
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Collection

    from shared.borg.node import BorgNode, Grant

_SECONDS = 120
"""For so long files are counted of archives that do not say how many they hold, as those of borg 1.1."""
_LONGEST_NAME, _SAID = 700, 200
_FIRST_YEAR, _LAST_YEAR = 1970, 9998
_UNKNOWN = datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC)


def _moment(text: Any) -> datetime:
    """Return a time as borg 1 writes it, in UTC and without a zone; what is none is as old as can be."""
    try:
        found = datetime.fromisoformat(text)
        aware = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return _UNKNOWN
    return aware if _FIRST_YEAR <= aware.year <= _LAST_YEAR else _UNKNOWN


_Moment = Annotated[datetime, BeforeValidator(_moment)]
_Count = Annotated[int | None, Field(ge=0, le=INT63)]


class _Archive(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: Annotated[str, BeforeValidator(lambda name: clean(str(name), _LONGEST_NAME))]
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    start: _Moment
    end: _Moment
    files: _Count = None
    size: _Count = None
    csize: _Count = None
    there: bool
    signed: bool | None


class _Found(BaseModel):
    encryption: str
    hidden: bool
    signed: bool
    upgrade: bool = False
    archives: list[_Archive] = Field(default_factory=list["_Archive"])
    odd: int = 0


@dataclass(frozen=True, slots=True)
class FoundArchive:
    """An archive that plain borg made."""

    figures: ArchiveFigures
    """Zeros where the archive does not say, and counting took too long."""
    signed: bool | None
    """Whether it carries the proof that who had the key wrote it; None: the proof is wrong."""


@dataclass(frozen=True, slots=True)
class FoundRepository:
    """A repository that plain borg made, as of one look."""

    encryption: str
    hidden: bool
    """Who has no key can read nothing."""
    signed: bool
    """Its list of archives carries the proof that who had the key wrote it."""
    archives: tuple[FoundArchive, ...]
    upgrade: bool = False
    """Its list lacks that proof though its key asks for it: nothing in it is believed."""
    lost: int = 0
    """Archives that the list names, and of which the repository holds nothing."""


async def read_repository(
    node: BorgNode, grant: Grant, known: Collection[str], *, passphrase: str, seconds: float = _SECONDS
) -> FoundRepository:
    """Read a repository, of a view; of `known` archives no figures are looked for."""
    plan = {"known": sorted(known), "seconds": seconds}
    answer, lines = await script_answer(node, "import_reader.py", grant, plan, passphrase=passphrase)
    try:
        found = _Found.model_validate(json.loads(answer))  # a name that is no UTF-8 is none for pydantic's own JSON
    except ValueError as error:
        said = " ".join(line.message for line in lines) or answer.strip()
        raise Permanent(READER_MUTE(said=said[-_SAID:] or "no answer")) from error
    there = tuple(_of(one) for one in found.archives if one.there)
    lost = found.odd + len(found.archives) - len(there)
    return FoundRepository(found.encryption, found.hidden, found.signed, there, found.upgrade, lost)


def _of(one: _Archive) -> FoundArchive:
    figures = ArchiveFigures(
        name=one.name,
        borg_id=one.id,
        started_at=one.start,
        ended_at=max(one.start, one.end),
        duration=max(0.0, (one.end - one.start).total_seconds()),
        files=one.files or 0,
        original_size=one.size or 0,
        compressed_size=one.csize or 0,
        deduplicated_size=0,
    )
    return FoundArchive(figures, one.signed)
