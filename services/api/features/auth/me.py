"""Who asks, as he is told it himself."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from services.api.features.auth.schemas import MeOut, RoleOut
from services.api.security.sessions import STRONG_SECONDS
from shared.db.stores.factors import recovery_codes_left
from shared.db.tables.account import Grant, LoginSession, User
from shared.db.tables.tag import Tag

if TYPE_CHECKING:
    import uuid

    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.kernel.principal import Principal


async def read_me(session: AsyncSession, asking: Principal) -> MeOut:
    """Return who this is, with his roles and what they give him."""
    user = await session.get(User, asking.user_id) if asking.user_id else None
    strong_at = None
    if asking.session_id is not None:
        strong_at = await session.scalar(select(LoginSession.strong_at).where(LoginSession.id == asking.session_id))
    rights = asking.rights
    return MeOut(
        kind=asking.kind,
        id=asking.id,
        name=asking.name,
        display_name=user.display_name if user else "",
        user=user.name if user else None,
        grants=await read_grants(session, user.id) if user else [],
        permissions=sorted(rights.all),
        limited=sorted(rights.tagged),
        session_id=asking.session_id,
        strong_until=strong_at + timedelta(seconds=STRONG_SECONDS) if strong_at else None,
        second_factor=bool(user and user.totp_enabled),
        second_factor_required=asking.lacks_factor,
        recovery_codes=await recovery_codes_left(session, user.id) if user and user.totp_enabled else None,
    )


async def read_grants(session: AsyncSession, user_id: uuid.UUID) -> list[RoleOut]:
    """Return a user's roles, those for the fleet first."""
    query = select(Grant.role, Tag.name).outerjoin(Tag, Tag.id == Grant.tag_id).where(Grant.user_id == user_id)
    rows = sorted(await session.execute(query), key=lambda row: (row[1] or "", row[0]))
    return [RoleOut(role=role, tag=tag) for role, tag in rows]
