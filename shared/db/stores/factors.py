"""Users' second factors, and the logins that wait for one: each code, and each such login, is used once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, or_, select, update

from shared.db.stores.accounts import changed_rows, totp_secret
from shared.db.tables.account import LoginFlow, RecoveryCode, User
from shared.db.tables.base import db_now
from shared.domain.messages.accounts import FACTOR_NONE, FACTOR_NOT_BEGUN, FACTOR_ON
from shared.errors import Conflict
from shared.secrets.factors import new_recovery_codes, recovery_digest, step_of
from shared.secrets.tokens import digest_of, new_secret

if TYPE_CHECKING:
    import uuid

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.stores.secrets import Secrets

FLOW_SECONDS = 600.0
MOST_TRIES = 5
"""Wrong codes after which a login begins again with the password."""


async def begin_totp(session: AsyncSession, secrets: Secrets, user_id: uuid.UUID, secret: str) -> None:
    """Keep the secret of an app that is yet to prove that it has it, instead of an earlier one; Conflict if one did."""
    user = await _locked(session, user_id)
    if user.totp_enabled:
        raise Conflict(FACTOR_ON())
    await secrets.put(totp_secret(user_id), secret)


async def confirm_totp(session: AsyncSession, secrets: Secrets, user_id: uuid.UUID, code: str) -> list[str] | None:
    """Ask for codes from now on if this one is right; return the recovery codes, or None for a wrong code."""
    user = await _locked(session, user_id)
    if user.totp_enabled:
        raise Conflict(FACTOR_ON())
    secret = await secrets.find(totp_secret(user_id))
    if secret is None:
        raise Conflict(FACTOR_NOT_BEGUN())
    now = (await session.execute(select(db_now()))).scalar_one()
    step = step_of(secret, code, now)
    if step is None:
        return None
    user.totp_enabled, user.totp_last_step = True, step
    user.version += 1
    await session.flush()
    return await renew_recovery_codes(session, user_id)


async def renew_recovery_codes(session: AsyncSession, user_id: uuid.UUID) -> list[str]:
    """Return ten new recovery codes; those of before work no longer. Conflict without a second factor."""
    user = await _locked(session, user_id)
    if not user.totp_enabled:
        raise Conflict(FACTOR_NONE())
    codes = new_recovery_codes()
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    session.add_all(RecoveryCode(user_id=user_id, digest=recovery_digest(user_id, code)) for code in codes)
    await session.flush()
    return codes


async def recovery_codes_left(session: AsyncSession, user_id: uuid.UUID) -> int:
    """Count the recovery codes that were not used yet."""
    unused = RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None)
    return await session.scalar(select(func.count()).select_from(RecoveryCode).where(*unused)) or 0


async def use_totp(session: AsyncSession, secrets: Secrets, user_id: uuid.UUID, code: str) -> bool:
    """Use a code up; False if it is wrong, was used, or is older than one that was."""
    secret = await secrets.find(totp_secret(user_id))
    now = (await session.execute(select(db_now()))).scalar_one()
    step = step_of(secret, code, now) if secret else None
    if step is None:
        return False
    # One statement: of two gateways that have the same code at once, one changes the row.
    newer = or_(User.totp_last_step.is_(None), User.totp_last_step < step)
    change = update(User).where(User.id == user_id, User.totp_enabled, newer).values(totp_last_step=step)
    return changed_rows(await session.execute(change)) > 0


async def use_recovery_code(session: AsyncSession, user_id: uuid.UUID, code: str) -> bool:
    """Use a recovery code up; False if it is wrong or was used."""
    unused = RecoveryCode.digest == recovery_digest(user_id, code), RecoveryCode.used_at.is_(None)
    change = update(RecoveryCode).where(RecoveryCode.user_id == user_id, *unused).values(used_at=db_now())
    return changed_rows(await session.execute(change)) > 0


async def begin_flow(session: AsyncSession, user_id: uuid.UUID, methods: str) -> str:
    """Return the secret with which a login goes on that waits for its second factor."""
    secret = new_secret()
    digest = digest_of("flow", secret)
    session.add(LoginFlow(digest=digest, user_id=user_id, methods=methods, expires_at=db_now(FLOW_SECONDS)))
    await session.flush()
    return secret


async def try_flow(session: AsyncSession, secret: str) -> tuple[User, str] | None:
    """Count one more try of a login that waits; return whose it is and how he proved it so far, or None if it is over.

    Counted before the code is looked at: a thousand at once are not all tried.
    """
    open_one = LoginFlow.digest == digest_of("flow", secret), LoginFlow.expires_at > db_now()
    counted = update(LoginFlow).where(*open_one, LoginFlow.failures < MOST_TRIES)
    if not changed_rows(await session.execute(counted.values(failures=LoginFlow.failures + 1))):
        return None
    query = select(User, LoginFlow.methods).join(User, User.id == LoginFlow.user_id).where(*open_one)
    row = (await session.execute(query.where(User.state == "active", User.totp_enabled))).one_or_none()
    return (row[0], row[1]) if row else None


async def end_flow(session: AsyncSession, secret: str) -> bool:
    """End a login that waited; False if another request did it already."""
    return (
        changed_rows(await session.execute(delete(LoginFlow).where(LoginFlow.digest == digest_of("flow", secret)))) > 0
    )


async def _locked(session: AsyncSession, user_id: uuid.UUID) -> User:
    return await session.get_one(User, user_id, with_for_update=True, populate_existing=True)
