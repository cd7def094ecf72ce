"""For which servers whoever asks has a right: for all, or for those with the tags that his roles are limited to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from shared.db.tables.account import Grant
from shared.db.tables.tag import ServerTag, Tag
from shared.domain.messages.requests import FORBIDDEN_FLEET, FORBIDDEN_PERMISSION
from shared.domain.permissions import Permission
from shared.errors import Forbidden

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.kernel.principal import Principal
    from shared.db.session import Database
    from shared.db.visible import Servers


async def servers_for(database: Database, principal: Principal, permission: Permission) -> Servers | None:
    """Return the servers that a right holds for as they are tagged now; None: for all. Forbidden without the right."""
    tags = principal.rights.tags(permission)
    if tags is None:
        return None
    if not tags:
        raise Forbidden(FORBIDDEN_PERMISSION(name=principal.name, permission=permission.value))
    async with database.for_requests().read() as session:
        return frozenset(await session.scalars(select(ServerTag.server_id).where(ServerTag.tag_id.in_(tags))))


def require_permission(principal: Principal, permission: Permission) -> None:
    """Raise `Forbidden` unless whoever asks has this right for the whole fleet."""
    if principal.may(permission):
        return
    if principal.may_for_some(permission):
        raise Forbidden(FORBIDDEN_FLEET(name=principal.name, permission=permission.value))
    raise Forbidden(FORBIDDEN_PERMISSION(name=principal.name, permission=permission.value))


async def require_for(
    session: AsyncSession, principal: Principal, permission: Permission, server_id: uuid.UUID | None
) -> None:
    """Raise `Forbidden` unless whoever asks has this right for a server; for what belongs to none, for the fleet."""
    tags = principal.rights.tags(permission)
    if tags and server_id is not None:
        # Core, so that a session that is limited by another right answers too.
        mine = select(ServerTag.__table__.c.server_id).where(
            ServerTag.__table__.c.server_id == server_id, ServerTag.__table__.c.tag_id.in_(tags)
        )
        if (await session.execute(mine.limit(1))).first() is not None:
            return
    require_permission(principal, permission)


async def require_tagging(session: AsyncSession, principal: Principal, changed: Iterable[str]) -> None:
    """Raise `Forbidden` unless whoever asks may give these tags to servers, or take them.

    Who tags a server decides who sees it: tags that a role is limited to are for those who may change tags.
    """
    names = set(changed)
    if not names:
        return
    require_permission(principal, Permission.SERVERS_WRITE)
    roles = select(Grant.id).join(Tag, Tag.id == Grant.tag_id).where(Tag.name.in_(names)).limit(1)
    if not principal.may(Permission.TAGS_WRITE) and (await session.execute(roles)).first() is not None:
        raise Forbidden(FORBIDDEN_PERMISSION(name=principal.name, permission=Permission.TAGS_WRITE.value))
