"""What may be changed only by who proved a short while ago who he is, and never for those who may more than he."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Depends
from sqlalchemy import select

from services.api.kernel.dependencies import Asking, Parts
from services.api.kernel.errors import Unauthenticated
from services.api.security.sessions import is_strong, user_rights
from shared.db.tables.account import User
from shared.domain.messages.accounts import MORE_THAN_OWN, REAUTHENTICATE, USER_ABOVE
from shared.errors import Forbidden

if TYPE_CHECKING:
    import uuid

    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.kernel.principal import Principal
    from services.api.kernel.rights import Rights

FACTORS = ("totp", "recovery_code")
"""What stands for a second factor, one of them."""


async def require_strong(parts: Parts, asking: Asking) -> None:
    """Ask a session for its user's password again, if it was given long ago; a token stands for itself."""
    if asking.session_id is None:
        return
    async with parts.db.read() as session:
        if not await is_strong(session, asking.session_id):
            raise await too_long_ago(session, asking)


async def too_long_ago(session: AsyncSession, asking: Principal) -> Unauthenticated:
    """Return what is said to who has to give his password again, and a code if he has a second factor."""
    factor = await session.scalar(select(User.totp_enabled).where(User.id == asking.user_id))
    return Unauthenticated(REAUTHENTICATE(), methods=["password", *(FACTORS if factor else ())])


STRONG = Depends(require_strong)
"""A dependency of routes that change accounts or secrets."""


def require_no_more(asking: Principal, rights: Rights) -> None:
    """Refuse to give rights that one does not have oneself."""
    if not asking.rights.holds(rights):
        raise Forbidden(MORE_THAN_OWN(name=asking.name))


async def require_not_above(session: AsyncSession, asking: Principal, user_id: uuid.UUID) -> None:
    """Refuse to change a user who may more: with his link one would be him."""
    if user_id != asking.user_id and not asking.rights.holds(await user_rights(session, user_id)):
        raise Forbidden(USER_ABOVE(name=asking.name))
