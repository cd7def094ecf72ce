"""What is too old goes, in batches; what is open, running or young stays."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select, update

from services.api.security.throttle import count_try
from services.scheduler.housekeeping import Housekeeping
from shared.config.settings import KeepSettings
from shared.db.session import Database
from shared.db.stores.secrets import FLEET_KEY, server_password
from shared.db.tables import Alert, AlertChange, Approval, DeadLetter, Job, JobLog, Lease, Secret
from shared.db.tables.account import LoginSession, OneTimeLink, Throttle, User
from shared.db.tables.base import Base
from shared.domain.ids import new_id

NOW = datetime.now(UTC)
KEEP = KeepSettings(jobs_days=30, alerts_days=30, dead_letters_days=30)


async def rows(db: Database, table: Any) -> int:
    async with db.read() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


def job(days: float, *, ended: bool = True) -> dict[str, Any]:
    at = NOW - timedelta(days=days)
    return {"id": new_id(), "type": "backup_create", "created_at": at, "finished_at": at if ended else None}


async def clean(db: Database) -> dict[str, int]:
    return await Housekeeping(db, KEEP).tick(asyncio.Event())


async def test_ended_jobs_go_with_their_logs_in_batches_and_what_still_runs_stays(db: Database) -> None:
    old, young, running = [job(31 + n / 100) for n in range(60)], job(29), job(400, ended=False)

    async def add(tx: Any) -> None:
        await tx.session.execute(insert(Job), [*old, young, running])
        line = {"attempt": 1, "at": NOW, "level": "info", "source": "borg", "message": "x", "code": ""}
        lines = [line | {"job_id": one["id"], "seq": seq} for one in (*old, young) for seq in (1, 2)]
        await tx.session.execute(insert(JobLog), lines)

    await db.run(add)
    assert await clean(db) == {"jobs": 60}
    assert (await rows(db, Job), await rows(db, JobLog)) == (2, 2)
    assert await clean(db) == {}


async def test_resolved_alerts_go_with_their_history_and_open_ones_stay(db: Database) -> None:
    long_ago = NOW - timedelta(days=60)
    common = {"kind": "disk", "level": "warning", "value": 81.0, "began_at": long_ago, "subject": "s"}
    opened, closed = new_id(), new_id()

    async def add(tx: Any) -> None:
        tx.session.add(Alert(id=opened, open_key="disk|s", state="firing", **common))
        tx.session.add(Alert(id=closed, state="resolved", **common))
        await tx.session.flush()
        for alert_id in (opened, closed):
            tx.session.add(AlertChange(alert_id=alert_id, what="raise", level="warning", value=81.0))

    await db.run(add)
    assert await clean(db) == {"alerts": 1}
    assert (await rows(db, Alert), await rows(db, AlertChange)) == (1, 1)


async def test_dead_letters_go_when_their_time_is_over(db: Database) -> None:
    letters = [{"id": new_id(), "message_key": str(days), "subject": "s", "code": "c", "reason": "r", "remedy": "",
                "deliveries": 1, "at": NOW - timedelta(days=days)} for days in (29, 31)]  # fmt: skip
    await db.run(lambda tx: tx.session.execute(insert(DeadLetter), letters))
    assert await clean(db) == {"dead_letters": 1}


async def test_a_password_that_set_up_did_not_use_up_goes_after_a_day_and_other_secrets_stay(db: Database) -> None:
    server_id, other_id = new_id(), new_id()
    old, young = server_password(server_id), server_password(other_id)

    async def add(tx: Any) -> None:
        for name in (old, young, FLEET_KEY):
            await tx.secrets.put(name, "canary")
        await tx.session.flush()
        at = NOW - timedelta(days=1, hours=1)
        await tx.session.execute(update(Secret).where(Secret.name != young).values(created_at=at))

    await db.run(add)
    assert await clean(db) == {"secrets": 1}
    assert await db.run(lambda tx: tx.secrets.find(old)) is None
    assert await db.run(lambda tx: tx.secrets.find(young)) == "canary"
    assert await db.run(lambda tx: tx.secrets.find(FLEET_KEY)) == "canary"


async def test_what_logins_leave_goes_in_batches_and_what_is_in_force_stays(db: Database) -> None:
    """Sessions stayed for ever; the failures of strangers went all at once, in the transaction of whoever came next."""
    user, old, ahead = new_id(), NOW - timedelta(days=40), NOW + timedelta(days=1)
    common = {"methods": "password", "address": "", "agent": ""}
    sessions = [
        common | {"id": new_id(), "digest": f"{n:064}", "user_id": user, "expires_at": old if n else ahead}
        for n in range(4)
    ]
    links = [
        {"digest": f"{n:064}", "kind": "reset", "user_id": user, "expires_at": old if n else ahead} for n in range(3)
    ]
    failures = [{"key": f"address:{n}", "last_at": old if n else NOW} for n in range(1100)]

    async def add(tx: Any) -> None:
        await tx.session.execute(insert(User), [{"id": user, "name": "ada"}])
        await tx.session.execute(insert(LoginSession), sessions)
        await tx.session.execute(insert(OneTimeLink), links)
        await tx.session.execute(insert(Throttle), failures)

    await db.run(add)
    await db.run(lambda tx: count_try(tx.session, {"address:1": 20, "account:ada": 5}))
    assert await rows(db, Throttle) == 1101, "a login deletes nothing of others"
    async with db.read() as session:
        counted = await session.scalar(select(Throttle.failures).where(Throttle.key == "address:1"))
    assert counted == 1, "it begins anew"
    assert await clean(db) == {"sessions": 3, "one_time_links": 2, "throttles": 1098}
    assert (await rows(db, LoginSession), await rows(db, OneTimeLink), await rows(db, Throttle)) == (1, 1, 3)


async def test_leases_of_views_that_are_over_go_and_those_of_things_keep_their_epoch(db: Database) -> None:
    """Each restore, search and download left a row for ever."""
    old, young = NOW - timedelta(days=40), NOW - timedelta(days=1)
    names = {"view:old": old, "view:young": young, "view:ahead": NOW + timedelta(days=400), "repository:old": old}
    leases = [{"name": name, "holder": "", "epoch": 7, "until": until} for name, until in names.items()]
    await db.run(lambda tx: tx.session.execute(insert(Lease), leases))
    assert await clean(db) == {"leases": 1}
    async with db.read() as session:
        left = set(await session.scalars(select(Lease.name).where(Lease.name.in_(names))))
    assert left == set(names) - {"view:old"}
    assert await db.run(lambda tx: tx.leases.acquire("repository:old", "x", 9)) == 8


async def test_what_was_decided_long_ago_goes_and_what_is_open_stays(db: Database) -> None:
    common = {
        "kind": "delete_backup",
        "fields": {},
        "noun": "backups",
        "asked_by": "outside",
        "requested_by": "x",
        "run_at": NOW,
    }
    old = NOW - timedelta(days=400)
    rows_of = [
        common | {"id": new_id(), "state": state, "open_key": key, "requested_at": at}
        for state, key, at in (
            ("asked", "a", old),
            ("approved", "b", old),
            ("done", None, old),
            ("rejected", None, NOW),
        )
    ]
    await db.run(lambda tx: tx.session.execute(insert(Approval), rows_of))
    assert await clean(db) == {"approvals": 1}
    async with db.read() as session:
        assert set(await session.scalars(select(Approval.state))) == {"asked", "approved", "rejected"}


BOUNDED = {
    "alert_changes": "with their alert", "alert_rules": "settings", "api_tokens": "settings", "archives": "what there is",
    "audit_checks": "one row", "audit_entries": "kept for ever", "audit_seals": "kept for ever", "access_refusals": "some twenty a server", "backup_jobs": "settings", "backup_nodes": "settings", "channel_tags": "settings",
    "four_eyes": "settings", "grants": "settings", "group_tags": "settings", "job_log": "with their job", "kit_entries": "one a repository", "maintenance_windows":
    "settings", "notification_channels": "settings", "outbox": "the reaper", "past_measures": "services.backup.truth.measures",
    "pauses": "settings", "recovery_codes": "some of each user", "repositories": "settings", "run_evidence": "with their job",
    "run_limits": "settings", "schedules": "settings", "server_groups": "settings", "server_mounts": "with their server",
    "server_rollups": "services.stats.history", "server_stats": "services.stats.history", "server_status": "one a server",
    "server_tags": "settings", "servers": "settings", "service_instances": "shared.runtime.presence", "storage_pools": "settings",
    "tags": "settings", "users": "settings",
}  # fmt: skip
"""Tables that housekeeping leaves alone, and why they do not grow without end."""


async def test_no_table_grows_for_ever(db: Database) -> None:
    cleaned = {kind.table.__tablename__ for kind in Housekeeping(db, KEEP).kinds}
    assert not cleaned & set(BOUNDED)
    assert cleaned | set(BOUNDED) == set(Base.metadata.tables), "say who keeps a new table small"


async def test_a_stop_ends_a_long_clean_up_between_two_batches(db: Database) -> None:
    await db.run(lambda tx: tx.session.execute(insert(Job), [job(40) for _ in range(30)]))
    stopping = asyncio.Event()
    stopping.set()
    assert await Housekeeping(db, KEEP).tick(stopping) == {}
    assert await rows(db, Job) == 30
