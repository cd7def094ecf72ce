"""`/api/settings/four-eyes`: switched on by one, changed and switched off by two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from sqlalchemy import func, select

from services.api.features.approvals.schemas import FourEyesIn, FourEyesOut, FourEyesPut
from services.api.kernel.dependencies import Asking, Parts
from services.api.kernel.etag import ANY, IfMatch, Precondition, meant_for, tagged
from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.versions import require_seen
from services.api.security.approvals import agreed
from services.api.security.strong import STRONG
from shared.db.stores.approvals import four_eyes
from shared.db.tables.account import Grant, User
from shared.domain.four_eyes import About, Command, Guarded
from shared.domain.messages.approvals import FOUR_EYES_NEEDS_TWO
from shared.domain.permissions import Permission, Role
from shared.errors import Conflict

if TYPE_CHECKING:
    from services.api.kernel.principal import Principal
    from services.api.security.approvals import Actions
    from shared.db.tables.approval import FourEyes
    from shared.db.unit_of_work import UnitOfWork

router = APIRouter(tags=["four eyes"], route_class=GuardedRoute)
_NEEDED = 2


@router.get("/api/settings/four-eyes", dependencies=[Allow(Permission.SETTINGS_READ)])
async def get_four_eyes(parts: Parts, response: Response) -> FourEyesOut:
    """Return whether guarded actions need a second person."""
    return tagged(response, await parts.db.run(_read))


@router.put("/api/settings/four-eyes", dependencies=[Allow(Permission.SETTINGS_WRITE), STRONG])
async def set_four_eyes(
    body: FourEyesPut, parts: Parts, asking: Asking, if_match: IfMatch, response: Response
) -> FourEyesOut:
    """Change the settings. To switch four eyes on takes two administrators with a second factor.

    As long as they are on, each change of them waits for another person (202).
    """
    command = Command(Guarded.CHANGE_FOUR_EYES, fields=body.model_dump(mode="json", exclude={"version"}))

    async def change(tx: UnitOfWork) -> FourEyesOut:
        await define(tx, asking, command, meant_for(if_match, body.version))
        return await _read(tx)

    return tagged(response, await parts.db.run(change))


async def define(tx: UnitOfWork, asking: Principal, command: Command, given: Precondition = ANY) -> None:
    """Change the settings; where four eyes are on, it needs a second person itself."""
    body = FourEyesIn.model_validate(dict(command.fields))
    settings = await four_eyes(tx.session, locked=True)
    await require_seen(tx.session, settings, meant_for(given, command.version), "")
    if body.enabled and not settings.enabled and (count := await _admins(tx)) < _NEEDED:
        raise Conflict(FOUR_EYES_NEEDS_TWO(count=count))
    if settings.enabled and _differs(settings, body):
        kept = Command(command.kind, command.target, command.fields, settings.version)
        await agreed(tx, asking, kept, About("settings", "four eyes"))
    settings.enabled, settings.cooling_seconds = body.enabled, body.cooling_seconds
    settings.expiry_seconds = body.expiry_seconds
    await tx.session.flush()


async def _admins(tx: UnitOfWork) -> int:
    """Count who could agree: active persons who administer the fleet and have a second factor."""
    mine = Grant.user_id == User.id, Grant.role == Role.ADMIN.value, Grant.tag_id.is_(None)
    who = User.state == "active", User.kind == "person", User.totp_enabled.is_(True)
    query = select(func.count()).select_from(User).where(*who, select(Grant.id).where(*mine).exists())
    return await tx.session.scalar(query) or 0


def _differs(settings: FourEyes, body: FourEyesIn) -> bool:
    return any(getattr(settings, name) != value for name, value in body.model_dump().items())


async def _read(tx: UnitOfWork) -> FourEyesOut:
    settings = await four_eyes(tx.session)
    return FourEyesOut(
        enabled=settings.enabled,
        cooling_seconds=settings.cooling_seconds,
        expiry_seconds=settings.expiry_seconds,
        version=settings.version,
    )


GUARDED: Actions = {Guarded.CHANGE_FOUR_EYES: define}
"""What is done once another person has agreed."""
