"""What the setup service does with each message: claim, act, record."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import select

from services.setup.plan import (
    CHANGED,
    load_setup,
    offer_host_key,
    pin_host_key,
    record_failure,
    record_ready,
    register_key,
)
from services.setup.ports import Work
from services.setup.steps import STEPS
from shared.db.stores.requests import request_setup, requested_before
from shared.db.tables.server import Server
from shared.domain.messages.servers import HOST_KEY_UNKNOWN_SHOWN, SERVER_UNKNOWN
from shared.errors import Permanent
from shared.ssh.port import Credentials, HostKeyChanged, Target, fingerprint

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from services.setup.ports import SetupPlan
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.errors import AppError
    from shared.events.server import ServerSetup
    from shared.runtime.context import Context
    from shared.ssh.port import Connection, Ssh


async def setup_server(event: ServerSetup, ctx: Context, *, ssh: Ssh, password_days: float) -> None:
    """Claim the job, take the steps, record the facts; an outside request is first made a job."""
    if event.job_id is None:
        await _place(event, ctx)
        return
    job = await ctx.claim(event.job_id)
    if job is None:
        return

    plan = await ctx.run(lambda tx: load_setup(tx, job, password_days))
    target = Target(plan.name, plan.host, plan.port, plan.username, await _trusted_key(plan, ctx, ssh))
    async with _logged_in(plan, target, ctx, ssh) as connection:
        by_key = partial(ssh.connect, target, Credentials(private_key=plan.fleet_key))
        facts, changed, warnings = await _take_steps(plan, connection, by_key, ctx)

    await ctx.run(lambda tx: record_ready(tx, ctx, plan, facts, changed, warnings))


async def announce_failure(tx: UnitOfWork, job: Job, error: AppError) -> None:
    """Show on the server why it is not ready."""
    await record_failure(tx, job, error)


async def _place(event: ServerSetup, ctx: Context) -> None:
    async def place(tx: UnitOfWork) -> None:
        if await requested_before(tx, ctx.key):
            return
        server = await tx.session.scalar(select(Server).where(Server.name == event.server)) if event.server else None
        if server is None:
            raise Permanent(SERVER_UNKNOWN(server=event.server))
        await request_setup(tx, server, request_key=ctx.key)

    await ctx.run(place)


async def _trusted_key(plan: SetupPlan, ctx: Context, ssh: Ssh) -> str:
    """Return the pinned host key; pin one only if a person approved its fingerprint."""
    if plan.host_key is not None:
        return plan.host_key
    ctx.progress("host key")
    offered = await ssh.host_key(plan.host, plan.port)
    shown = fingerprint(offered)
    if plan.approved_fingerprint == shown:
        await ctx.run(lambda tx: pin_host_key(tx, plan, offered))
        ctx.log("info", "setup", f"host key {shown} pinned, as approved")
        return offered
    await ctx.run(lambda tx: offer_host_key(tx, plan, offered))
    raise Permanent(HOST_KEY_UNKNOWN_SHOWN(server=plan.name, shown=shown, approved=plan.approved_fingerprint))


@contextlib.asynccontextmanager
async def _logged_in(plan: SetupPlan, target: Target, ctx: Context, ssh: Ssh) -> AsyncGenerator[Connection]:
    """Log in by the fleet's key, or by the password that was given for the first time."""
    ctx.progress("connecting")
    async with contextlib.AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(ssh.connect(target, Credentials(private_key=plan.fleet_key)))
        except HostKeyChanged as error:
            offered = error.offered
            await ctx.run(lambda tx: offer_host_key(tx, plan, offered))
            raise
        except Permanent as error:
            if error.code != "login_refused" or plan.password is None:
                raise
            connection = await stack.enter_async_context(ssh.connect(target, Credentials(password=plan.password)))
            ctx.log("info", "setup", "logged in by password")
        yield connection


async def _take_steps(
    plan: SetupPlan,
    connection: Connection,
    by_key: Callable[[], AbstractAsyncContextManager[Connection]],
    ctx: Context,
) -> tuple[dict[str, str], list[str], list[str]]:
    async def register(key: str) -> bool:
        return await ctx.run(lambda tx: register_key(tx, plan, key))

    work = Work(plan, connection, connection, {}, register, by_key)
    changed: list[str] = []
    warnings: list[str] = []
    for number, (name, step) in enumerate(STEPS, start=1):
        ctx.progress(name, step=number, steps=len(STEPS))
        result = await step(work)
        mark = "changed" if result.changed else "unchanged"
        level = "warning" if result.warning else "info"
        ctx.log(level, "setup", f"{name}: {result.detail} ({mark})", code=CHANGED + name if result.changed else "")
        changed += [name] if result.changed else []
        warnings += [result.warning] if result.warning else []
    return work.facts, changed, warnings
