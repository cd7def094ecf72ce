"""`/api/auth`: one's own sessions and password."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from sqlalchemy import select

from services.api.features.auth.login import Begun, Known, give_cookie, proven, renewed, still_proven
from services.api.features.auth.me import read_me
from services.api.features.auth.schemas import MeOut, PasswordIn, SessionOut, StepUpIn
from services.api.features.auth.second import let_pass, require_one
from services.api.kernel.dependencies import Asking, Parts
from services.api.kernel.errors import Unauthenticated
from services.api.kernel.guard import Allow, GuardedRoute, Open
from services.api.kernel.pages import require
from services.api.security.strong import FACTORS, require_strong
from shared.db.stores.accounts import end_sessions, set_password
from shared.db.tables.account import LoginSession
from shared.domain.messages.accounts import FACTOR_NEEDED_TOO, NO_SESSION, WRONG_CREDENTIALS
from shared.errors import Conflict
from shared.secrets.passwords import check_password

if TYPE_CHECKING:
    from services.api.kernel.principal import Principal
    from shared.db.tables.account import User
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["accounts"], route_class=GuardedRoute)
ACCOUNT = Allow(Open.ACCOUNT, once=False)


@router.post("/api/auth/step-up", dependencies=[ACCOUNT])
async def step_up(
    body: StepUpIn, request: Request, response: Response, parts: Parts, known: Known, asking: Asking
) -> MeOut:
    """Prove who one is once more; for ten minutes accounts and secrets can be changed."""
    session_id = session_of(asking)
    user = await proven(parts, known, request, asking.name, body.password.get_secret_value())
    if not user.totp_enabled:

        async def renew(tx: UnitOfWork) -> Begun:
            if (await _same(tx, user)).totp_enabled:
                raise Unauthenticated(FACTOR_NEEDED_TOO(), methods=FACTORS)
            return await renewed(tx, known, request, asking, session_id, "password")

        return await _answer(parts, known, response, await parts.db.run(renew))
    if body.code is None and body.recovery_code is None:
        raise Unauthenticated(FACTOR_NEEDED_TOO(), methods=FACTORS)
    require_one(body)

    async def go_on(tx: UnitOfWork, method: str) -> Begun:
        await _same(tx, user)
        return await renewed(tx, known, request, asking, session_id, f"password,{method}")

    return await _answer(parts, known, response, await let_pass(parts, known, request, user, body, go_on))


@router.put("/api/auth/password", dependencies=[ACCOUNT])
async def change_password(
    body: PasswordIn, request: Request, response: Response, parts: Parts, known: Known, asking: Asking
) -> MeOut:
    """Change one's password; all other sessions end, and this one has another cookie."""
    session_id = session_of(asking)
    user = await proven(parts, known, request, asking.name, body.old.get_secret_value())
    if user.totp_enabled:  # the password alone must not be enough, nor count as a proof of both
        await require_strong(parts, asking)
    methods = None if user.totp_enabled else "password"
    kept = await known.passwords.hash(check_password(body.new.get_secret_value(), asking.name))

    async def change(tx: UnitOfWork) -> Begun:
        if (await _same(tx, user)).totp_enabled and methods is not None:
            raise Unauthenticated(FACTOR_NEEDED_TOO(), methods=FACTORS)
        await set_password(tx.session, asking.id, kept)
        await end_sessions(tx.session, asking.id, keep=session_id)
        return await renewed(tx, known, request, asking, session_id, methods)

    return await _answer(parts, known, response, await parts.db.run(change))


@router.get("/api/auth/sessions", dependencies=[ACCOUNT])
async def list_sessions(parts: Parts, asking: Asking) -> list[SessionOut]:
    """List the browsers in which one is logged in, the latest first."""
    query = select(LoginSession).where(LoginSession.user_id == asking.user_id).order_by(LoginSession.seen_at.desc())
    async with parts.db.read() as session:
        rows = await session.scalars(query)
        return [
            SessionOut.model_validate(row).model_copy(update={"current": row.id == asking.session_id}) for row in rows
        ]


@router.delete("/api/auth/sessions/{session_id}", dependencies=[ACCOUNT], status_code=204)
async def end_one(session_id: uuid.UUID, parts: Parts, known: Known, asking: Asking) -> None:
    """End one of one's sessions."""

    async def end(tx: UnitOfWork) -> None:
        row = await tx.session.get(LoginSession, session_id)
        await tx.session.delete(require(row if row and row.user_id == asking.user_id else None, "session"))

    await parts.db.run(end)
    known.forget()


async def _answer(parts: Parts, known: Known, response: Response, session: Begun) -> MeOut:
    known.forget()
    give_cookie(response, known, session)
    async with parts.db.read() as reading:
        return await read_me(reading, session.principal)


async def _same(tx: UnitOfWork, user: User) -> User:
    """Return who proved by a password who he is, locked; refused if it is not his any more."""
    now = await still_proven(tx.session, user)
    if now is None:
        raise Unauthenticated(WRONG_CREDENTIALS())
    return now


def session_of(asking: Principal) -> uuid.UUID:
    """Return the session of a person; Conflict for a token."""
    if asking.session_id is None:
        raise Conflict(NO_SESSION())
    return asking.session_id
