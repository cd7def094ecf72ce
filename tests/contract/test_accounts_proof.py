"""What a session may do for long, and what only after a fresh proof: no token is a way around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select, update

from services.api.app import build_app
from shared.bus.memory import MemoryBus
from shared.config.settings import Settings
from shared.db.session import Database
from shared.db.tables import LoginSession, User
from shared.db.tables.base import db_now
from shared.runtime.service import Parts
from tests.contract.test_accounts import PASSWORD, Browser, invited, program, set_up


@pytest.fixture
def app(db: Database) -> Any:
    return build_app(Parts(Settings(), db, MemoryBus(), CollectorRegistry()))


@pytest.fixture
async def admin(app: Any, db: Database) -> AsyncIterator[Browser]:
    browser = Browser(app)
    await set_up(browser, db)
    yield browser
    await browser.http.aclose()


async def grow_old(db: Database) -> None:
    """Let the proof of all sessions be of an hour ago."""
    await db.run(lambda tx: tx.session.execute(update(LoginSession).values(strong_at=db_now(-3600))))


@pytest.mark.parametrize("other", [False, True], ids=["for oneself", "for another"])
@pytest.mark.parametrize("asks", ["fresh", "old", "token"])
async def test_a_session_makes_a_token_only_after_a_fresh_proof(
    app: Any, admin: Browser, db: Database, asks: str, other: bool
) -> None:
    await invited(app, admin, "otto", {"role": "operator"})
    body = {"name": "way", **({"user": "otto"} if other else {})}
    if asks == "token":
        secret = (await admin("post", "/api/tokens", 201, name="robot"))["secret"]
        await grow_old(db)
        robot = await program(app, secret)
        assert (await robot("post", "/api/tokens", 201, **body))["user"] == ("otto" if other else "ada")
        return
    if asks == "old":
        await grow_old(db)
        said = await admin("post", "/api/tokens", 401, **body)
        assert (said["code"], said["methods"]) == ("reauthenticate", ["password"])
        assert (await admin("get", "/api/tokens"))["items"] == []
        await admin("post", "/api/auth/step-up", password=PASSWORD)
    assert (await admin("post", "/api/tokens", 201, **body))["user"] == ("otto" if other else "ada")


async def test_ones_own_tokens_are_renamed_and_revoked_at_any_time_others_after_a_proof(
    app: Any, admin: Browser, db: Database
) -> None:
    own = await admin("post", "/api/tokens", 201, name="own")
    await invited(app, admin, "otto", {"role": "operator"})
    theirs = await admin("post", "/api/tokens", 201, name="theirs", user="otto")
    await grow_old(db)
    await admin("patch", f"/api/tokens/{own['id']}", name="mine")
    await admin("delete", f"/api/tokens/{own['id']}", 204)
    for method, body in (("patch", {"name": "x"}), ("delete", {})):
        said = await admin(method, f"/api/tokens/{theirs['id']}", 401, **body)
        assert said["code"] == "reauthenticate"


@pytest.mark.parametrize("asks", ["session", "token"])
async def test_nobody_takes_his_own_second_factor_away_as_an_administrator(
    app: Any, admin: Browser, db: Database, asks: str
) -> None:
    tara = await invited(app, admin, "tara", {"role": "admin"})
    me = (await admin("get", "/api/auth/me"))["id"]
    await db.run(lambda tx: tx.session.execute(update(User).where(User.name == "ada").values(totp_enabled=True)))
    who = admin
    if asks == "token":
        who = await program(app, (await admin("post", "/api/tokens", 201, name="robot"))["secret"])
    said = await who("post", f"/api/users/{me}/reset-factors", 403)
    assert said["code"] == "own_second_factor"
    async with db.read() as session:
        assert await session.scalar(select(User.totp_enabled).where(User.name == "ada"))
    await admin("get", "/api/auth/me")
    await tara("post", f"/api/users/{me}/reset-factors", 204)
