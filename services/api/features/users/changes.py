"""What is done to users and their roles, each in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from services.api.kernel.etag import ANY
from services.api.kernel.pages import require
from services.api.kernel.rights import rights_of
from services.api.kernel.versions import require_seen
from services.api.security.strong import require_no_more, require_not_above
from shared.db.stores.accounts import (
    INVITE_HOURS,
    RESET_HOURS,
    add_link,
    end_sessions,
    require_other_admin,
)
from shared.db.tables.account import Grant, User
from shared.db.tables.tag import Tag
from shared.domain.messages.accounts import NO_LOGIN_CLOSED, NO_LOGIN_SERVICE, TAG_UNKNOWN
from shared.domain.permissions import Role
from shared.errors import Conflict, NotFound

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.features.users.schemas import GrantIn, UserChange, UserIn
    from services.api.kernel.etag import Precondition
    from services.api.kernel.principal import Principal
    from shared.db.unit_of_work import UnitOfWork


async def user_to_change(tx: UnitOfWork, asking: Principal, user_id: uuid.UUID, given: Precondition = ANY) -> User:
    """Return a user whom this one may change, locked; `Outdated` where the change is meant for another version."""
    user = require(await tx.session.get(User, user_id, with_for_update=True), "user")
    await require_not_above(tx.session, asking, user_id)
    await require_seen(tx.session, user, given, str(user_id))
    return user


async def add_user(tx: UnitOfWork, asking: Principal, body: UserIn, digest: str) -> User:
    """Make a user, and for a person a link of this digest to choose a password with."""
    state = "invited" if body.kind == "person" else "active"
    user = User(name=body.name, display_name=body.display_name, email=body.email, kind=body.kind, state=state)
    tx.session.add(user)
    await tx.session.flush()
    await set_grants(tx, asking, user.id, body.grants)
    if body.kind == "person":
        await add_link(tx.session, "invite", INVITE_HOURS, digest, user.id)
    await tx.session.refresh(user)
    return user


async def change_user(tx: UnitOfWork, user: User, body: UserChange) -> None:
    """Change a user; one that is disabled has no session from then on."""
    if body.state == "disabled" and user.state != "disabled":
        await require_other_admin(tx.session, user.id)
        await end_sessions(tx.session, user.id)
        user.state = "disabled"
    if body.state == "active" and user.state == "disabled":
        chosen = user.password_hash is not None or user.kind != "person"
        user.state = "active" if chosen else "invited"
    if body.display_name is not None:
        user.display_name = body.display_name
    if body.email is not None:
        user.email = body.email


async def remove_user(tx: UnitOfWork, user: User) -> None:
    """Forget a user with sessions, tokens and roles; what he did keeps his name."""
    await require_other_admin(tx.session, user.id)
    await tx.session.delete(user)


async def set_grants(tx: UnitOfWork, asking: Principal, user_id: uuid.UUID, grants: Sequence[GrantIn]) -> None:
    """Give a user these roles instead of those he has."""
    wanted = await wanted_grants(tx.session, asking, grants)
    if (Role.ADMIN.value, None) not in wanted:
        await require_other_admin(tx.session, user_id)
    for grant in await tx.session.scalars(select(Grant).where(Grant.user_id == user_id)):
        if (grant.role, grant.tag_id) in wanted:
            wanted.discard((grant.role, grant.tag_id))
        else:
            await tx.session.delete(grant)  # row by row: the audit log and the user's version tell of it
    await tx.session.flush()
    tx.session.add_all(
        Grant(user_id=user_id, role=role, tag_id=tag, granted_by=asking.name)
        for role, tag in sorted(wanted, key=lambda one: (one[0], str(one[1] or "")))
    )
    await tx.session.flush()


async def wanted_grants(
    session: AsyncSession, asking: Principal, grants: Sequence[GrantIn]
) -> set[tuple[str, uuid.UUID | None]]:
    """Return roles with the ids of their tags; Forbidden where they give more than one has oneself."""
    tags = await _tags(session, {one.tag for one in grants if one.tag is not None})
    wanted = {(one.role.value, tags[one.tag] if one.tag else None) for one in grants}
    require_no_more(asking, rights_of(wanted))
    return wanted


def require_login(user: User) -> None:
    """Refuse who has no password to choose."""
    if user.kind != "person":
        raise Conflict(NO_LOGIN_SERVICE(name=user.name))
    if user.state == "disabled":
        raise Conflict(NO_LOGIN_CLOSED(name=user.name))


async def add_login_link(session: AsyncSession, user: User, digest: str) -> None:
    """Make a link of this digest to choose a password with: for the first time, or again."""
    first = user.state == "invited"
    await add_link(session, "invite" if first else "reset", INVITE_HOURS if first else RESET_HOURS, digest, user.id)


async def _tags(session: AsyncSession, names: set[str]) -> dict[str, uuid.UUID]:
    """Return tags by name. None is made here: a misspelt one would be a role that nobody has any use of."""
    rows = await session.execute(select(Tag.name, Tag.id).where(Tag.name.in_(names)).with_for_update(read=True))
    known = {name: identity for name, identity in rows}  # noqa: C416 - rows are no pairs to the type checker
    if missing := sorted(names - known.keys()):
        raise NotFound(TAG_UNKNOWN(names=", ".join(missing)))
    return known
