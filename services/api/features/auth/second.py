"""The second factor of a login, and of who proves once more who he is."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from services.api.audit.record import record
from services.api.features.auth.login import actor_for, record_failure
from services.api.kernel.errors import Unauthenticated
from services.api.security.strong import FACTORS
from services.api.security.throttle import count_success, count_try, keys_of
from shared.db.stores.factors import begin_flow, use_recovery_code, use_totp
from shared.domain.messages.accounts import FACTOR_NEEDED, PROOF_ONE, WRONG_CODE
from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import Request

    from services.api.features.auth.schemas import ProofIn
    from services.api.kernel.dependencies import Gateway
    from services.api.security.guard import Accounts
    from shared.db.tables.account import User
    from shared.db.unit_of_work import UnitOfWork

T = TypeVar("T")


async def half_done(tx: UnitOfWork, request: Request, user: User, methods: str, code: str = "") -> Unauthenticated:
    """Begin a login that waits for the second factor, recorded with a code; return what is said to who logs in."""
    flow = await begin_flow(tx.session, user.id, methods)
    await record(tx, request, request.state.action, actor=actor_for(request, user), code=code)
    return Unauthenticated(FACTOR_NEEDED(), methods=FACTORS, flow=flow)


async def let_pass(
    parts: Gateway,
    known: Accounts,
    request: Request,
    user: User,
    proof: ProofIn,
    go_on: Callable[[UnitOfWork, str], Awaitable[T]],
) -> T:
    """Use a code up and go on, in one transaction; `go_on` is told how it was proved. The try was not counted yet."""
    keys = keys_of(user.name, known.origin(request))
    await parts.db.run(lambda tx: count_try(tx.session, keys))
    return await let_counted_pass(parts, known, request, user, proof, go_on)


async def let_counted_pass(
    parts: Gateway,
    known: Accounts,
    request: Request,
    user: User,
    proof: ProofIn,
    go_on: Callable[[UnitOfWork, str], Awaitable[T]],
) -> T:
    """As `let_pass`, for a try that was counted."""
    keys = keys_of(user.name, known.origin(request))

    async def enter(tx: UnitOfWork) -> tuple[T] | None:
        method = await _used(tx, user, proof)
        if method is None:
            return None
        await count_success(tx.session, keys)
        return (await go_on(tx, method),)

    made = await parts.db.run(enter)
    if made is None:
        await record_failure(parts, request, user, WRONG_CODE.code)
        raise Unauthenticated(WRONG_CODE())
    return made[0]


def require_one(proof: ProofIn) -> None:
    """Refuse a code together with a recovery code, and neither."""
    if (proof.code is None) == (proof.recovery_code is None):
        raise Invalid(PROOF_ONE())


async def _used(tx: UnitOfWork, user: User, proof: ProofIn) -> str | None:
    """Use a code up; return which it was, or None if it is wrong."""
    if proof.code is not None:
        return "totp" if await use_totp(tx.session, tx.secrets, user.id, proof.code.get_secret_value()) else None
    code = proof.recovery_code.get_secret_value() if proof.recovery_code else ""
    return "recovery_code" if await use_recovery_code(tx.session, user.id, code) else None
