"""Answers to requests that changed something, by the key of the request."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, update

from shared.db.tables.base import or_ignore
from shared.db.tables.request import IdempotencyKey
from shared.domain.messages.requests import IDEMPOTENCY_KEY_REUSED
from shared.errors import Invalid
from shared.secrets.envelope import Envelope

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.secrets.envelope import KeyRing


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it was given."""

    status: int
    body: str
    etag: str = ""
    location: str = ""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A request, by who asks and the key that it has, and what it asks for."""

    id: str
    fingerprint: str

    @classmethod
    def of(cls, principal: str, key: str, asked: bytes) -> RequestKey:
        """Return the key of a request; `asked` tells one request from another."""
        identity = hashlib.sha256(f"{principal}\0{key}".encode()).hexdigest()
        return cls(identity, hashlib.sha256(asked).hexdigest())


class Replies:
    """The remembered answers, as one transaction sees and leaves them."""

    def __init__(self, session: AsyncSession, key_ring: KeyRing) -> None:
        """Bind to a session and the master keys that seal the answers."""
        self._session = session
        self._ring = key_ring

    async def take(self, key: RequestKey) -> Reply | None:
        """Take a key as the first thing that a change does; if it was taken, return the answer that was given.

        Waits for another transaction that has taken it and is under way yet. Invalid if it was taken for something
        else.
        """
        row = insert(IdempotencyKey).values(id=key.id, fingerprint=key.fingerprint)
        connection = await self._session.connection()
        if (await connection.execute(or_ignore(row))).rowcount > 0:
            return None
        found = await self._session.get_one(IdempotencyKey, key.id, populate_existing=True)
        if found.fingerprint != key.fingerprint:
            raise Invalid(IDEMPOTENCY_KEY_REUSED())
        body = ""
        if found.sealed is not None and found.wrapped_key is not None:
            body = self._ring.open(Envelope(found.key_id, found.wrapped_key, found.sealed), bound_to=_place(key))
        return Reply(found.status or 200, body, found.etag, found.location)

    async def keep(self, key: RequestKey, reply: Reply) -> None:
        """Remember the answer as the last thing that a change does."""
        values: dict[str, object] = {"status": reply.status, "etag": reply.etag, "location": reply.location}
        if reply.body:
            box = self._ring.seal(reply.body, bound_to=_place(key))
            values |= {"key_id": box.key_id, "wrapped_key": box.wrapped_key, "sealed": box.sealed}
        await self._session.execute(
            update(IdempotencyKey).where(IdempotencyKey.id == key.id).values(values),
            execution_options={"synchronize_session": False},
        )


def _place(key: RequestKey) -> str:
    return f"idempotency_keys.sealed:{key.id}"
