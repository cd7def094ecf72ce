"""Who a person is: counted, verified, and answered with a session."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from sqlalchemy import select

from services.api.audit.record import PATIENCE, actor_of, record
from services.api.kernel.errors import Unauthenticated
from services.api.security.guard import Accounts, accounts
from services.api.security.origin import require_own_page
from services.api.security.sessions import begin_session, end_session, principal_of_session, renew_session
from services.api.security.throttle import count_success, count_try, keys_of, take_back
from shared.db.tables.account import User
from shared.domain.messages.accounts import WRONG_CREDENTIALS
from shared.secrets.passwords import LONGEST

if TYPE_CHECKING:
    import uuid

    from fastapi import Response
    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.kernel.dependencies import Gateway
    from services.api.kernel.principal import Principal
    from shared.db.stores.audit import Actor
    from shared.db.unit_of_work import UnitOfWork

_DAY = 86400


Known = Annotated[Accounts, Depends(accounts)]


def require_browser(request: Request, known: Accounts) -> None:
    """Refuse to take a password that others could read on its way, or that another site's page sends."""
    _ = known.origin(request).cookie
    require_own_page(request, known.settings.public_url, browser=False)


async def proven(parts: Gateway, known: Accounts, request: Request, name: str, password: str) -> User:
    """Return the user of this name whose password this is; each try is counted before it is made.

    With a second factor that is half of what he has to prove: `second.py` asks for the rest. Whoever begins something
    for him asks `still_proven` in the same transaction.
    """
    keys = keys_of(name, known.origin(request))
    await parts.db.run(lambda tx: count_try(tx.session, keys))
    async with parts.db.read() as session:
        user = await session.scalar(select(User).where(User.name == name, User.state == "active"))
    kept = user.password_hash if user is not None else None
    right = await known.passwords.verify(kept, password[: LONGEST + 1])
    if user is None or not right:
        await record_failure(parts, request, user, WRONG_CREDENTIALS.code)
        raise Unauthenticated(WRONG_CREDENTIALS())
    settle = take_back if user.totp_enabled else count_success
    await parts.db.run(lambda tx: settle(tx.session, keys))
    return user


async def still_proven(session: AsyncSession, user: User) -> User | None:
    """Return a user as he is by now, locked until the commit; None if what was verified of him lets nobody in any more.

    A password takes long to verify: meanwhile it may have been changed, a second factor set up, the user disabled.
    """
    now = await locked(session, user)
    return now if now is not None and now.password_hash == user.password_hash else None


async def locked(session: AsyncSession, user: User) -> User | None:
    """Return a user as he is by now, locked until the commit; None if he may not log in any more.

    What ends his sessions locks him first: it is over, or it ends what is begun here too.
    """
    now = await session.get(User, user.id, with_for_update=True, populate_existing=True)
    return now if now is not None and now.state == "active" else None


async def record_failure(parts: Gateway, request: Request, user: User | None, code: str) -> None:
    """Record a login that failed. A name that nobody has is not kept: it may be a password in the wrong field."""
    if getattr(request.state, "principal", None) is not None:
        return  # the route records that it refused
    seen = actor_of(request)
    who = replace(seen, name=user.name if user else "", id=user.id if user else None)
    await parts.database.for_requests(PATIENCE).run(
        lambda tx: record(tx, request, request.state.action, actor=who, code=code)
    )


def actor_for(request: Request, user: User) -> Actor:
    """Return a user who logs in, as he is recorded."""
    return replace(actor_of(request), kind="user", name=user.name, id=user.id)


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that was begun or renewed: whose it is, and its cookie."""

    principal: Principal
    cookie: str
    value: str


async def begun(tx: UnitOfWork, known: Accounts, request: Request, user: User, methods: str) -> Begun:
    """Begin a session; the one that this browser had before ends."""
    origin = known.origin(request)
    await end_session(tx.session, known.cookie(request))
    session_id, value = await begin_session(tx.session, user.id, methods, origin, known.settings)
    principal = await principal_of_session(tx.session, user, session_id, known.settings)
    await record(tx, request, request.state.action, actor=actor_for(request, user))
    return Begun(principal, origin.cookie, value)


async def renewed(
    tx: UnitOfWork, known: Accounts, request: Request, asking: Principal, session_id: uuid.UUID, methods: str | None
) -> Begun:
    """Go on with a session under another value, because its user has proved again who he is (None: in part)."""
    value = await renew_session(tx.session, session_id, methods)
    await record(tx, request, request.state.action)
    return Begun(asking, known.origin(request).cookie, value)


def give_cookie(response: Response, known: Accounts, session: Begun) -> None:
    """Give the browser its session: no script can read it, and no other site's page sends it with a change."""
    secure = session.cookie.startswith("__Host-")
    response.set_cookie(
        session.cookie,
        session.value,
        max_age=int(known.settings.session_days * _DAY),
        path="/",
        httponly=True,
        secure=secure,
        samesite="lax",
    )


def take_cookie(response: Response, known: Accounts, request: Request) -> None:
    """Let the browser forget its session."""
    name = known.origin(request).cookie
    response.delete_cookie(name, path="/", httponly=True, secure=name.startswith("__Host-"), samesite="lax")
