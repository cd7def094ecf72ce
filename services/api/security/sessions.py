"""Sessions of browsers: begun, renewed, found by their cookie, noted as used, ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update

from services.api.kernel.principal import Principal
from services.api.kernel.rights import Rights, rights_of
from shared.db.tables.account import Grant, LoginSession, User
from shared.db.tables.base import db_now
from shared.domain.ids import new_id
from shared.domain.permissions import Role
from shared.secrets.tokens import digest_of, new_secret

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.security.origin import Origin
    from shared.config.settings import ApiSettings

STRONG_SECONDS = 600.0
"""How long after he proved who he is somebody may change accounts and secrets."""
NOTE_SECONDS = 60.0
_HOUR, _DAY = 3600.0, 86400.0


async def begin_session(
    session: AsyncSession, user_id: uuid.UUID, methods: str, origin: Origin, settings: ApiSettings
) -> tuple[uuid.UUID, str]:
    """Begin a session; return its id and its cookie's value. A browser's earlier value is never used again."""
    value, identity = new_secret(), new_id()
    session.add(
        LoginSession(
            id=identity,
            digest=digest_of("session", value),
            user_id=user_id,
            methods=methods,
            address=origin.address,
            agent=origin.agent,
            expires_at=db_now(settings.session_days * _DAY),
        )
    )
    await session.execute(update(User).where(User.id == user_id).values(last_login_at=db_now()))
    await session.flush()
    return identity, value


async def renew_session(session: AsyncSession, session_id: uuid.UUID, methods: str | None) -> str:
    """Give a session another value, because its user has proved again who he is.

    `methods` is how; None: not by all that his account asks for, so that he counts as before.
    """
    value = new_secret()
    change = update(LoginSession).where(LoginSession.id == session_id).values(digest=digest_of("session", value))
    await session.execute(change if methods is None else change.values(methods=methods, strong_at=db_now()))
    return value


async def end_session(session: AsyncSession, value: str) -> None:
    """End the session with this value, if there is one."""
    await session.execute(delete(LoginSession).where(LoginSession.digest == digest_of("session", value)))


async def find_session(session: AsyncSession, value: str, settings: ApiSettings) -> tuple[Principal, bool] | None:
    """Return whose session this is, and whether its use is to be noted; None if it ended or its user may not log in."""
    note = LoginSession.seen_at < db_now(-NOTE_SECONDS)
    row = (
        await session.execute(
            select(LoginSession, User, note.label("note"))
            .join(User, User.id == LoginSession.user_id)
            .where(
                LoginSession.digest == digest_of("session", value),
                LoginSession.expires_at > db_now(),
                LoginSession.seen_at > db_now(-settings.session_idle_hours * _HOUR),
                User.state == "active",
            )
        )
    ).one_or_none()
    if row is None:
        return None
    login, user, to_note = row
    return await principal_of_session(session, user, login.id, settings), bool(to_note)


async def principal_of_session(
    session: AsyncSession, user: User, session_id: uuid.UUID, settings: ApiSettings
) -> Principal:
    """Return a user as he asks by a session: without rights as long as he lacks a second factor that he has to have."""
    grants = await _grants(session, user.id)
    lacks = not user.totp_enabled and _has_to_have_factor(grants, settings)
    rights = Rights() if lacks else rights_of(grants)
    return Principal("user", user.id, user.name, rights, user_id=user.id, session_id=session_id, lacks_factor=lacks)


async def note_session(session: AsyncSession, session_id: uuid.UUID) -> None:
    """Note that a session was used just now."""
    await session.execute(update(LoginSession).where(LoginSession.id == session_id).values(seen_at=db_now()))


async def is_strong(session: AsyncSession, session_id: uuid.UUID) -> bool:
    """Tell whether a session's user proved who he is a short while ago, by the database's clock."""
    recent = LoginSession.strong_at > db_now(-STRONG_SECONDS)
    found = select(func.count()).select_from(LoginSession).where(LoginSession.id == session_id, recent)
    return bool(await session.scalar(found))


async def user_rights(session: AsyncSession, user_id: uuid.UUID) -> Rights:
    """Return what a user's roles give him."""
    return rights_of(await _grants(session, user_id))


async def _grants(session: AsyncSession, user_id: uuid.UUID) -> list[tuple[str, uuid.UUID | None]]:
    rows = await session.execute(select(Grant.role, Grant.tag_id).where(Grant.user_id == user_id))
    return [(role, tag) for role, tag in rows]


def _has_to_have_factor(grants: Iterable[tuple[str, uuid.UUID | None]], settings: ApiSettings) -> bool:
    if settings.second_factor == "admins":
        return any(role == Role.ADMIN.value for role, _ in grants)
    return settings.second_factor == "all"
