"""A login that is under way while its user's account changes: what was right before lets nobody in after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select

from services.api.app import build_app
from services.api.features.auth import routes
from services.api.security.passwords import PasswordWorker
from shared.bus.memory import MemoryBus
from shared.config.settings import Settings
from shared.db.session import Database
from shared.db.stores.accounts import make_link
from shared.db.tables import AuditEntry, LoginFlow, LoginSession, User
from shared.runtime.service import Parts
from tests.contract.test_accounts import OTHER, PASSWORD, Browser, invited, set_up
from tests.contract.test_second_factor import Clock, clock, finish, flow_of, switched_on
from tests.harness.patience import WAIT

__all__ = ["clock"]
Act = Callable[[Browser, Browser, str], Awaitable[Any]]


class Gate:
    """Holds one that comes by, and lets all others pass."""

    def __init__(self) -> None:
        self.came, self.opened, self._taken = asyncio.Event(), asyncio.Event(), False

    async def pass_by(self) -> None:
        if self._taken:
            return
        self._taken = True
        self.came.set()
        await asyncio.wait_for(self.opened.wait(), WAIT)

    async def around(self, login: Awaitable[Any], meanwhile: Awaitable[Any]) -> Any:
        """Begin a login, do the other when it is held, and let it go on; return what it was told."""
        async with asyncio.TaskGroup() as tasks:
            under_way = tasks.create_task(_ended(login))
            await asyncio.wait_for(self.came.wait(), WAIT)
            try:
                await meanwhile
            finally:
                self.opened.set()
        return under_way.result()


async def _ended(login: Awaitable[Any]) -> Any:
    return await login


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def app(db: Database) -> Any:
    return build_app(Parts(Settings(), db, MemoryBus(), CollectorRegistry()))


@pytest.fixture
async def admin(app: Any, db: Database) -> AsyncIterator[Browser]:
    browser = Browser(app)
    await set_up(browser, db)
    yield browser
    await browser.http.aclose()


def hold(monkeypatch: pytest.MonkeyPatch, gate: Gate, method: str) -> None:
    """Hold the next one whose password was verified, or hashed."""
    real = getattr(PasswordWorker, method)

    async def held(self: PasswordWorker, *given: Any) -> Any:
        done = await real(self, *given)
        await gate.pass_by()
        return done

    monkeypatch.setattr(PasswordWorker, method, held)


async def new_password(otto: Browser, _admin: Browser, _user: str) -> None:
    await otto("put", "/api/auth/password", old=PASSWORD, new=OTHER)


async def disabled(_otto: Browser, admin: Browser, user: str) -> None:
    await admin("patch", f"/api/users/{user}", state="disabled")


async def deleted(_otto: Browser, admin: Browser, user: str) -> None:
    await admin("delete", f"/api/users/{user}", 204)


async def otto_of(app: Any, admin: Browser) -> tuple[Browser, str]:
    otto = await invited(app, admin, "otto", {"role": "operator"})
    return otto, (await otto("get", "/api/auth/me"))["id"]


async def rows(db: Database, table: Any, user: str) -> int:
    async with db.read() as session:
        mine = select(func.count()).select_from(table).join(User, User.id == table.user_id).where(User.name == user)
        return await session.scalar(mine) or 0


ACTS = pytest.mark.parametrize("act", [new_password, disabled, deleted])


@ACTS
@pytest.mark.parametrize("factor", [False, True], ids=["password", "both factors"])
async def test_a_password_that_was_right_when_it_was_read_lets_nobody_in_after(
    app: Any,
    admin: Browser,
    db: Database,
    clock: Clock,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    act: Act,
    factor: bool,
) -> None:
    otto, user = await otto_of(app, admin)
    if factor:
        await switched_on(otto, clock)
    hold(monkeypatch, gate, "verify")
    thief = Browser(app)
    said = await gate.around(thief.login("otto", status=401), act(otto, admin, user))
    assert said["code"] == "wrong_credentials"
    assert "flow" not in said
    assert not thief.http.cookies
    assert await rows(db, LoginFlow, "otto") == 0
    assert await rows(db, LoginSession, "otto") == (1 if act is new_password else 0)  # the one that changed it
    async with db.read() as session:
        told = select(AuditEntry.outcome).where(AuditEntry.action == "log_in", AuditEntry.code == "wrong_credentials")
        assert list(await session.scalars(told)) == ["refused"]


async def test_a_second_factor_that_is_set_up_meanwhile_is_asked_for(
    app: Any, admin: Browser, db: Database, clock: Clock, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(monkeypatch, gate, "verify")
    otto, _ = await otto_of(app, admin)
    phone, secrets = Browser(app), list[str]()

    async def confirm() -> None:
        secrets.append((await switched_on(otto, clock))[0])

    said = await gate.around(phone.login("otto", status=401), confirm())
    assert said["code"] == "second_factor_needed"
    assert not phone.http.cookies
    assert await rows(db, LoginSession, "otto") == 1
    await finish(phone, said["flow"], code=clock.code(secrets[0]))


@ACTS
async def test_half_a_login_with_the_old_password_is_not_finished(
    app: Any,
    admin: Browser,
    db: Database,
    clock: Clock,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    act: Act,
) -> None:
    """Neither when it comes after, nor when its code was about to be looked at."""
    otto, user = await otto_of(app, admin)
    secret, _ = await switched_on(otto, clock)
    thieves = Browser(app), Browser(app)
    flows = [await flow_of(one, "otto") for one in thieves]
    real = routes.let_counted_pass

    async def held(*given: Any) -> Any:
        await gate.pass_by()
        return await real(*given)

    monkeypatch.setattr(routes, "let_counted_pass", held)
    proof = {"code": clock.code(secret)}
    said = await gate.around(finish(thieves[0], flows[0], 401, **proof), act(otto, admin, user))
    assert said["code"] in ("login_over", "wrong_code")  # with its user the secret is gone too
    assert (await finish(thieves[1], flows[1], 401, **proof))["code"] == "login_over"
    assert not thieves[0].http.cookies
    assert await rows(db, LoginSession, "otto") == (1 if act is new_password else 0)


async def test_a_link_is_taken_as_its_user_is_by_then(
    app: Any, admin: Browser, db: Database, clock: Clock, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    otto, _ = await otto_of(app, admin)
    link = await link_of(db)
    hold(monkeypatch, gate, "hash")
    phone = Browser(app)
    accepting = phone("post", "/api/auth/accept", 401, link=link, password=OTHER)
    said = await gate.around(accepting, switched_on(otto, clock))
    assert said["code"] == "second_factor_needed"
    assert not phone.http.cookies
    assert await rows(db, LoginSession, "otto") == 0


async def test_a_link_of_one_who_is_disabled_meanwhile_changes_nothing(
    app: Any, admin: Browser, db: Database, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    otto, user = await otto_of(app, admin)
    link = await link_of(db)
    hold(monkeypatch, gate, "hash")
    phone = Browser(app)
    accepting = phone("post", "/api/auth/accept", 410, link=link, password=OTHER)
    assert (await gate.around(accepting, disabled(otto, admin, user)))["code"] == "link_expired"
    assert not phone.http.cookies
    await admin("patch", f"/api/users/{user}", state="active")
    await phone.login("otto")  # the password is the one of before


async def link_of(db: Database) -> str:
    async with db.read() as session:
        user = await session.scalar(select(User.id).where(User.name == "otto"))
    return await db.run(lambda tx: make_link(tx.session, "reset", 1, user))


@pytest.mark.parametrize("asks", ["step-up", "password"])
async def test_the_password_of_before_proves_nothing_more_to_a_session(
    app: Any, admin: Browser, gate: Gate, monkeypatch: pytest.MonkeyPatch, asks: str
) -> None:
    otto, _ = await otto_of(app, admin)
    elsewhere = Browser(app)
    await elsewhere.login("otto")
    hold(monkeypatch, gate, "verify")
    body = {"password": PASSWORD} if asks == "step-up" else {"old": PASSWORD, "new": "a third one of four words"}
    asking = elsewhere("post" if asks == "step-up" else "put", f"/api/auth/{asks}", 401, **body)
    assert (await gate.around(asking, new_password(otto, admin, "")))["code"] == "wrong_credentials"
    await Browser(app).login("otto", OTHER)
