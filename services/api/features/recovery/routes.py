"""`/api/recovery-kit`, and asking for a backup of Borgfleet itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from services.api.features.recovery.schemas import KitIn, KitState
from services.api.kernel.dependencies import Parts
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.job import JobOut
from services.api.kernel.pages import MOST
from services.api.security.strong import STRONG
from shared.db.queries.own_backups import last_own_backup
from shared.db.stores.approvals import four_eyes
from shared.db.stores.requests import request_self_backup
from shared.domain.messages.recovery_kit import KIT_NEEDS_TWO, KIT_NO_RECIPIENT, OWN_POOL_UNKNOWN_ASKED
from shared.domain.permissions import Permission
from shared.errors import Conflict, Invalid
from shared.kit.cover import kit_cover, record_export
from shared.kit.gather import gather
from shared.kit.own import chosen_pool
from shared.kit.packed import packed
from shared.secrets.age import sealed_for, sealed_with

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from services.api.kernel.gateway import Gateway
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.kit.contents import Kit

router = APIRouter(tags=["recovery"], route_class=GuardedRoute)
_CHUNK = 64 * 1024
_NEVER_KEPT = {
    "Cache-Control": "no-store",
    "Content-Disposition": 'attachment; filename="kit.age"',
    "X-Content-Type-Options": "nosniff",
}


@router.get("/api/recovery-kit", dependencies=[Allow(Permission.SYSTEM_READ)])
async def kit_state(parts: Parts) -> KitState:
    """Say how much of the fleet the recovery kits cover."""
    async with parts.db.read() as session:
        cover, at = await kit_cover(session), await last_own_backup(session)
    return KitState(
        exported_at=cover.exported_at,
        repositories=cover.repositories,
        covered=cover.covered,
        missing=list(cover.missing[:MOST]),
        self_backup_at=at,
    )


@router.post(
    "/api/recovery-kit",
    dependencies=[Allow(Permission.SECRETS_SHOW, once=False), STRONG],
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The kit, encrypted by age."}},
)
async def export_recovery_kit(body: KitIn, parts: Parts) -> Response:
    """Make a recovery kit and send it, encrypted. It is kept nowhere, and a repeated request makes another one.

    A session is asked for its user's password again if that was given more than ten minutes ago. Where four eyes are
    on, it is made on the machine itself only, with a reason.
    """
    if bool(body.recipients) == (body.passphrase is not None):
        raise Invalid(KIT_NO_RECIPIENT())
    if body.passphrase is None:
        sealed_for(b"", body.recipients)  # refused before a secret is opened
    settings = parts.settings

    async def gathered(tx: UnitOfWork) -> Kit:
        if (await four_eyes(tx.session)).enabled:
            raise Conflict(KIT_NEEDS_TWO())
        return await gather(tx, settings)

    kit = await parts.db.run(gathered)
    sealed = await asyncio.to_thread(_sealed, kit, body)
    return StreamingResponse(_sent(sealed, kit, parts), media_type="application/octet-stream", headers=_NEVER_KEPT)


@router.post("/api/self-backups", dependencies=[Allow(Permission.SETTINGS_WRITE)], status_code=202)
async def back_up_itself(parts: Parts) -> JobOut:
    """Queue a backup of Borgfleet itself: its database, settings and host keys."""

    async def queue(tx: UnitOfWork) -> Job:
        pool = await chosen_pool(tx.session, parts.settings.self_backup.pool)
        if pool is None:
            raise Conflict(OWN_POOL_UNKNOWN_ASKED())
        job = await request_self_backup(tx, pool)
        await tx.session.refresh(job)
        return job

    return JobOut.model_validate(await parts.db.run(queue))


def _sealed(kit: Kit, body: KitIn) -> bytes:
    plain = packed(kit)
    if body.passphrase is None:
        return sealed_for(plain, body.recipients)
    return sealed_with(plain, body.passphrase.get_secret_value())


async def _sent(sealed: bytes, kit: Kit, parts: Gateway) -> AsyncGenerator[bytes]:
    """Send it in pieces; only once the last one is on its way the kit counts as one that somebody has."""
    for at in range(0, len(sealed), _CHUNK):
        yield sealed[at : at + _CHUNK]
    await parts.database.run(lambda tx: record_export(tx.session, kit.fingerprints))
