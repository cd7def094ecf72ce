"""`/api/auth`: the first administrator, logging in and out, who one is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from services.api.features.auth.login import (
    Begun,
    Known,
    begun,
    give_cookie,
    locked,
    proven,
    record_failure,
    require_browser,
    still_proven,
    take_cookie,
)
from services.api.features.auth.me import read_me
from services.api.features.auth.schemas import AcceptIn, LoginIn, MeOut, MethodsOut, SecondFactorIn, SetupIn
from services.api.features.auth.second import half_done, let_counted_pass, require_one
from services.api.kernel.dependencies import Asking, Parts
from services.api.kernel.errors import Unauthenticated
from services.api.kernel.guard import Allow, GuardedRoute, Open
from services.api.security.sessions import end_session
from services.api.security.throttle import count_try, keys_of
from shared.db.stores.accounts import end_sessions, find_link, has_admin, set_password, use_link
from shared.db.stores.factors import end_flow, try_flow
from shared.db.tables.account import Grant, User
from shared.domain.messages.accounts import ALREADY_SET_UP, FACTOR_NEEDED, FLOW_OVER, LINK_CLOSED, WRONG_CREDENTIALS
from shared.domain.permissions import Role
from shared.errors import Conflict, Gone
from shared.secrets.passwords import check_password

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.kernel.dependencies import Gateway
    from services.api.security.guard import Accounts
    from shared.db.tables.account import OneTimeLink
    from shared.db.unit_of_work import UnitOfWork

LARGEST_LOGIN = 16 * 1024
"""Bytes that are read of somebody whom nobody knows."""
PUBLIC = Allow(Open.PUBLIC, largest=LARGEST_LOGIN)
router = APIRouter(tags=["accounts"], route_class=GuardedRoute)


@router.get("/api/auth/methods", dependencies=[PUBLIC])
async def methods(request: Request, parts: Parts, known: Known) -> MethodsOut:
    """Return what the login page offers."""
    origin = known.origin(request)
    async with parts.db.read() as session:
        return MethodsOut(
            setup=not await has_admin(session), encrypted=origin.secure or origin.own_host, methods=["password"]
        )


@router.post("/api/auth/setup", dependencies=[PUBLIC])
async def set_up(body: SetupIn, request: Request, response: Response, parts: Parts, known: Known) -> MeOut:
    """Make the first administrator, and log him in; works once, with the link that was printed at the first start."""
    require_browser(request, known)
    link = body.link.get_secret_value()

    async with parts.db.read() as session:
        await _require_no_admin(session)
        await find_link(session, link, "setup")
    kept = await known.passwords.hash(check_password(body.password.get_secret_value(), body.name))

    async def make(tx: UnitOfWork) -> Begun:
        await use_link(tx.session, link, "setup")
        await _require_no_admin(tx.session)
        user = User(name=body.name, display_name=body.display_name)
        tx.session.add(user)
        await tx.session.flush()
        tx.session.add(Grant(user_id=user.id, role=Role.ADMIN.value, granted_by="set-up link"))
        await tx.session.flush()
        await set_password(tx.session, user.id, kept)
        return await begun(tx, known, request, user, "link")

    return await _welcome(parts, known, response, await parts.db.run(make))


@router.post("/api/auth/login", dependencies=[PUBLIC])
async def log_in(body: LoginIn, request: Request, response: Response, parts: Parts, known: Known) -> MeOut:
    """Log in with name and password; the answer's cookie is the session. Failures are counted, and slow the next.

    An account with a second factor gets 401 `second_factor_needed` with `flow` instead.
    """
    require_browser(request, known)
    user = await proven(parts, known, request, body.name, body.password.get_secret_value())

    async def enter(tx: UnitOfWork) -> Begun | Unauthenticated | None:
        now = await still_proven(tx.session, user)
        if now is None:
            return None
        if now.totp_enabled:
            return await half_done(tx, request, now, "password", FACTOR_NEEDED.code)
        return await begun(tx, known, request, now, "password")

    session = await parts.db.run(enter)
    if session is None:
        await record_failure(parts, request, user, WRONG_CREDENTIALS.code)
        raise Unauthenticated(WRONG_CREDENTIALS())
    return await _welcome(parts, known, response, session)


@router.post("/api/auth/second-factor", dependencies=[PUBLIC])
async def second_factor(
    body: SecondFactorIn, request: Request, response: Response, parts: Parts, known: Known
) -> MeOut:
    """Finish a login with the code of one's app or a recovery code, each of which works once."""
    require_browser(request, known)
    require_one(body)
    flow = body.flow.get_secret_value()

    async def opened(tx: UnitOfWork) -> tuple[User, str] | None:
        found = await try_flow(tx.session, flow)
        if found is not None:
            await count_try(tx.session, keys_of(found[0].name, known.origin(request)))
        return found

    found = await parts.db.run(opened)
    if found is None:
        await record_failure(parts, request, None, FLOW_OVER.code)
        raise Unauthenticated(FLOW_OVER())
    user, methods = found

    async def enter(tx: UnitOfWork, method: str) -> Begun:
        now = await locked(tx.session, user)
        if now is None or not await end_flow(tx.session, flow):
            raise Unauthenticated(FLOW_OVER())
        return await begun(tx, known, request, now, f"{methods},{method}")

    return await _welcome(parts, known, response, await let_counted_pass(parts, known, request, user, body, enter))


@router.post("/api/auth/accept", dependencies=[PUBLIC])
async def accept(body: AcceptIn, request: Request, response: Response, parts: Parts, known: Known) -> MeOut:
    """Choose a password with the link of an invitation or of a reset, and log in; all other sessions end."""
    require_browser(request, known)
    link = body.link.get_secret_value()
    async with parts.db.read() as session:
        user = await _user_of(session, await find_link(session, link, "invite", "reset"))
    kept = await known.passwords.hash(check_password(body.password.get_secret_value(), user.name))

    async def change(tx: UnitOfWork) -> Begun | Unauthenticated:
        now = await _user_of(tx.session, await use_link(tx.session, link, "invite", "reset"), lock=True)
        await set_password(tx.session, now.id, kept)
        await end_sessions(tx.session, now.id)
        if now.totp_enabled:
            return await half_done(tx, request, now, "link")
        return await begun(tx, known, request, now, "link")

    return await _welcome(parts, known, response, await parts.db.run(change))


@router.post("/api/auth/logout", dependencies=[Allow(Open.ACCOUNT, once=False)], status_code=204)
async def log_out(request: Request, response: Response, parts: Parts, known: Known, asking: Asking) -> None:
    """End this session; a token is not ended by it."""
    if asking.session_id is None:
        return
    await parts.db.run(lambda tx: end_session(tx.session, known.cookie(request)))
    known.forget()
    take_cookie(response, known, request)


@router.get("/api/auth/me", dependencies=[Allow(Open.ACCOUNT)])
async def me(parts: Parts, asking: Asking) -> MeOut:
    """Return who asks, and what he may."""
    async with parts.db.read() as session:
        return await read_me(session, asking)


async def _welcome(parts: Gateway, known: Accounts, response: Response, session: Begun | Unauthenticated) -> MeOut:
    known.forget()
    if isinstance(session, Unauthenticated):
        raise session
    give_cookie(response, known, session)
    async with parts.db.read() as reading:
        return await read_me(reading, session.principal)


async def _require_no_admin(session: AsyncSession) -> None:
    if await has_admin(session):
        raise Conflict(ALREADY_SET_UP())


async def _user_of(session: AsyncSession, link: OneTimeLink, *, lock: bool = False) -> User:
    user = await session.get(User, link.user_id, with_for_update=lock, populate_existing=lock)
    if user is None or user.state == "disabled":
        raise Gone(LINK_CLOSED())
    return user
