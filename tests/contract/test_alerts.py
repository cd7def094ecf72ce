"""Incidents from figures, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import event, insert, select, update

from services.stats.alerts.evaluate import Alerts, evaluate_thresholds
from services.stats.metrics.queries import load_figures
from services.stats.metrics.snapshot import FAMILIES, MetricsSnapshot
from shared.db.session import Database
from shared.db.stores.adoption import adopt
from shared.db.tables import (
    Alert,
    AlertChange,
    AlertRule,
    Archive,
    BackupJob,
    Job,
    Lease,
    MaintenanceWindow,
    Notification,
    NotificationChannel,
    OutboxRow,
    Repository,
    RunEvidenceRow,
    Server,
    ServerRollup,
    ServerStatus,
    StoragePool,
    db_now,
)
from shared.domain.ids import new_id

HOUR = timedelta(hours=1)


@pytest.fixture
async def web1(db: Database) -> Server:
    async def add(tx: Any) -> Server:
        server = Server(name="web1", host="h", facts={})
        tx.session.add(server)
        return server

    return await db.run(add)


def sample(**values: Any) -> dict[str, Any]:
    return {"disk_percent": 50.0, "disk_total_gb": 100.0, "disk_free_gb": 50.0, "inodes_percent": 1.0} | values


async def seen(db: Database, server: Server, *, up: bool = True, since: timedelta = HOUR, **values: Any) -> None:
    """Record a look and evaluate."""

    async def record(tx: Any) -> None:
        status = await tx.session.get(ServerStatus, server.id)
        if status is None:
            status = ServerStatus(server_id=server.id, up=up)
            tx.session.add(status)
        status.up, status.sample, status.changed_at = up, sample(**values), datetime.now(UTC) - since

    await db.run(record)
    await evaluated(db)


async def evaluated(db: Database) -> None:
    async with db.read() as session:
        figures = await load_figures(session)
    await db.run(lambda tx: evaluate_thresholds(tx, figures))


async def rows(db: Database, table: Any) -> list[Any]:
    async with db.read() as session:
        return list(await session.scalars(select(table).order_by(table.id)))


async def facts(db: Database) -> list[str]:
    return [row.subject for row in await rows(db, OutboxRow)]


async def test_a_full_disk_is_one_incident_from_its_beginning_to_its_end(db: Database, web1: Server) -> None:
    for percent in (85.0, 86.0, 95.0, 79.0, 70.0):
        await seen(db, web1, disk_percent=percent)
    (alert,) = await rows(db, Alert)
    assert (alert.kind, alert.subject, alert.state, alert.open_key) == ("disk", "server:web1:/", "resolved", None)
    assert alert.resolved_at is not None
    assert [(change.what, change.level) for change in await rows(db, AlertChange)] == [
        ("raise", "warning"), ("relevel", "critical"), ("relevel", "warning"), ("resolve", "warning"),
    ]  # fmt: skip
    assert sorted(await facts(db)) == ["alert.raised"] * 3 + ["alert.resolved"]
    await seen(db, web1, disk_percent=91.0)
    assert len(await rows(db, Alert)) == 2  # a new incident, the old one stays on record


async def test_a_peak_that_does_not_last_is_forgotten_and_one_that_lasts_is_raised(db: Database, web1: Server) -> None:
    await seen(db, web1, cpu_usage_percent=99.0)
    (alert,) = await rows(db, Alert)
    assert alert.state == "pending"
    await seen(db, web1, cpu_usage_percent=10.0)
    assert await rows(db, Alert) == []
    await seen(db, web1, cpu_usage_percent=99.0)
    began = datetime.now(UTC) - timedelta(seconds=601)
    await db.run(lambda tx: tx.session.execute(update(Alert).values(began_at=began)))
    await seen(db, web1, cpu_usage_percent=99.0)
    (alert,) = await rows(db, Alert)
    assert (alert.state, alert.level, alert.threshold) == ("firing", "critical", 95.0)
    assert await facts(db) == ["alert.raised"]


async def test_a_dead_server_is_one_incident_and_its_usage_is_unknown(db: Database, web1: Server) -> None:
    await seen(db, web1, disk_percent=95.0)
    await seen(db, web1, up=False, since=timedelta(minutes=10), disk_percent=95.0)
    kinds = {alert.kind: alert.state for alert in await rows(db, Alert)}
    assert kinds == {"disk": "firing", "server_unreachable": "firing"}  # not resolved by not being known
    await seen(db, web1, since=timedelta(0))
    assert {alert.state for alert in await rows(db, Alert)} == {"resolved"}


async def test_a_servers_own_threshold_wins_over_the_fleets_and_that_over_the_built_in(
    db: Database, web1: Server
) -> None:
    common = {"for_seconds": 0, "hysteresis": 0, "enabled": True}
    fleet = {"id": new_id(), "kind": "disk", "server": "", "warning": 40.0, "critical": None} | common
    await db.run(lambda tx: tx.session.execute(insert(AlertRule).values(**fleet)))
    await seen(db, web1)
    (alert,) = await rows(db, Alert)
    assert (alert.state, alert.threshold) == ("firing", 40.0)
    own = {"id": new_id(), "kind": "disk", "server": "web1", "warning": 60.0, "critical": None} | common
    await db.run(lambda tx: tx.session.execute(insert(AlertRule).values(**own)))
    await seen(db, web1)
    assert [alert.state for alert in await rows(db, Alert)] == ["resolved"]
    await db.run(
        lambda tx: tx.session.execute(update(AlertRule).where(AlertRule.server == "web1").values(enabled=False))
    )
    await seen(db, web1, disk_percent=99.0)
    assert [alert.state for alert in await rows(db, Alert)] == ["resolved"]


async def test_the_first_tag_with_a_threshold_of_its_own_decides(db: Database, web1: Server) -> None:
    def rule(tag: str, warning: float) -> dict[str, Any]:
        return {"id": new_id(), "kind": "disk", "server": "", "tag": tag, "warning": warning, "critical": None,
                "for_seconds": 0, "hysteresis": 0, "enabled": True}  # fmt: skip

    async def prepare(tx: Any) -> None:
        await tx.session.execute(insert(AlertRule), [rule("db", 40.0), rule("web", 60.0), rule("", 20.0)])
        await tx.session.execute(update(Server).values(tags=["new", "web", "db"]))

    await db.run(prepare)
    await seen(db, web1, disk_percent=50.0)
    assert await rows(db, Alert) == []
    async with db.read() as session:
        figures = await load_figures(session)
    exported = {labels[2]: value for name, labels, value in figures
                if name == "borgfleet_threshold" and tuple(labels[:2]) == ("disk", "warning")}  # fmt: skip
    assert exported == {"": 20.0, "web1": 60.0}
    await db.run(lambda tx: tx.session.execute(update(Server).values(tags=["db", "web"])))
    await seen(db, web1, disk_percent=50.0)
    assert [alert.threshold for alert in await rows(db, Alert)] == [40.0]


async def test_maintenance_of_a_tag_is_of_all_its_servers(db: Database, web1: Server) -> None:
    now = datetime.now(UTC)
    window = {"id": new_id(), "server": "", "tag": "db", "starts_at": now - HOUR, "ends_at": now + HOUR, "reason": ""}

    async def prepare(tx: Any) -> None:
        await tx.session.execute(insert(MaintenanceWindow).values(**window))
        await tx.session.execute(update(Server).values(tags=["db"]))

    await db.run(prepare)
    await seen(db, web1, disk_percent=99.0)
    assert await rows(db, Alert) == []
    await db.run(lambda tx: tx.session.execute(update(Server).values(tags=["web"])))
    await seen(db, web1, disk_percent=99.0)
    assert len(await rows(db, Alert)) == 1


@pytest.mark.parametrize("whose", ["web1", ""])
async def test_in_a_maintenance_window_nothing_begins_and_what_is_open_may_end(
    db: Database, web1: Server, whose: str
) -> None:
    await seen(db, web1, disk_percent=95.0)
    now = datetime.now(UTC)
    window = {"id": new_id(), "server": whose, "starts_at": now - HOUR, "ends_at": now + HOUR, "reason": ""}
    await db.run(lambda tx: tx.session.execute(insert(MaintenanceWindow).values(**window)))
    await seen(db, web1, disk_percent=95.0, inodes_percent=99.0)
    assert [(alert.kind, alert.state) for alert in await rows(db, Alert)] == [("disk", "firing")]
    await seen(db, web1, inodes_percent=99.0)
    assert [alert.state for alert in await rows(db, Alert)] == ["resolved"]
    over = update(MaintenanceWindow).values(ends_at=now - timedelta(seconds=1))
    await db.run(lambda tx: tx.session.execute(over))
    await seen(db, web1, inodes_percent=99.0)
    assert [alert.kind for alert in await rows(db, Alert)] == ["disk", "inodes"]


async def test_an_incident_of_a_server_that_was_deleted_ends(db: Database, web1: Server) -> None:
    await seen(db, web1, disk_percent=95.0)

    async def delete(tx: Any) -> None:
        await tx.session.delete(await tx.session.get_one(Server, web1.id))

    await db.run(delete)
    await evaluated(db)
    assert [alert.state for alert in await rows(db, Alert)] == ["resolved"]


async def test_an_incident_of_a_file_system_that_was_unmounted_ends(db: Database, web1: Server) -> None:
    full = {"mount_point": "/srv", "percent": 95.0, "inodes_percent": None, "total_bytes": 100, "free_bytes": 5}
    await seen(db, web1, mounts=[full])
    assert [alert.state for alert in await rows(db, Alert)] == ["firing"]
    await seen(db, web1, up=False, since=timedelta(0), mounts=[full])
    assert [alert.state for alert in await rows(db, Alert)] == ["firing"]  # unknown is not gone
    await seen(db, web1, mounts=[])
    assert [alert.state for alert in await rows(db, Alert)] == ["resolved"]


@pytest.mark.parametrize("length", [600, 1024])
@pytest.mark.parametrize("letter", ["a", "🙂"])
async def test_full_file_systems_of_the_longest_names_are_incidents_of_their_own(
    db: Database, web1: Server, length: int, letter: str
) -> None:
    """Such a name did not fit into an incident: of that full disk nobody heard, each minute anew."""
    points = ["/" + letter * (length - 3) + end for end in ("/1", "/2")]
    full = [
        {"mount_point": point, "percent": 95.0, "inodes_percent": 99.0, "total_bytes": 100, "free_bytes": 5}
        for point in points
    ]
    for _ in range(2):
        await seen(db, web1, mounts=full)
        found = [(alert.kind, alert.state) for alert in await rows(db, Alert)]
        assert sorted(found) == [("disk", "firing")] * 2 + [("inodes", "firing")] * 2
    assert len({alert.subject for alert in await rows(db, Alert)}) == 2
    assert all(alert.subject.startswith(f"server:web1:/{letter * 500}") for alert in await rows(db, Alert))
    await seen(db, web1, mounts=full[:1])
    assert [alert.state for alert in await rows(db, Alert)].count("firing") == 2
    await seen(db, web1, mounts=[])
    assert {alert.state for alert in await rows(db, Alert)} == {"resolved"}


async def test_a_full_pool_that_goes_missing_stays_an_incident_until_it_is_removed(db: Database, web1: Server) -> None:
    await definition(db, web1)
    await evaluated(db)

    async def full() -> list[str]:
        return [alert.state for alert in await rows(db, Alert) if alert.kind == "pool_full"]

    assert await full() == ["firing"]
    lost = update(StoragePool).values(size_bytes=None, free_bytes=None)
    await db.run(lambda tx: tx.session.execute(lost))
    await evaluated(db)
    assert await full() == ["firing"]


async def test_incidents_of_a_backup_job_that_is_switched_off_end(db: Database, web1: Server) -> None:
    await definition(db, web1, "failed", "failed", archives=1)
    await evaluated(db)
    await db.run(lambda tx: tx.session.execute(update(BackupJob).values(enabled=False)))
    await evaluated(db)
    states = {alert.kind: alert.state for alert in await rows(db, Alert)}
    assert states == {"backup_failed": "resolved", "backup_too_old": "resolved", "pool_full": "firing"}


async def test_a_disk_that_fills_is_foretold(db: Database, web1: Server) -> None:
    now = int(datetime.now(UTC).timestamp())
    points = [
        {"server_id": web1.id, "step": 300, "bucket": (now - 5 * 3600 + n * 300) // 300 * 300, "samples": 1,
         "disk_mean": 40.0 + n / 6}
        for n in range(60)
    ]  # fmt: skip
    await db.run(lambda tx: tx.session.execute(insert(ServerRollup), points))
    await seen(db, web1, disk_percent=50.0)
    (alert,) = await rows(db, Alert)
    assert (alert.kind, alert.state, alert.level) == ("disk_full_soon", "pending", "warning")
    assert alert.value == pytest.approx(25.0, abs=0.5)  # two points an hour, fifty to go


async def test_one_evaluator_of_all_replicas_works_at_a_time(db: Database, web1: Server) -> None:
    await db.run(lambda tx: tx.leases.acquire("stats:alerts", "another", 60))
    await Alerts(db).evaluate([("borgfleet_x", (), 1.0)])  # without its lease it does nothing; these would raise


async def test_without_any_figure_nothing_begins_and_nothing_breaks(db: Database, web1: Server) -> None:
    await Alerts(db).evaluate([])
    assert await rows(db, Alert) == []


async def fleet(
    db: Database, count: int, *, silent: timedelta | None = timedelta(minutes=10), channels: int = 3
) -> None:
    """Servers that all fell silent at once, some with tags, and channels of which one wants one tag alone."""
    servers = [
        {"id": new_id(), "name": f"s{n:04}", "host": "h", "facts": {}, "tags": ["db"] if n % 4 == 0 else []}
        for n in range(count)
    ]
    since = datetime.now(UTC) - (silent or timedelta(0))
    status = [
        {"server_id": one["id"], "up": silent is None, "changed_at": since, "sample": sample()} for one in servers
    ]
    told = [
        {"id": new_id(), "name": f"c{n}", "kind": "webhook", "label": "x", "tags": ["db"] if n == 2 else []}
        for n in range(channels)
    ]

    async def add(tx: Any) -> None:
        await tx.session.execute(insert(Server), servers)
        await tx.session.execute(insert(ServerStatus), status)
        await tx.session.execute(insert(NotificationChannel), told)

    await db.run(add)
    for _ in range(count // 200 + 1):
        await db.run(adopt)


async def of_all(db: Database) -> list[Any]:
    async with db.read() as session:
        return await load_figures(session)


@pytest.mark.parametrize("count", [200, 400])
async def test_a_whole_fleet_that_falls_silent_at_once_is_told_in_short_transactions(db: Database, count: int) -> None:
    await fleet(db, count)
    commits: list[int] = []
    db.on_emit(lambda emitted: commits.append(len(emitted)))
    tries: list[list[str]] = [[]]
    event.listen(db.engine.sync_engine, "begin", lambda _connection: tries.append([]))
    event.listen(db.engine.sync_engine, "before_cursor_execute", lambda *about: tries[-1].append(about[2]))
    alerts = Alerts(db)
    figures = await of_all(db)
    tries[:] = [[]]
    await alerts.evaluate(figures)
    assert commits == [50] * (count // 50)
    assert len(tries) > count // 50
    # Some statements for all, some for each fifty; where the driver sends rows one by one they are those rows alone.
    # Counted by transaction: on a slow machine one may run out of time, and be tried again.
    for statements in tries:
        questions = [one for one in statements if one.lstrip().startswith("SELECT")]
        assert len(questions) <= 12, "nothing is read for each incident"
    raised = await rows(db, Alert)
    assert {(alert.kind, alert.state) for alert in raised} == {("server_unreachable", "firing")}
    assert len(raised) == len(await rows(db, AlertChange)) == count
    assert len(await rows(db, Notification)) == count * 2 + count // 4
    await db.run(lambda tx: tx.session.execute(update(ServerStatus).values(up=True, changed_at=db_now())))
    commits.clear()
    await alerts.evaluate(await of_all(db))
    assert commits == [50] * (count // 50)
    assert {alert.state for alert in await rows(db, Alert)} == {"resolved"}


async def test_an_incident_that_cannot_be_written_keeps_no_other_from_being_told(db: Database) -> None:
    await fleet(db, 60)
    long_ago = (datetime.now(UTC) - HOUR).timestamp()
    bad = [
        ("borgfleet_server_up", ("s0030\udcff",), 0),
        ("borgfleet_server_up_since_timestamp_seconds", ("s0030\udcff",), long_ago),
    ]
    await Alerts(db).evaluate([*await of_all(db), *bad])
    assert len(await rows(db, Alert)) == 60
    assert len(await rows(db, Notification)) == 60 * 2 + 15


async def test_who_lost_the_lead_in_the_middle_of_an_evaluation_writes_nothing_more(db: Database) -> None:
    await fleet(db, 120)
    alerts = Alerts(db)
    passed_on = False

    def told(_emitted: Any) -> None:
        nonlocal passed_on
        passed_on = True

    db.on_emit(told)
    real = alerts._write

    async def write(situation: Any, keys: Any, tx: Any) -> None:
        if passed_on:
            await pass_on_in(tx)
        await real(situation, keys, tx)

    async def pass_on_in(tx: Any) -> None:
        other = {"holder": "another", "until": db_now(60)}
        await tx.session.execute(update(Lease).where(Lease.name == "stats:alerts").values(**other))

    alerts._write = write
    await alerts.evaluate(await of_all(db))
    assert len(await rows(db, Alert)) == 50


async def test_what_a_person_acknowledged_meanwhile_stays_acknowledged(db: Database) -> None:
    await fleet(db, 2)
    alerts = Alerts(db)
    await alerts.evaluate(await of_all(db))
    later = await of_all(db)
    until = datetime.now(UTC) + HOUR
    known = update(Alert).values(state="acknowledged", acknowledged_until=until, acknowledged_note="I know")
    await db.run(lambda tx: tx.session.execute(known))
    await alerts.evaluate(later)
    assert {(alert.state, alert.acknowledged_note) for alert in await rows(db, Alert)} == {("acknowledged", "I know")}


async def test_a_channel_whose_wishes_make_no_sense_keeps_no_other_from_hearing(db: Database) -> None:
    await fleet(db, 3, channels=2)
    broken = update(NotificationChannel).where(NotificationChannel.name == "c0").values(least_level="loud")
    await db.run(lambda tx: tx.session.execute(broken))
    await Alerts(db).evaluate(await of_all(db))
    assert len(await rows(db, Notification)) == 3


BROKEN_CHANNELS: dict[str, dict[str, Any]] = {
    "a level of later": {"least_level": "loud"},
    "kinds that are a number": {"kinds": 5},
    "kinds that cannot be told apart": {"kinds": [["disk"]]},
    "tags that are none": {"tags": None},
    "hours of no zone": {"hours": {"zone": "Mars/Base", "days": [1, 2, 3, 4, 5, 6, 7], "begins": "08:00", "ends": "18:00"}},
    "hours that are a list": {"hours": [1]},
    "hours without a day's number": {"hours": {"zone": "UTC", "days": 5, "begins": "08:00", "ends": "18:00"}},
    "a digest of an age": {"digest_seconds": 2**31 - 1, "hours": {"zone": "UTC"}},
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN_CHANNELS)
async def test_a_channel_that_no_version_of_ours_understands_keeps_no_incident_from_being_told(
    db: Database, broken: str
) -> None:
    await fleet(db, 3, channels=2)
    change = update(NotificationChannel).where(NotificationChannel.name == "c0").values(**BROKEN_CHANNELS[broken])
    await db.run(lambda tx: tx.session.execute(change))
    await Alerts(db).evaluate(await of_all(db))
    assert len(await rows(db, Alert)) == 3
    assert len(await rows(db, Notification)) == 3


@pytest.mark.parametrize("poison", ["kind", "state", "level", "tags", "sample"])
async def test_one_row_that_makes_no_sense_silences_no_alert_of_the_others(db: Database, poison: str) -> None:
    """As after a downgrade: a kind, a state or a shape that only the newer version knows."""
    await fleet(db, 3)
    expected = {"server:s0000", "server:s0001", "server:s0002"}

    async def poisoned(tx: Any) -> None:
        one = update(Server).where(Server.name == "s0000")
        if poison == "kind":
            tx.session.add(AlertRule(kind="of_later", server="", tag="", warning=1.0, critical=2.0))
        elif poison in ("state", "level"):
            values = {"state": "firing", "level": "warning", poison: "of_later"}
            key = {"open_key": "server_unreachable|server:s0000", "kind": "server_unreachable"}
            tx.session.add(Alert(**key, subject="server:s0000", server="s0000", value=1.0, threshold=1.0, **values))
        elif poison == "tags":
            await tx.session.execute(one.values(tags=5))
        else:
            first = select(Server.id).where(Server.name == "s0000").scalar_subquery()
            broken = {"boot_time": "yesterday", "cpu_usage_percent": "high", "cpu_cores": "many", "mounts": [{}]}
            change = update(ServerStatus).where(ServerStatus.server_id == first)
            await tx.session.execute(change.values(up=True, sample=broken))

    await db.run(poisoned)
    await Alerts(db).evaluate(await of_all(db))
    raised = {alert.subject for alert in await rows(db, Alert) if alert.state == "firing"}
    assert raised >= expected - {"server:s0000"}
    if poison in ("kind", "tags"):
        assert raised == expected


async def definition(db: Database, server: Server, *runs: str, archives: int = 0) -> BackupJob:
    async def add(tx: Any) -> BackupJob:
        pool = StoragePool(
            name="main", node="n", path="/p", size_bytes=100, free_bytes=5, measured_at=datetime.now(UTC)
        )
        tx.session.add(pool)
        await tx.session.flush()
        repository = Repository(name="r", server_id=server.id, pool_id=pool.id, path="/p/web1/r")
        tx.session.add(repository)
        await tx.session.flush()
        made = BackupJob(
            name="web1-r", server_id=server.id, repository_id=repository.id, sources=["/"], rpo_seconds=600
        )
        tx.session.add(made)
        await tx.session.flush()
        now = datetime.now(UTC)
        for number, state in enumerate(runs):
            at = now - timedelta(minutes=len(runs) - number)
            tx.session.add(Job(type="backup_create", backup_job_id=made.id, state=state, created_at=at, finished_at=at))
        for number in range(archives):
            at = now - timedelta(hours=archives - number)
            tx.session.add(
                Archive(
                    repository_id=repository.id, server_id=server.id, backup_job_id=made.id, name=f"a{number}",
                    started_at=at, ended_at=at, created_at=at, duration=10.0 * (number + 1), original_size=100,
                    trusted=True,
                )
            )  # fmt: skip
        return made

    return await db.run(add)


async def test_backups_that_fail_and_grow_old_and_a_pool_that_fills(db: Database, web1: Server) -> None:
    await definition(db, web1, "succeeded", "failed", "cancelled", "failed", "failed", archives=3)
    await evaluated(db)
    alerts = {alert.kind: (alert.level, round(alert.value, 1)) for alert in await rows(db, Alert)}
    assert alerts == {
        "backup_failed": ("critical", 3.0),
        "backup_too_old": ("critical", 6.0),
        "pool_full": ("critical", 95.0),
    }


async def test_doubtful_backups_are_told_until_somebody_accepts_the_last_and_meet_no_target(
    db: Database, web1: Server
) -> None:
    """They were good for the target: a source that was emptied stayed unnoticed from its second night on."""
    await definition(db, web1, "succeeded", "warning", "warning", archives=4)
    emptied = update(Archive).where(Archive.name.in_(["a1", "a2", "a3"])).values(trusted=False, state="warning")
    await db.run(lambda tx: tx.session.execute(emptied))
    await evaluated(db)
    alerts = {alert.kind: (alert.level, round(alert.value, 1)) for alert in await rows(db, Alert)}
    assert alerts["backup_doubtful"] == ("critical", 3.0)
    assert alerts["backup_too_old"] == ("critical", 24.0)  # four hours of ten minutes, not one
    accepted = update(Archive).where(Archive.name == "a3").values(accepted_at=datetime.now(UTC), accepted_by="admin")
    await db.run(lambda tx: tx.session.execute(accepted))
    await evaluated(db)
    found = {alert.kind: (alert.state, round(alert.value, 1)) for alert in await rows(db, Alert)}
    assert found["backup_doubtful"] == ("resolved", 0.0)
    assert found["backup_too_old"] == ("firing", 6.0)


async def test_a_post_hook_that_is_owed_is_told_until_it_is_paid_though_the_backup_job_is_off(
    db: Database, web1: Server
) -> None:
    """One line of a log knew of it: the database stayed frozen."""
    made = await definition(db, web1, "cancelled", archives=1)
    (job,) = await rows(db, Job)

    async def owe(tx: Any) -> None:
        tx.session.add(RunEvidenceRow(job_id=job.id, backup_job_id=made.id, hook_owed=True))
        await tx.session.execute(update(BackupJob).values(enabled=False))

    await db.run(owe)
    await evaluated(db)
    alerts = {alert.kind: (alert.level, alert.state, alert.value) for alert in await rows(db, Alert)}
    assert alerts["post_hook_owed"] == ("warning", "firing", 1.0)
    await db.run(lambda tx: tx.session.execute(update(RunEvidenceRow).values(hook_owed=False)))
    await evaluated(db)
    assert {alert.kind: alert.state for alert in await rows(db, Alert)}["post_hook_owed"] == "resolved"


async def test_a_backup_from_the_future_meets_no_target(db: Database, web1: Server) -> None:
    await definition(db, web1, "succeeded", archives=2)
    ahead = update(Archive).where(Archive.name == "a1").values(created_at=datetime.now(UTC) + timedelta(days=365))
    await db.run(lambda tx: tx.session.execute(ahead))
    await evaluated(db)
    alerts = {alert.kind: round(alert.value, 1) for alert in await rows(db, Alert)}
    assert alerts["backup_too_old"] == 12.0


async def test_the_figures_are_served_as_metrics_and_unknown_ones_are_left_out(db: Database, web1: Server) -> None:
    await definition(db, web1, "succeeded", "warning", archives=3)
    await seen(db, web1, cpu_usage_percent=0.0, mounts=[])
    registry = CollectorRegistry()
    figures = MetricsSnapshot(db, registry, Alerts(db))
    assert "borgfleet_server_up{" not in generate_latest(registry).decode()
    await figures.refresh()
    text = generate_latest(registry).decode()
    assert 'borgfleet_server_up{server="web1"} 1.0' in text
    assert 'borgfleet_server_cpu_usage_ratio{server="web1"} 0.0' in text
    assert "borgfleet_server_temperature_celsius{" not in text
    assert 'borgfleet_backup_last_status{backup_job="web1-r",server="web1"} 1.0' in text
    assert 'borgfleet_backup_typical_duration_seconds{backup_job="web1-r",server="web1"} 20.0' in text
    assert 'borgfleet_backup_rpo_seconds{backup_job="web1-r",server="web1"} 600.0' in text
    assert 'borgfleet_pool_free_bytes{pool="main"} 5.0' in text
    assert 'borgfleet_threshold{kind="disk",level="critical",server=""} 90.0' in text
    assert set(FAMILIES) == {family.name for family in figures.describe()}
