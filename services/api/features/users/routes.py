"""`/api/users`."""

from __future__ import annotations

import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import select

from services.api.features.users import guarded
from services.api.features.users.changes import user_to_change
from services.api.features.users.guarded import with_link
from services.api.features.users.schemas import (
    GrantOut,
    GrantsIn,
    LinkOut,
    UserChange,
    UserIn,
    UserMade,
    UserOut,
)
from services.api.kernel.dependencies import Asking, PageBounds, Parts
from services.api.kernel.etag import IfMatch, tagged
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.pages import by_text, require
from services.api.kernel.schemas import Page
from services.api.security.guard import Accounts, accounts
from services.api.security.strong import STRONG
from shared.db.stores.accounts import end_sessions
from shared.db.tables.account import Grant, OneTimeLink, User
from shared.db.tables.tag import Tag
from shared.domain.four_eyes import Command, Guarded
from shared.domain.permissions import Permission
from shared.secrets.tokens import digest_of, new_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["accounts"], route_class=GuardedRoute)
Known = Annotated[Accounts, Depends(accounts)]
READ, WRITE = Allow(Permission.USERS_READ), Allow(Permission.USERS_WRITE)


@router.get("/api/users", dependencies=[READ])
async def list_users(parts: Parts, bounds: PageBounds) -> Page[UserOut]:
    """List the users by name, with their roles."""
    async with parts.db.read() as session:
        cut = await by_text(session, select(User), User.name, bounds)
        users: list[User] = [row[0] for row in cut.rows]
        grants = await _grants(session, [user.id for user in users])
    return cut.page([_to_schema(user, grants[user.id]) for user in users])


@router.post("/api/users", dependencies=[WRITE, STRONG], status_code=201)
async def make_user(body: UserIn, request: Request, parts: Parts, known: Known, asking: Asking) -> UserMade:
    """Make a user. A person gets a link, shown this once, to choose a password with; a service has tokens alone.

    With four eyes it waits for another person (202) if his roles could ask for something guarded.
    """
    secret = new_secret()
    command = with_link(Command(Guarded.ADD_USER, fields=body.model_dump(mode="json")), secret)
    url = f"{known.base_url(request)}/accept#{secret}"
    user = await parts.db.run(lambda tx: guarded.add(tx, asking, command, secret=url))
    invitation = await _link(parts, known, request, secret) if body.kind == "person" else None
    return UserMade(user=await _read(parts, user.id), invitation=invitation)


@router.get("/api/users/{user_id}", dependencies=[READ])
async def get_user(user_id: uuid.UUID, parts: Parts, response: Response) -> UserOut:
    """Return one user."""
    return tagged(response, await _read(parts, user_id))


@router.patch("/api/users/{user_id}", dependencies=[WRITE, STRONG])
async def patch_user(
    user_id: uuid.UUID,
    body: UserChange,
    parts: Parts,
    known: Known,
    asking: Asking,
    if_match: IfMatch,
    response: Response,
) -> UserOut:
    """Change a user; who is disabled is logged out at once."""
    command = Command(Guarded.CHANGE_USER, str(user_id), body.model_dump(mode="json", exclude_unset=True))
    await parts.db.run(lambda tx: guarded.change(tx, asking, command, if_match))
    known.forget()
    return tagged(response, await _read(parts, user_id))


@router.delete("/api/users/{user_id}", dependencies=[WRITE, STRONG], status_code=204)
async def delete_user(user_id: uuid.UUID, parts: Parts, known: Known, asking: Asking, if_match: IfMatch) -> None:
    """Forget a user with all sessions, tokens and roles; the last administrator stays."""
    command = Command(Guarded.DELETE_USER, str(user_id))
    await parts.db.run(lambda tx: guarded.remove(tx, asking, command, if_match))
    known.forget()


@router.get("/api/users/{user_id}/grants", dependencies=[READ])
async def get_grants(user_id: uuid.UUID, parts: Parts, response: Response) -> list[GrantOut]:
    """Return a user's roles."""
    return tagged(response, await _read(parts, user_id)).grants


@router.put("/api/users/{user_id}/grants", dependencies=[Allow(Permission.GRANTS_WRITE), STRONG])
async def put_grants(
    user_id: uuid.UUID,
    body: GrantsIn,
    parts: Parts,
    known: Known,
    asking: Asking,
    if_match: IfMatch,
    response: Response,
) -> list[GrantOut]:
    """Give a user these roles instead of those there are; they hold at once."""
    command = Command(Guarded.CHANGE_GRANTS, str(user_id), body.model_dump(mode="json"))
    await parts.db.run(lambda tx: guarded.grant(tx, asking, command, if_match))
    known.forget()
    return tagged(response, await _read(parts, user_id)).grants


@router.post("/api/users/{user_id}/invite", dependencies=[WRITE, STRONG], status_code=201)
async def invite(user_id: uuid.UUID, request: Request, parts: Parts, known: Known, asking: Asking) -> LinkOut:
    """Return a link, shown this once, with which a person chooses a password; earlier ones work no longer."""
    secret = new_secret()
    command = with_link(Command(Guarded.LINK_USER, str(user_id)), secret)
    url = f"{known.base_url(request)}/accept#{secret}"
    await parts.db.run(lambda tx: guarded.link(tx, asking, command, secret=url))
    return await _link(parts, known, request, secret)


@router.post("/api/users/{user_id}/end-sessions", dependencies=[WRITE, STRONG], status_code=204)
async def end_all_sessions(user_id: uuid.UUID, parts: Parts, known: Known, asking: Asking) -> None:
    """Log a user out everywhere; tokens go on."""

    async def end(tx: UnitOfWork) -> None:
        await user_to_change(tx, asking, user_id)
        await end_sessions(tx.session, user_id)

    await parts.db.run(end)
    known.forget()


@router.post("/api/users/{user_id}/reset-factors", dependencies=[WRITE, STRONG], status_code=204)
async def take_factors(user_id: uuid.UUID, parts: Parts, known: Known, asking: Asking) -> None:
    """Take another user's second factors away, as after a lost phone; all sessions end."""
    command = Command(Guarded.RESET_FACTORS, str(user_id))
    await parts.db.run(lambda tx: guarded.take_factors(tx, asking, command))
    known.forget()


async def _link(parts: Parts, known: Accounts, request: Request, secret: str) -> LinkOut:
    async with parts.db.read() as session:
        link = await session.get_one(OneTimeLink, digest_of("link", secret))
    return LinkOut(link=f"{known.base_url(request)}/accept#{secret}", expires_at=link.expires_at)


async def _read(parts: Parts, user_id: uuid.UUID) -> UserOut:
    async with parts.db.read() as session:
        user = require(await session.get(User, user_id), "user")
        return _to_schema(user, (await _grants(session, [user_id]))[user_id])


async def _grants(session: AsyncSession, ids: Sequence[uuid.UUID]) -> defaultdict[uuid.UUID, list[GrantOut]]:
    query = select(Grant.user_id, Grant.role, Tag.name).outerjoin(Tag, Tag.id == Grant.tag_id)
    rows = sorted(await session.execute(query.where(Grant.user_id.in_(ids))), key=lambda row: (row[2] or "", row[1]))
    by_user: defaultdict[uuid.UUID, list[GrantOut]] = defaultdict(list)
    for user_id, role, tag in rows:
        by_user[user_id].append(GrantOut(role=role, tag=tag))
    return by_user


def _to_schema(user: User, grants: list[GrantOut]) -> UserOut:
    return UserOut.model_validate(user).model_copy(update={"grants": grants, "second_factor": user.totp_enabled})
