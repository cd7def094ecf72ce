"""`/api/auth/totp` and `/api/auth/recovery-codes`: one's own second factor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from services.api.audit.record import record
from services.api.features.auth.login import Begun, Known, give_cookie, renewed
from services.api.features.auth.own import session_of
from services.api.features.auth.schemas import CodeIn, RecoveryCodesOut, TotpOut
from services.api.kernel.dependencies import Asking, Parts
from services.api.kernel.guard import Allow, GuardedRoute, Open
from services.api.security.strong import STRONG
from shared.db.stores.accounts import end_sessions, reset_factors
from shared.db.stores.factors import begin_totp as keep_secret
from shared.db.stores.factors import confirm_totp as confirm_secret
from shared.db.stores.factors import renew_recovery_codes as renew_codes
from shared.domain.messages.accounts import WRONG_CODE_OF_APP
from shared.errors import Invalid
from shared.secrets.factors import new_totp_secret, totp_uri

if TYPE_CHECKING:
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["accounts"], route_class=GuardedRoute)
ACCOUNT = Allow(Open.ACCOUNT, once=False)
"""Not remembered: the answers hold secrets that are shown once."""


@router.post("/api/auth/totp", dependencies=[ACCOUNT, STRONG], status_code=201)
async def begin_totp(request: Request, parts: Parts, asking: Asking) -> TotpOut:
    """Return the secret for an app that shows codes, this once; it counts when a code of it was confirmed."""
    session_of(asking)
    secret = new_totp_secret()

    async def begin(tx: UnitOfWork) -> None:
        await keep_secret(tx.session, tx.secrets, asking.id, secret)
        await record(tx, request, request.state.action)

    await parts.db.run(begin)
    return TotpOut(secret=secret, uri=totp_uri(secret, asking.name))


@router.post("/api/auth/totp/confirm", dependencies=[ACCOUNT, STRONG])
async def confirm_totp(
    body: CodeIn, request: Request, response: Response, parts: Parts, known: Known, asking: Asking
) -> RecoveryCodesOut:
    """Ask for codes at each login from now on; returns ten recovery codes, this once. All other sessions end."""
    session_id = session_of(asking)

    async def confirm(tx: UnitOfWork) -> tuple[list[str], Begun]:
        codes = await confirm_secret(tx.session, tx.secrets, asking.id, body.code.get_secret_value())
        if codes is None:
            raise Invalid(WRONG_CODE_OF_APP())
        await end_sessions(tx.session, asking.id, keep=session_id)
        return codes, await renewed(tx, known, request, asking, session_id, "password,totp")

    codes, session = await parts.db.run(confirm)
    known.forget()
    give_cookie(response, known, session)
    return RecoveryCodesOut(recovery_codes=codes)


@router.delete("/api/auth/totp", dependencies=[ACCOUNT, STRONG], status_code=204)
async def remove_totp(request: Request, response: Response, parts: Parts, known: Known, asking: Asking) -> None:
    """Let the password alone be enough again; recovery codes go too, and all other sessions end."""
    session_id = session_of(asking)

    async def remove(tx: UnitOfWork) -> Begun:
        await reset_factors(tx.session, tx.secrets, asking.id)
        await end_sessions(tx.session, asking.id, keep=session_id)
        return await renewed(tx, known, request, asking, session_id, None)

    session = await parts.db.run(remove)
    known.forget()
    give_cookie(response, known, session)


@router.post("/api/auth/recovery-codes", dependencies=[ACCOUNT, STRONG], status_code=201)
async def renew_recovery_codes(request: Request, parts: Parts, asking: Asking) -> RecoveryCodesOut:
    """Return ten new recovery codes, this once; those of before work no longer."""
    session_of(asking)

    async def renew(tx: UnitOfWork) -> list[str]:
        codes = await renew_codes(tx.session, asking.id)
        await record(tx, request, request.state.action)
        return codes

    return RecoveryCodesOut(recovery_codes=await parts.db.run(renew))
