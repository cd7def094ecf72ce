"""`/api/tokens`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends
from sqlalchemy import or_, select

from services.api.features.tokens.guarded import add
from services.api.features.tokens.schemas import TokenChange, TokenIn, TokenMade, TokenOut
from services.api.kernel.dependencies import Asking, PageBounds, Parts
from services.api.kernel.guard import Allow, GuardedRoute, Open
from services.api.kernel.pages import by_text, require
from services.api.kernel.schemas import Page
from services.api.kernel.scope import require_permission
from services.api.security.guard import Accounts, accounts
from services.api.security.sessions import is_strong
from services.api.security.strong import STRONG, too_long_ago
from services.api.security.tokens import texts_of
from shared.db.tables.account import ApiToken, User
from shared.db.tables.base import db_now
from shared.db.tables.tag import Tag
from shared.domain.four_eyes import DIGEST, PREFIX, Command, Guarded
from shared.domain.permissions import Permission
from shared.secrets.tokens import new_api_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.kernel.principal import Principal
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["accounts"], route_class=GuardedRoute)
Known = Annotated[Accounts, Depends(accounts)]
ACCOUNT = Allow(Open.ACCOUNT)


@router.get("/api/tokens", dependencies=[ACCOUNT])
async def list_tokens(parts: Parts, bounds: PageBounds, asking: Asking) -> Page[TokenOut]:
    """List the tokens by name: one's own, or all with `tokens:read`; those that were revoked are left out."""
    query = select(ApiToken, User.name.label("user")).outerjoin(User, User.id == ApiToken.user_id)
    query = query.where(ApiToken.revoked_at.is_(None))
    if not asking.may(Permission.TOKENS_READ):
        mine = ApiToken.id == asking.id
        query = query.where(or_(mine, ApiToken.user_id == asking.user_id) if asking.user_id else mine)
    async with parts.db.read() as session:
        cut = await by_text(session, query, ApiToken.name, bounds)
        tags = await _names(session, [row[0] for row in cut.rows])
    return cut.page([_to_schema(token, user, tags) for token, user in cut.rows])


@router.post("/api/tokens", dependencies=[ACCOUNT, STRONG], status_code=201)
async def make_token(body: TokenIn, parts: Parts, asking: Asking) -> TokenMade:
    """Make a token; its secret is shown this once. For another user it needs `tokens:write`.

    A token is asked for no proof: so a session is, for whomever it makes one. With four eyes one for another user, who
    could ask for something guarded, waits for another person (202).
    """
    secret = new_api_token()
    fields = body.model_dump(mode="json") | {DIGEST: secret.digest, PREFIX: secret.prefix}
    command = Command(Guarded.MAKE_TOKEN, fields=fields)
    token, owner = await parts.db.run(lambda tx: add(tx, asking, command, secret=secret.text))
    async with parts.db.read() as session:
        token = await session.get_one(ApiToken, token.id)
        shown = _to_schema(token, owner, await _names(session, [token]))
    return TokenMade(**shown.model_dump(), secret=secret.text)


@router.patch("/api/tokens/{token_id}", dependencies=[ACCOUNT])
async def rename_token(token_id: uuid.UUID, body: TokenChange, parts: Parts, asking: Asking) -> TokenOut:
    """Give a token another name."""

    async def change(tx: UnitOfWork) -> None:
        token = await _to_change(tx, asking, token_id)
        token.name = body.name

    await parts.db.run(change)
    async with parts.db.read() as session:
        token = await session.get_one(ApiToken, token_id)
        user = await session.get(User, token.user_id) if token.user_id else None
        return _to_schema(token, user.name if user else None, await _names(session, [token]))


@router.delete("/api/tokens/{token_id}", dependencies=[ACCOUNT], status_code=204)
async def revoke_token(token_id: uuid.UUID, parts: Parts, known: Known, asking: Asking) -> None:
    """Revoke a token: nobody is let in with it any more."""

    async def revoke(tx: UnitOfWork) -> None:
        token = await _to_change(tx, asking, token_id)
        token.revoked_at = (await tx.session.execute(select(db_now()))).scalar_one()
        token.name = f"{token.name[:40]}~{token.id.hex[-12:]}"  # its name is free again

    await parts.db.run(revoke)
    known.forget()


async def _to_change(tx: UnitOfWork, asking: Principal, token_id: uuid.UUID) -> ApiToken:
    token = await tx.session.get(ApiToken, token_id, with_for_update=True)
    token = require(token if token and token.revoked_at is None else None, "token")
    own = token.id == asking.id or (asking.user_id is not None and token.user_id == asking.user_id)
    if not own:
        if not asking.may(Permission.TOKENS_READ):
            require(None, "token")
        require_permission(asking, Permission.TOKENS_WRITE)
        if asking.session_id and not await is_strong(tx.session, asking.session_id):
            raise await too_long_ago(tx.session, asking)
    return token


async def _names(session: AsyncSession, tokens: Sequence[ApiToken]) -> dict[str, str]:
    """Return the names of tags by the text of their ids."""
    wanted = {one for token in tokens for one in texts_of(token.tag_ids) or ()}
    if not wanted:
        return {}
    rows = (await session.execute(select(Tag.id, Tag.name))).all()
    return {str(identity): name for identity, name in rows if str(identity) in wanted}


def _to_schema(token: ApiToken, user: str | None, tags: dict[str, str]) -> TokenOut:
    shown = TokenOut.model_validate(token)
    kept = texts_of(token.tag_ids)
    names = None if kept is None else sorted(tags[one] for one in kept if one in tags)
    unreadable = shown.unreadable if token.tag_ids is None or kept == token.tag_ids else [*shown.unreadable, "tags"]
    return shown.model_copy(update={"user": user, "tags": names, "unreadable": unreadable})
