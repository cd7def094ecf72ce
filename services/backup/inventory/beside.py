"""Verifying beside a backup: no lease is taken; whatever fails because the pool went away is the pool's fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.backup.inventory.proof import told_of_its_pool
from services.backup.inventory.verified import record_verify
from services.backup.inventory.verify import run_verify
from services.backup.node.pools import require_place

if TYPE_CHECKING:
    from services.backup.inventory.verified import Verified
    from services.backup.inventory.verify import VerifyPlan
    from services.backup.ports import Storage
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context


async def verify_beside(plan: VerifyPlan, _grant: object, ctx: Context, storage: Storage) -> Verified:
    """Read and decrypt what is new, for as long as the job may."""
    await require_place(ctx, storage, plan.repository)
    async with told_of_its_pool(ctx, storage, plan.repository):
        return await run_verify(plan, ctx, storage=storage)


async def record_verified(tx: UnitOfWork, ctx: Context, plan: VerifyPlan, verified: Verified) -> None:
    """Keep how far it came; whoever is not at the end goes on with the next job."""
    await record_verify(tx, ctx, plan.repository.id, verified, finished=verified.reached >= plan.upto)
