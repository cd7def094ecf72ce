"""Tokens of others, with which something guarded could be asked for: to make one may need a second person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from services.api.features.tokens.schemas import TokenIn
from services.api.kernel.rights import EVERYTHING, narrowed
from services.api.kernel.scope import require_permission
from services.api.security.approvals import agreed, is_powerful
from services.api.security.sessions import user_rights
from services.api.security.strong import require_no_more
from shared.db.tables.account import ApiToken, User
from shared.db.tables.base import db_now
from shared.db.tables.tag import Tag
from shared.domain.four_eyes import DIGEST, FRESH, PREFIX, About, Guarded
from shared.domain.messages.accounts import TAG_UNKNOWN, USER_UNKNOWN
from shared.domain.permissions import Permission
from shared.errors import NotFound

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.kernel.principal import Principal
    from services.api.security.approvals import Actions
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.four_eyes import Command

_DAY = 86400.0


async def add(
    tx: UnitOfWork, asking: Principal, command: Command, *, secret: str | None = None
) -> tuple[ApiToken, str | None]:
    """Make a token; return it, and the name of its user."""
    body = TokenIn.model_validate({name: one for name, one in command.fields.items() if name not in FRESH})
    owner = await _owner(tx.session, asking, body.user)
    tags = await _tag_ids(tx.session, body.tags) if body.tags is not None else None
    base = await user_rights(tx.session, owner.id) if owner else EVERYTHING
    rights = narrowed(base, body.permissions, tags)
    require_no_more(asking, rights)
    if is_powerful(rights) and (owner is None or owner.id != asking.user_id):
        await agreed(tx, asking, command, About("tokens", body.name), secret=secret)
    days = body.expires_in_days
    token = ApiToken(
        name=body.name,
        digest=str(command.fields[DIGEST]),
        prefix=str(command.fields[PREFIX]),
        user_id=owner.id if owner else None,
        permissions=None if body.permissions is None else sorted(asking.rights.all & set(body.permissions)),
        tag_ids=None if tags is None else sorted(map(str, tags)),
        expires_at=None if days is None else db_now(days * _DAY),
    )
    tx.session.add(token)
    await tx.session.flush()
    return token, owner.name if owner else None


async def _owner(session: AsyncSession, asking: Principal, name: str | None) -> User | None:
    """Return whose a new token is; None for one of nobody in particular, which only its like can make."""
    if name is None:
        return await session.get(User, asking.user_id) if asking.user_id else None
    user = await session.scalar(select(User).where(User.name == name))
    if user is None or user.id != asking.user_id:
        require_permission(asking, Permission.TOKENS_WRITE)
    if user is None:
        raise NotFound(USER_UNKNOWN(name=name))
    return user


async def _tag_ids(session: AsyncSession, names: Sequence[str]) -> list[uuid.UUID]:
    rows = (await session.execute(select(Tag.name, Tag.id).where(Tag.name.in_(names)))).all()
    if missing := sorted(set(names) - {row[0] for row in rows}):
        raise NotFound(TAG_UNKNOWN(names=", ".join(missing)))
    return [row[1] for row in rows]


GUARDED: Actions = {Guarded.MAKE_TOKEN: add}
"""What is done once another person has agreed."""
