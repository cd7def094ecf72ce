"""What set-up reads of a server, and what it leaves on its row."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from services.setup.ports import PinnedEndpoint, SetupPlan
from shared.borg.environment import Endpoint
from shared.db.stores.secrets import FLEET_KEY, FLEET_PUBLIC_KEY, server_password
from shared.db.tables.base import db_now
from shared.db.tables.job import JobLog
from shared.db.tables.kernel import Secret
from shared.db.tables.server import Server
from shared.db.tables.storage import BackupNode, Repository, StoragePool
from shared.domain.job import JobState
from shared.domain.messages import stored
from shared.domain.messages.servers import KEY_OF_ANOTHER_SERVER, SERVER_MISSING
from shared.domain.messages.ssh_causes import NO_WAY_IN
from shared.errors import Permanent
from shared.events.server import ServerReady, ServerUnreachable
from shared.ssh.port import fingerprint

if TYPE_CHECKING:
    from datetime import datetime

    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.errors import AppError
    from shared.runtime.context import Context

CHANGED = "changed:"
_DAY = 86_400.0
_HOST_KEY_CODES = ("host_key_unknown", "host_key_changed")
_NO_WAY_IN = NO_WAY_IN | {*_HOST_KEY_CODES, "connection_lost"}


async def load_setup(tx: UnitOfWork, job: Job, password_days: float) -> SetupPlan:
    """Read the server, its first password, the fleet's key and the endpoints it is to reach."""
    server = await tx.session.get(Server, job.server_id)
    if server is None:
        raise Permanent(SERVER_MISSING())
    password, until = await _password(tx, server, password_days)
    return SetupPlan(
        server_id=server.id,
        name=server.name,
        host=server.host,
        port=server.port,
        username=server.username,
        host_key=server.host_key,
        approved_fingerprint=server.approved_fingerprint,
        backup_key=server.backup_key,
        fleet_key=await tx.secrets.get(FLEET_KEY),
        fleet_public_key=await tx.secrets.get(FLEET_PUBLIC_KEY),
        password=password,
        password_until=until,
        endpoints=await _endpoints(tx, server),
    )


async def _password(tx: UnitOfWork, server: Server, days: float) -> tuple[str | None, datetime | None]:
    """Return the first password and when it expires; one that expired is as good as gone, cleaned up or not."""
    name = server_password(server.id)
    query = select(Secret.created_at, Secret.created_at < db_now(-days * _DAY)).where(Secret.name == name)
    row = (await tx.session.execute(query)).one_or_none()
    if row is None or row[1]:
        return None, None
    return await tx.secrets.find(name), row[0] + timedelta(days=days)


async def pin_host_key(tx: UnitOfWork, plan: SetupPlan, host_key: str) -> None:
    """Pin what a person approved."""
    server = await tx.session.get_one(Server, plan.server_id)
    server.host_key, server.host_key_offered = host_key, None
    server.approved_fingerprint = fingerprint(host_key)


async def offer_host_key(tx: UnitOfWork, plan: SetupPlan, host_key: str) -> None:
    """Keep an unapproved key for a person to look at."""
    server = await tx.session.get_one(Server, plan.server_id)
    server.host_key_offered = host_key


async def register_key(tx: UnitOfWork, plan: SetupPlan, public_key: str) -> bool:
    """Keep the server's public key for the endpoints; tell whether it was new.

    A key belongs to one server: sshd takes the first line that holds it, so that of two servers with one key each
    backup of the second would be refused, or go where the first one's repositories are.
    """
    # One after the other, whichever servers they are: two that are set up at the same time must see one another.
    await tx.session.execute(select(Secret.name).where(Secret.name == FLEET_PUBLIC_KEY).with_for_update())
    query = select(Server.name).where(Server.backup_key == public_key, Server.id != plan.server_id).limit(1)
    if other := await tx.session.scalar(query):
        raise Permanent(KEY_OF_ANOTHER_SERVER(server=plan.name, other=other))
    server = await tx.session.get_one(Server, plan.server_id)
    changed = server.backup_key != public_key
    server.backup_key = public_key
    return changed


async def record_ready(
    tx: UnitOfWork, ctx: Context, plan: SetupPlan, facts: dict[str, str], changed: list[str], warnings: list[str]
) -> None:
    """Mark the server ready, forget its password, end the job."""
    changed = [*await _changed_before(tx, ctx), *changed]
    state = JobState.WARNING if warnings else JobState.SUCCEEDED
    if not await ctx.finish(tx, state, warnings=warnings, result={"changed": changed, "facts": facts}):
        return
    server = await tx.session.get_one(Server, plan.server_id)
    server.state, server.state_reason, server.state_message, server.facts = "ready", "", None, facts
    server.ready_at = server.last_seen_at = db_now()  # pyright: ignore[reportAttributeAccessIssue] - SQL expression
    await tx.secrets.delete(server_password(plan.server_id))
    if ctx.job is not None:
        tx.emit(
            ServerReady(job_id=ctx.job.id, correlation_id=ctx.correlation_id, server_id=plan.server_id, changed=changed)
        )


async def _changed_before(tx: UnitOfWork, ctx: Context) -> list[str]:
    """Return the steps that changed something in earlier attempts of this job, as its log says."""
    job = ctx.job
    if job is None or job.attempt <= 1:
        return []
    query = select(JobLog.code).where(JobLog.job_id == job.id, JobLog.attempt < job.attempt)
    codes = await tx.session.scalars(query.where(JobLog.code.startswith(CHANGED)).order_by(JobLog.attempt, JobLog.seq))
    return [code.removeprefix(CHANGED) for code in codes]


async def record_failure(tx: UnitOfWork, job: Job, error: AppError) -> None:
    """Write the reason on the server; one that was ready stays so, unless its host key is in doubt."""
    server = await tx.session.get(Server, job.server_id)
    if server is None:
        return
    server.state_reason, server.state_message = error.message, stored(error.said)
    if error.code in _HOST_KEY_CODES:
        server.state = "host_key"
    elif server.ready_at is None:
        server.state = "failed"
    if error.code not in _NO_WAY_IN:
        return
    tx.emit(
        ServerUnreachable(
            job_id=job.id,
            correlation_id=job.correlation_id,
            server_id=server.id,
            code=error.code,
            reason=error.message,
        )
    )


async def _endpoints(tx: UnitOfWork, server: Server) -> tuple[PinnedEndpoint, ...]:
    """Return the endpoints of the nodes that hold this server's repositories, or of all while it has none."""
    nodes = (await tx.session.scalars(select(BackupNode).where(BackupNode.endpoint_host_key.is_not(None)))).all()
    query = select(StoragePool.node).join(Repository, Repository.pool_id == StoragePool.id)
    used = set(await tx.session.scalars(query.where(Repository.server_id == server.id)))
    chosen = [node for node in nodes if not used or node.name in used]
    return tuple(
        PinnedEndpoint(
            Endpoint(node.name, node.endpoint_host, node.endpoint_port, node.endpoint_user),
            node.endpoint_host_key or "",
        )
        for node in sorted(chosen, key=lambda node: node.name)
    )
