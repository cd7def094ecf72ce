"""API tokens: found by what was sent, bounded by their user's rights, noted as used."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, cast

from sqlalchemy import func, or_, select, update

from services.api.kernel.principal import Principal
from services.api.kernel.rights import EVERYTHING, Rights, narrowed
from services.api.security.sessions import NOTE_SECONDS, user_rights
from shared.db.tables.account import ApiToken, User
from shared.db.tables.base import db_now
from shared.secrets.tokens import api_token_digest

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


async def find_token(session: AsyncSession, sent: str) -> tuple[Principal, bool] | None:
    """Return who has this token, and whether its use is to be noted; None if it is unknown, revoked or over."""
    note = func.coalesce(ApiToken.last_used_at < db_now(-NOTE_SECONDS), True)
    row = (
        await session.execute(
            select(ApiToken, note.label("note"))
            .outerjoin(User, User.id == ApiToken.user_id)
            .where(
                ApiToken.digest == api_token_digest(sent),
                ApiToken.revoked_at.is_(None),
                or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > db_now()),
                or_(ApiToken.user_id.is_(None), User.state == "active"),
            )
        )
    ).one_or_none()
    if row is None:
        return None
    token, to_note = row
    rights = await token_rights(session, token)
    return Principal("token", token.id, token.name, rights, user_id=token.user_id), bool(to_note)


async def token_rights(session: AsyncSession, token: ApiToken) -> Rights:
    """Return what a token may now: never more than its user may by now."""
    rights = EVERYTHING if token.user_id is None else await user_rights(session, token.user_id)
    return narrowed(rights, texts_of(token.permissions), _ids(token.tag_ids))


async def note_token(session: AsyncSession, token_id: uuid.UUID, address: str) -> None:
    """Note that a token was used just now, and from where."""
    change = update(ApiToken).where(ApiToken.id == token_id)
    await session.execute(change.values(last_used_at=db_now(), last_used_from=address))


def texts_of(stored: object) -> list[str] | None:
    """Read a list of permissions or of ids; None, which is all, stays None, and what cannot be read gives none."""
    if stored is None:
        return None
    return [one for one in cast("list[object]", stored) if isinstance(one, str)] if isinstance(stored, list) else []


def _ids(stored: object) -> list[uuid.UUID] | None:
    """Read ids of tags; one that cannot be read is for no server."""
    if stored is None:
        return None
    found: list[uuid.UUID] = []
    for one in texts_of(stored) or ():
        try:
            found.append(uuid.UUID(one))
        except ValueError:
            continue
    return found
