"""Jobs that work on another server than the one that they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.api.kernel.scope import require_for
from shared.db.stores.requests import moved_on
from shared.domain.permissions import Permission

if TYPE_CHECKING:
    from services.api.kernel.principal import Principal
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork


async def require_there(tx: UnitOfWork, asking: Principal, job: Job) -> None:
    """Refuse who may not restore to the server on which a job restores, where that is another one."""
    if job.server_id is not None and (there := moved_on(job)) != job.server_id:
        await require_for(tx.session, asking, Permission.BACKUPS_RESTORE_ELSEWHERE, there)
