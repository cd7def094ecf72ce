"""Users' links, passwords and sessions, and the rule that an administrator is left: for gateway and console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from sqlalchemy import CursorResult, and_, delete, select, update

from shared.db.tables.account import ApiToken, Grant, LoginFlow, LoginSession, OneTimeLink, RecoveryCode, User
from shared.db.tables.base import db_now
from shared.domain.messages.accounts import LAST_ADMIN, LINK_EXPIRED, LINK_USED
from shared.domain.permissions import Role
from shared.errors import Conflict, Gone
from shared.secrets.tokens import digest_of, new_secret

if TYPE_CHECKING:
    import uuid

    from sqlalchemy import Result, Select
    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.stores.secrets import Secrets

LinkKind: TypeAlias = Literal["setup", "invite", "reset"]
SETUP_HOURS, INVITE_HOURS, RESET_HOURS = 24.0, 72.0, 24.0
_HOUR = 3600.0


def totp_secret(user_id: uuid.UUID) -> str:
    """Return the name under which the secret of a user's one-time codes is kept."""
    return f"user:{user_id.hex}:totp"


async def make_link(session: AsyncSession, kind: LinkKind, hours: float, user_id: uuid.UUID | None = None) -> str:
    """Return the secret of a new link; those that were made for the same before work no longer."""
    secret = new_secret()
    await add_link(session, kind, hours, digest_of("link", secret), user_id)
    return secret


async def add_link(
    session: AsyncSession, kind: LinkKind, hours: float, digest: str, user_id: uuid.UUID | None = None
) -> None:
    """Make a link of a secret that is known already, by its digest."""
    older = OneTimeLink.user_id == user_id if user_id else OneTimeLink.user_id.is_(None)
    await session.execute(delete(OneTimeLink).where(OneTimeLink.kind == kind, older, OneTimeLink.used_at.is_(None)))
    session.add(OneTimeLink(digest=digest, kind=kind, user_id=user_id, expires_at=db_now(hours * _HOUR)))
    await session.flush()


async def find_link(session: AsyncSession, secret: str, *kinds: LinkKind) -> OneTimeLink:
    """Return a link that can be used; Gone if it was used, is over, or was never made."""
    digest = digest_of("link", secret)
    usable = and_(OneTimeLink.used_at.is_(None), OneTimeLink.expires_at > db_now())
    query = select(OneTimeLink, usable).where(OneTimeLink.digest == digest, OneTimeLink.kind.in_(kinds))
    row = (await session.execute(query)).one_or_none()
    if row is not None and row[1]:
        return row[0]
    if row is not None and row[0].used_at is not None:
        raise Gone(LINK_USED())
    raise Gone(LINK_EXPIRED())


async def use_link(session: AsyncSession, secret: str, *kinds: LinkKind) -> OneTimeLink:
    """Use a link up, and return it; of two that use it at once one is refused."""
    link = await find_link(session, secret, *kinds)
    unused = and_(OneTimeLink.digest == link.digest, OneTimeLink.used_at.is_(None))
    if not changed_rows(await session.execute(update(OneTimeLink).where(unused).values(used_at=db_now()))):
        raise Gone(LINK_USED())
    return link


async def has_admin(session: AsyncSession) -> bool:
    """Tell whether a person can administer the fleet; before that only set-up links and tokens work."""
    return await session.scalar(_admins().where(User.state == "active").limit(1)) is not None


async def require_other_admin(session: AsyncSession, user_id: uuid.UUID) -> None:
    """Refuse what would take the fleet its last administrator; two who do this at once wait for one another."""
    # FOR UPDATE reads what others committed meanwhile: without it two could each see the other one stay.
    admins = list(await session.execute(_admins().with_for_update()))
    if not any(row.id != user_id and row.state == "active" for row in admins) and any(
        row.id == user_id and row.state == "active" for row in admins
    ):
        raise Conflict(LAST_ADMIN())


async def set_password(session: AsyncSession, user_id: uuid.UUID, kept: str) -> None:
    """Keep what argon2id made of a password; its user is active from then on if he was invited."""
    await session.execute(
        update(User)
        .where(User.id == user_id)
        .values(password_hash=kept, password_changed_at=db_now(), version=User.version + 1)
    )
    await session.execute(update(User).where(User.id == user_id, User.state == "invited").values(state="active"))


async def end_sessions(session: AsyncSession, user_id: uuid.UUID, keep: uuid.UUID | None = None) -> int:
    """End a user's sessions, all or all but one, and the logins that are half done; return how many sessions."""
    query = delete(LoginSession).where(LoginSession.user_id == user_id)
    ended = await session.execute(query.where(LoginSession.id != keep) if keep else query)
    await session.execute(delete(LoginFlow).where(LoginFlow.user_id == user_id))
    return changed_rows(ended)


async def reset_factors(session: AsyncSession, secrets: Secrets, user_id: uuid.UUID) -> None:
    """Take a user's second factors away, so that the password alone lets him in."""
    await session.execute(
        update(User).where(User.id == user_id).values(totp_enabled=False, totp_last_step=None, version=User.version + 1)
    )
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    await secrets.delete(totp_secret(user_id))


async def revoke_tokens(session: AsyncSession, user_id: uuid.UUID) -> None:
    """Revoke all tokens of a user."""
    mine = ApiToken.user_id == user_id
    await session.execute(update(ApiToken).where(mine, ApiToken.revoked_at.is_(None)).values(revoked_at=db_now()))


def changed_rows(result: Result[Any]) -> int:
    """Return how many rows an UPDATE or a DELETE changed."""
    return result.rowcount if isinstance(result, CursorResult) else 0


def _admins() -> Select[uuid.UUID, str]:
    return (
        select(User.id, User.state)
        .join(Grant, Grant.user_id == User.id)
        .where(Grant.role == Role.ADMIN.value, Grant.tag_id.is_(None), User.kind == "person")
    )
