"""Who sends a request: by a bearer token, or else by a session's cookie. A known one is remembered for seconds."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, TypeAlias

from fastapi import Request

from services.api.kernel.errors import Unauthenticated
from services.api.kernel.principal import Principal
from services.api.security.origin import PLAIN_COOKIE, SECURE_COOKIE, origin_of, require_own_page
from services.api.security.passwords import PasswordWorker
from services.api.security.sessions import find_session, note_session
from services.api.security.tokens import find_token, note_token
from shared.domain.messages.accounts import SESSION_OVER, TOKEN_OR_SESSION
from shared.domain.messages.requests import TOKEN_MISSING, TOKEN_UNKNOWN
from shared.errors import AppError
from shared.secrets.tokens import digest_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncSession
    from starlette.requests import HTTPConnection

    from services.api.security.origin import Origin
    from shared.config.settings import ApiSettings
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

    Find: TypeAlias = Callable[[AsyncSession], Awaitable[tuple[Principal, bool] | None]]

REMEMBERED_SECONDS = 5.0
"""For so long another gateway may go on letting in who was shut out."""
_MOST_REMEMBERED = 10_000
_NOTE_PATIENCE = 1.0
_LONGEST_SECRET = 512


class Accounts:
    """Knows who asks, and verifies passwords; one a process."""

    def __init__(self, database: Database, settings: ApiSettings) -> None:
        """Look people and tokens up here."""
        self.settings = settings
        self.passwords = PasswordWorker()
        self._database = database
        self._remembered: dict[str, tuple[Principal, float]] = {}

    async def __call__(self, connection: HTTPConnection) -> Principal:
        """Return who asks; Unauthenticated without a valid token or session. With a token a cookie does not count."""
        origin = self.origin(connection)
        if (authorization := connection.headers.get("authorization")) is not None:
            return await self._by_token(authorization, origin)
        value = self.cookie(connection)
        if not value:
            raise Unauthenticated(TOKEN_OR_SESSION())
        require_own_page(connection, self.settings.public_url, browser=True)
        known = await self._looked_up(
            digest_of("cookie", value), lambda session: find_session(session, value, self.settings), origin
        )
        if known is None:
            raise Unauthenticated(SESSION_OVER())
        return known

    def origin(self, connection: HTTPConnection) -> Origin:
        """Return from where a request comes."""
        return origin_of(connection, self.settings.public_url)

    def cookie(self, connection: HTTPConnection) -> str:
        """Return the session's value from the cookie that counts on this connection; empty without one."""
        name = SECURE_COOKIE if self.origin(connection).secure else PLAIN_COOKIE
        return connection.cookies.get(name, "")[:_LONGEST_SECRET]

    def forget(self) -> None:
        """Look everybody up anew, because rights were taken away or sessions ended."""
        self._remembered.clear()

    async def _by_token(self, authorization: str, origin: Origin) -> Principal:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(TOKEN_MISSING())
        known = None
        if len(token) <= _LONGEST_SECRET:
            key = digest_of("bearer", token)
            known = await self._looked_up(key, lambda session: find_token(session, token), origin)
        if known is None:
            raise Unauthenticated(TOKEN_UNKNOWN())
        return known

    async def _looked_up(self, key: str, find: Find, origin: Origin) -> Principal | None:
        principal, until = self._remembered.get(key, (None, 0.0))
        if principal is not None and until > time.monotonic():
            return principal
        async with self._database.for_requests().read() as session:
            found = await find(session)
        if found is None:
            self._remembered.pop(key, None)
            return None
        principal, to_note = found
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = principal, time.monotonic() + REMEMBERED_SECONDS
        if to_note:
            await self._note(principal, origin)
        return principal

    async def _note(self, principal: Principal, origin: Origin) -> None:
        """Note the use, if that can be done at once: a database that is busy keeps nobody from reading."""

        async def note(tx: UnitOfWork) -> None:
            if principal.session_id is not None:
                await note_session(tx.session, principal.session_id)
            else:
                await note_token(tx.session, principal.id, origin.address)

        with contextlib.suppress(AppError):
            await self._database.for_requests(_NOTE_PATIENCE).run(note, repeatable=True, retry_for=0)

    def base_url(self, request: Request) -> str:
        """Return the URL that people write to come here."""
        return self.settings.public_url or f"{request.url.scheme}://{request.url.netloc}"


def accounts(request: Request) -> Accounts:
    """Return who knows people and passwords."""
    found = request.app.state.authenticate
    if not isinstance(found, Accounts):
        message = "the application was built without accounts"
        raise TypeError(message)
    return found
