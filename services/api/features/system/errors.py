"""`/api/errors`: the catalogue of what Borgfleet says, for programs and for other languages."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from services.api.kernel.guard import Allow, GuardedRoute, Open
from shared.domain.message import Message
from shared.domain.messages import CATALOGUE
from shared.domain.messages.requests import NOT_FOUND_NOUN
from shared.errors import NotFound

router = APIRouter(tags=["borgfleet itself"], route_class=GuardedRoute)


Code = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_.]{0,119}$", examples=["server_unreachable"])]
"""A code, or a key."""


class EntryOut(BaseModel):
    """One entry: `{name}` is a parameter; what stands in `[...]` is left out when its parameters have no value."""

    code: str = Field(description="Stable. Empty where the entry tells of another one, its cause, which has it.")
    key: str = Field(description="The name of this very sentence: a code may have several.")
    status: int = Field(description="HTTP's status, where it is the answer to a request.")
    text: str
    remedy: str
    params: list[str]

    @classmethod
    def of(cls, entry: Message) -> EntryOut:
        """Return an entry as it is shown."""
        return cls(
            code=entry.code,
            key=entry.key,
            status=entry.status,
            text=entry.text,
            remedy=entry.remedy,
            params=list(entry.params),
        )


@router.get("/api/errors", dependencies=[Allow(Open.PUBLIC)])
async def list_errors() -> list[EntryOut]:
    """List every sentence that Borgfleet says to people: refusals, reasons, warnings."""
    return [EntryOut.of(entry) for entry in CATALOGUE.values()]


@router.get("/api/errors/{code}", dependencies=[Allow(Open.PUBLIC)])
async def get_error(code: Code) -> list[EntryOut]:
    """Tell what a code, or the key of one sentence, means: all sentences that it has."""
    found = [EntryOut.of(entry) for entry in CATALOGUE.values() if code in (entry.code, entry.key)]
    if not found:
        raise NotFound(NOT_FOUND_NOUN(noun="code"))
    return found
