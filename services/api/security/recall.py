"""Who somebody is by now that asked for something before: he may have it only as long as he may ask for it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from services.api.kernel.principal import Principal
from services.api.security.sessions import user_rights
from services.api.security.tokens import token_rights
from shared.db.tables.account import ApiToken, User
from shared.db.tables.base import db_now

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


async def recall(session: AsyncSession, key: str) -> Principal | None:
    """Return a principal by its `key`, with the rights that it has now; None if it may not come in any more."""
    kind, _, text = key.partition(":")
    identity = uuid.UUID(text)
    if kind == "user":
        user = await session.scalar(select(User).where(User.id == identity, User.state == "active"))
        if user is None:
            return None
        return Principal("user", user.id, user.name, await user_rights(session, user.id), user_id=user.id)
    valid = (
        ApiToken.id == identity,
        ApiToken.revoked_at.is_(None),
        or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > db_now()),
        or_(ApiToken.user_id.is_(None), User.state == "active"),
    )
    token = await session.scalar(select(ApiToken).outerjoin(User, User.id == ApiToken.user_id).where(*valid))
    if token is None:
        return None
    return Principal("token", token.id, token.name, await token_rights(session, token), user_id=token.user_id)
