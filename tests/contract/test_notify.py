"""From an incident's change to a delivered message, on both databases; only the way out is a fake."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from services.stats.alerts import notify
from services.stats.alerts.audience import load_audience, note
from services.stats.alerts.notify import Notifier
from shared.db.session import Database
from shared.db.stores.secrets import Secrets, channel_url
from shared.db.tables import Alert, AlertChange, Notification, NotificationChannel, Secret, Server
from shared.domain.ids import new_id
from shared.errors import AppError, Invalid, Transient
from shared.notify.port import Address, Message
from shared.secrets.envelope import KeyRing
from tests.harness.patience import WAIT


class Recorder:
    """A sender that keeps what it was given, or fails as told."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.error: AppError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()

    async def check(self, address: Address) -> None: ...

    async def send(self, address: Address, message: Message) -> None:
        assert address.url in {"json://canary", "json://broken"}
        if address.url == "json://broken":
            raise OSError(12, "Cannot allocate memory")
        self.entered.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.sent.append(message)


@pytest.fixture
def out() -> Recorder:
    return Recorder()


async def channel(db: Database, name: str = "ops", *, url: str = "json://canary", **rules: Any) -> Any:
    async def add(tx: Any) -> Any:
        row = NotificationChannel(id=new_id(), name=name, kind="apprise", label="json://...", **rules)
        tx.session.add(row)
        await tx.secrets.put(channel_url(row.id), url)
        return row.id

    return await db.run(add)


async def incident(db: Database, server: str | None = None, **values: Any) -> Any:
    async def add(tx: Any) -> Any:
        row = Alert(id=new_id(), open_key=str(new_id()), kind="disk", subject="server:web1:/", server=server,
                    state="firing", level=values.pop("level", "critical"), value=95.0, threshold=90.0)  # fmt: skip
        tx.session.add(row)
        return row.id

    return await db.run(add)


async def changed(db: Database, alert_id: Any, what: str, *, ago: float = 0.0) -> None:
    async def add(tx: Any) -> None:
        alert = await tx.session.get(Alert, alert_id)
        line = AlertChange(alert_id=alert_id, what=what, level=alert.level, value=95.0)
        tx.session.add(line)
        await tx.session.flush()
        tags = dict(list(await tx.session.execute(select(Server.name, Server.tags))))
        audience = await load_audience(tx, tags)
        await note(tx, audience, [(alert, line)], datetime.now(UTC) - timedelta(seconds=ago))

    await db.run(add)


async def log(db: Database) -> list[tuple[str, str, int]]:
    async with db.read() as session:
        rows = await session.scalars(select(Notification).order_by(Notification.happened_at, Notification.id))
        return [(row.what, row.state, row.attempts) for row in rows]


async def due_now(db: Database) -> None:
    past = datetime.now(UTC) - timedelta(days=2)
    await db.run(lambda tx: tx.session.execute(update(Notification).values(due_at=past)))


async def test_an_incident_is_told_once_and_so_is_its_end(db: Database, out: Recorder) -> None:
    await channel(db)
    alert = await incident(db)
    await changed(db, alert, "raise", ago=2)
    first, second = Notifier(db, out), Notifier(db, out)
    await asyncio.gather(first.deliver(), second.deliver())
    await changed(db, alert, "resolve")
    await second.deliver()
    await first.deliver()
    assert [message.level for message in out.sent] == ["failure", "success"]
    assert out.sent[0].data["alerts"][0]["about"] == "server:web1:/"
    assert await log(db) == [("raise", "sent", 1), ("resolve", "sent", 1)]


async def test_two_replicas_never_deliver_to_one_channel_at_once(db: Database, out: Recorder) -> None:
    await channel(db)
    await changed(db, await incident(db), "raise", ago=1)
    out.gate.clear()
    first = asyncio.create_task(Notifier(db, out).deliver())
    async with asyncio.timeout(WAIT):
        await out.entered.wait()
    await Notifier(db, out).deliver()  # finds it taken and returns
    out.gate.set()
    await first
    assert len(out.sent) == 1


async def test_what_fails_is_tried_again_with_the_same_id_and_given_up_after_a_day(db: Database, out: Recorder) -> None:
    await channel(db)
    await changed(db, await incident(db), "raise", ago=1)
    out.error = Transient("not delivered: it answered 500", code="delivery_failed", remedy="look there")
    notifier = Notifier(db, out)
    await notifier.deliver()
    await notifier.deliver()  # not due yet
    assert await log(db) == [("raise", "waiting", 1)]
    async with db.read() as session:
        row = (await session.scalars(select(Notification))).one()
        assert (row.error, row.due_at > datetime.now(UTC)) == ("not delivered: it answered 500; look there", True)
    await due_now(db)
    old = datetime.now(UTC) - timedelta(days=2)
    await db.run(lambda tx: tx.session.execute(update(Notification).values(created_at=old)))
    await notifier.deliver()
    assert await log(db) == [("raise", "failed", 2)]


async def test_what_can_never_be_delivered_is_not_tried_again(db: Database, out: Recorder) -> None:
    await channel(db)
    await changed(db, await incident(db), "raise", ago=1)
    out.error = Invalid("refused", code="address_refused")
    await Notifier(db, out).deliver()
    assert await log(db) == [("raise", "failed", 1)]


async def test_what_is_over_before_it_could_be_told_is_never_told(db: Database, out: Recorder) -> None:
    await channel(db)
    alert = await incident(db)
    await changed(db, alert, "raise", ago=2)
    out.error = Transient("down")
    notifier = Notifier(db, out)
    await notifier.deliver()
    await changed(db, alert, "resolve", ago=1)
    out.error = None
    await notifier.deliver()
    assert out.sent == []
    assert await log(db) == [("raise", "needless", 1), ("resolve", "needless", 0)]


async def test_a_digest_gathers_and_is_one_message(db: Database, out: Recorder) -> None:
    await channel(db, digest_seconds=3600)
    for _ in range(3):
        await changed(db, await incident(db), "raise", ago=1)
    notifier = Notifier(db, out)
    await notifier.deliver()
    assert out.sent == []
    async with db.read() as session:
        first = await session.scalar(select(Notification.id).order_by(Notification.id).limit(1))
    past = datetime.now(UTC) - timedelta(seconds=5)
    await db.run(
        lambda tx: tx.session.execute(update(Notification).where(Notification.id == first).values(due_at=past))
    )
    await notifier.deliver()
    assert [message.title for message in out.sent] == ["3 alerts: 3 critical, 0 warnings, 0 resolved"]
    assert {state for _, state, _ in await log(db)} == {"sent"}


async def test_a_channel_is_chosen_by_level_and_tag_and_hears_how_it_goes_on(db: Database, out: Recorder) -> None:
    async def add(tx: Any) -> None:
        tx.session.add(Server(name="web1", host="h", facts={}, tags=["production", "web"]))

    await db.run(add)
    await channel(db, "critical", least_level="critical")
    await channel(db, "databases", tags=["db"])
    await channel(db, "web", tags=["web"], recovered=False)
    await channel(db, "off", enabled=False)
    alert = await incident(db, "web1", level="warning")
    await changed(db, alert, "raise", ago=3)

    async def worse(tx: Any) -> None:
        (await tx.session.get(Alert, alert)).level = "critical"

    await db.run(worse)
    await changed(db, alert, "relevel", ago=2)
    await changed(db, alert, "resolve", ago=1)
    async with db.read() as session:
        query = select(NotificationChannel.name, Notification.what).join(
            Notification, Notification.channel_id == NotificationChannel.id
        )
        told = sorted((name, what) for name, what in await session.execute(query))
    assert told == [("critical", "relevel"), ("critical", "resolve"), ("web", "raise"), ("web", "relevel")]


async def test_a_test_goes_at_once_and_takes_nothing_with_it(db: Database, out: Recorder) -> None:
    ops = await channel(db, digest_seconds=3600)
    await changed(db, await incident(db), "raise")

    async def ask(tx: Any) -> None:
        tx.session.add(Notification(channel_id=ops, change_id=new_id(), what="test"))

    await db.run(ask)
    await Notifier(db, out).deliver()
    assert [message.title for message in out.sent] == ["Test: this channel works"]
    assert sorted(await log(db)) == [("raise", "waiting", 0), ("test", "sent", 1)]


async def rows_of(db: Database, channel_id: Any) -> list[Notification]:
    async with db.read() as session:
        return list(await session.scalars(select(Notification).where(Notification.channel_id == channel_id)))


async def no_secret(db: Database, channel_id: Any) -> None:
    await db.run(lambda tx: tx.session.execute(delete(Secret).where(Secret.name == channel_url(channel_id))))


async def another_key(db: Database, channel_id: Any) -> None:
    async def seal(tx: Any) -> None:
        await Secrets(tx.session, KeyRing([bytes(range(32))])).put(channel_url(channel_id), "json://canary")

    await db.run(seal)


async def garbled(db: Database, channel_id: Any) -> None:
    name = channel_url(channel_id)
    await db.run(lambda tx: tx.session.execute(update(Secret).where(Secret.name == name).values(sealed=b"x" * 40)))


async def cut_short(db: Database, channel_id: Any) -> None:
    name = channel_url(channel_id)
    values = {"sealed": b"", "wrapped_key": b""}
    await db.run(lambda tx: tx.session.execute(update(Secret).where(Secret.name == name).values(**values)))


@pytest.mark.parametrize("spoil", [no_secret, another_key, garbled, cut_short])
async def test_a_channel_whose_address_cannot_be_read_fails_with_its_cause_and_alone(
    db: Database, out: Recorder, spoil: Any
) -> None:
    bad, good = await channel(db, "bad"), await channel(db, "good")
    await spoil(db, bad)
    await changed(db, await incident(db), "raise", ago=1)
    notifier = Notifier(db, out)
    for _ in range(3):
        await notifier.deliver()
    assert len(out.sent) == 1
    assert [row.state for row in await rows_of(db, good)] == ["sent"]
    (failed,) = await rows_of(db, bad)
    assert (failed.state, failed.attempts) == ("failed", 1)
    assert failed.error


async def test_a_delivery_that_breaks_unforeseen_is_tried_again_and_stops_no_other(db: Database, out: Recorder) -> None:
    bad, good = await channel(db, "bad", url="json://broken"), await channel(db, "good")
    await changed(db, await incident(db), "raise", ago=1)
    await Notifier(db, out).deliver()
    assert [row.state for row in await rows_of(db, good)] == ["sent"]
    (waiting,) = await rows_of(db, bad)
    assert (waiting.state, waiting.attempts) == ("waiting", 1)
    assert "OSError" in waiting.error


async def test_a_row_of_which_no_message_can_be_made_fails_alone(
    db: Database, out: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ops = await channel(db)
    good, bad = await incident(db), await incident(db)
    await changed(db, good, "raise", ago=2)
    await changed(db, bad, "raise", ago=1)
    real = notify.compose

    def compose(rows: Any) -> Message:
        if any(row.alert_id == bad for row in rows):
            message = "a value nobody foresaw \udcff"
            raise KeyError(message)
        return real(rows)

    monkeypatch.setattr(notify, "compose", compose)
    notifier = Notifier(db, out)
    await notifier.deliver()
    await notifier.deliver()
    assert len(out.sent) == 1
    assert {row.alert_id: row.state for row in await rows_of(db, ops)} == {good: "sent", bad: "failed"}


async def test_trouble_with_one_channel_is_told_after_every_other_was_served(
    db: Database, out: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = await channel(db, "bad"), await channel(db, "good")
    await changed(db, await incident(db), "raise", ago=1)
    real = notify.gather

    async def gather(tx: Any, channel_id: Any) -> Any:
        if channel_id == bad:
            raise ZeroDivisionError
        return await real(tx, channel_id)

    monkeypatch.setattr(notify, "gather", gather)
    with pytest.raises(ZeroDivisionError):  # the supervisor logs it and tries again
        await Notifier(db, out).deliver()
    assert [row.state for row in await rows_of(db, good)] == ["sent"]
