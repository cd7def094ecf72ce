"""The second factor: each code lets in once, a right password alone lets nobody in, and nothing that is kept does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pyotp.totp import TOTP
from sqlalchemy import select, update

from borgfleet import people
from services.api.app import build_app
from services.api.security import throttle
from shared.bus.memory import MemoryBus
from shared.config.settings import ApiSettings, Settings
from shared.db.session import Database
from shared.db.stores import factors
from shared.db.stores.accounts import make_link
from shared.db.tables import AuditEntry, Base, LoginFlow, LoginSession, User
from shared.db.tables.base import db_now
from shared.errors import NotFound
from shared.runtime.service import Parts
from shared.secrets.factors import STEP_SECONDS
from tests.contract.test_accounts import OTHER, PASSWORD, Browser, invited, set_up
from tests.harness.patience import WAIT


class Clock:
    """The moment by which codes are taken, and an app's codes for it and for the steps around it."""

    def __init__(self) -> None:
        self.at = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)

    def goes_on(self, steps: int = 1) -> None:
        self.at += timedelta(seconds=steps * STEP_SECONDS)

    def code(self, secret: str, beside: int = 0) -> str:
        return TOTP(secret).at(self.at + timedelta(seconds=beside * STEP_SECONDS))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made, real = Clock(), factors.step_of

    def step_of(secret: str, code: str, _at: datetime) -> int | None:
        return real(secret, code, made.at)

    monkeypatch.setattr(factors, "step_of", step_of)
    return made


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    real = throttle.pause_after

    def pause_after(failures: int, free: int) -> float:
        return WAIT * real(failures, free)

    monkeypatch.setattr(throttle, "pause_after", pause_after)


def _no_pause(_failures: int, _free: int) -> float:
    return 0.0


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let wrong codes be tried at once, where something else than the pauses is meant."""
    monkeypatch.setattr(throttle, "pause_after", _no_pause)


def gateway(db: Database, **settings: Any) -> Any:
    return build_app(Parts(Settings(api=ApiSettings(**settings)), db, MemoryBus(), CollectorRegistry()))


@pytest.fixture
def app(db: Database) -> Any:
    return gateway(db)


@pytest.fixture
async def admin(app: Any, db: Database) -> AsyncIterator[Browser]:
    browser = Browser(app)
    await set_up(browser, db)
    yield browser
    await browser.http.aclose()


async def switched_on(browser: Browser, clock: Clock) -> tuple[str, list[str]]:
    """Set a second factor up; return the app's secret and the recovery codes. The code's step is used up then."""
    secret = (await browser("post", "/api/auth/totp", 201))["secret"]
    made = await browser("post", "/api/auth/totp/confirm", code=clock.code(secret))
    clock.goes_on()
    return secret, made["recovery_codes"]


async def flow_of(browser: Browser, name: str = "ada") -> str:
    needed = await browser.login(name, status=401)
    assert (needed["code"], needed["methods"]) == ("second_factor_needed", ["totp", "recovery_code"])
    return needed["flow"]


async def finish(browser: Browser, flow: str, status: int = 200, /, **proof: str) -> Any:
    return await browser("post", "/api/auth/second-factor", status, flow=flow, **proof)


async def test_a_login_asks_for_the_code_and_begins_no_session_before(app: Any, admin: Browser, clock: Clock) -> None:
    begun = await admin("post", "/api/auth/totp", 201)
    assert begun["uri"] == f"otpauth://totp/Borgfleet:ada?secret={begun['secret']}&issuer=Borgfleet"
    assert (await admin("get", "/api/auth/me"))["second_factor"] is False
    await Browser(app).login("ada")  # what nobody has confirmed asks nobody
    wrong = await admin("post", "/api/auth/totp/confirm", 422, code=clock.code(begun["secret"], 2))
    assert wrong["code"] == "wrong_code"
    codes = (await admin("post", "/api/auth/totp/confirm", code=clock.code(begun["secret"])))["recovery_codes"]
    assert len(set(codes)) == 10
    me = await admin("get", "/api/auth/me")
    assert (me["second_factor"], me["recovery_codes"]) == (True, 10)
    phone = Browser(app)
    flow = await flow_of(phone)
    await phone("get", "/api/auth/me", 401)
    assert not phone.http.cookies
    clock.goes_on()
    me = await finish(phone, flow, code=f" {clock.code(begun['secret'])[:3]} {clock.code(begun['secret'])[3:]} ")
    assert (me["name"], "users:write" in me["permissions"]) == ("ada", True)
    assert (await phone("get", "/api/auth/sessions"))[0]["methods"] == "password,totp"
    await phone("post", "/api/users", 201, name="tom")  # who has just proved both is asked nothing more


async def test_codes_are_taken_by_the_databases_clock(db: Database) -> None:
    async with db.read() as session:
        now = (await session.execute(select(db_now()))).scalar_one()
    assert abs(now.timestamp() - time.time()) < WAIT


@pytest.mark.parametrize(("beside", "status"), [(-2, 401), (-1, 200), (0, 200), (1, 200), (2, 401)])
async def test_a_clock_may_be_off_by_one_step(app: Any, admin: Browser, clock: Clock, beside: int, status: int) -> None:
    secret, _ = await switched_on(admin, clock)
    clock.goes_on(3)
    phone = Browser(app)
    await finish(phone, await flow_of(phone), status, code=clock.code(secret, beside))


async def test_a_code_lets_in_once_and_none_before_it_ever(app: Any, admin: Browser, clock: Clock) -> None:
    secret, _ = await switched_on(admin, clock)
    phone, thief = Browser(app), Browser(app)
    seen = clock.code(secret, 1)
    used_at_set_up = clock.code(secret, -1)
    assert (await finish(phone, await flow_of(phone), 401, code=used_at_set_up))["code"] == "wrong_code"
    await finish(phone, await flow_of(phone), code=seen)
    for code in (seen, clock.code(secret)):
        assert (await finish(thief, await flow_of(thief), 401, code=code))["code"] == "wrong_code"
    clock.goes_on(2)
    await finish(thief, await flow_of(thief), code=clock.code(secret))


@pytest.mark.usefixtures("no_pauses")
async def test_of_many_gateways_that_have_one_code_at_once_one_lets_in(
    db: Database, admin: Browser, clock: Clock
) -> None:
    secret, recovery = await switched_on(admin, clock)
    phones = [Browser(gateway(db)) for _ in range(4)]
    for proof in ({"code": clock.code(secret)}, {"recovery_code": recovery[0]}):
        flows = [await flow_of(one) for one in phones]
        answers = await asyncio.gather(
            *(
                one.http.post("/api/auth/second-factor", json={"flow": flow} | proof)
                for one, flow in zip(phones, flows, strict=True)
            )
        )
        assert sorted(one.status_code for one in answers) == [200, 401, 401, 401]
        assert {one.json()["code"] for one in answers if one.status_code == 401} == {"wrong_code"}


async def test_of_one_login_that_is_finished_twice_at_once_one_session_comes(
    db: Database, admin: Browser, clock: Clock
) -> None:
    secret, recovery = await switched_on(admin, clock)
    phones = [Browser(gateway(db)) for _ in range(2)]
    flow = await flow_of(phones[0])
    answers = await asyncio.gather(
        phones[0].http.post("/api/auth/second-factor", json={"flow": flow, "code": clock.code(secret)}),
        phones[1].http.post("/api/auth/second-factor", json={"flow": flow, "recovery_code": recovery[0]}),
    )
    assert sorted(one.status_code for one in answers) == [200, 401]
    async with db.read() as session:
        assert len(list(await session.scalars(select(LoginSession)))) == 2  # that of the set-up, and one more


async def test_a_login_that_is_over_unknown_or_anothers_lets_nobody_in(
    app: Any, admin: Browser, db: Database, clock: Clock
) -> None:
    secret, _ = await switched_on(admin, clock)
    other = await invited(app, admin, "eve", {"role": "viewer"})
    hers, _ = await switched_on(other, clock)
    phone = Browser(app)
    assert (await finish(phone, "x" * 43, 401, code=clock.code(secret)))["code"] == "login_over"
    of_ada, of_eve = await flow_of(phone), await flow_of(phone, "eve")
    assert (await finish(phone, of_ada, 401, code=clock.code(hers)))["code"] == "wrong_code"
    await finish(phone, of_eve, code=clock.code(hers))
    assert (await phone("get", "/api/auth/me"))["name"] == "eve"
    assert (await finish(phone, of_eve, 401, code=clock.code(hers, 1)))["code"] == "login_over"
    await db.run(lambda tx: tx.session.execute(update(LoginFlow).values(expires_at=db_now(-1))))
    assert (await finish(phone, of_ada, 401, code=clock.code(secret)))["code"] == "login_over"
    late = await flow_of(phone)
    async with db.read() as session:
        user = await session.scalar(select(User.id).where(User.name == "ada"))
    tom = await invited(app, admin, "tom", {"role": "admin"})
    await tom("post", f"/api/users/{user}/end-sessions", 204)
    assert (await finish(phone, late, 401, code=clock.code(secret)))["code"] == "login_over"


@pytest.mark.usefixtures("no_pauses")
async def test_a_login_begins_again_after_five_wrong_codes(app: Any, admin: Browser, clock: Clock) -> None:
    secret, _ = await switched_on(admin, clock)
    phone = Browser(app)
    flow = await flow_of(phone)
    wrong = "000000" if clock.code(secret) != "000000" else "000001"
    for _ in range(factors.MOST_TRIES):
        assert (await finish(phone, flow, 401, code=wrong))["code"] == "wrong_code"
    assert (await finish(phone, flow, 401, code=clock.code(secret)))["code"] == "login_over"
    await finish(phone, await flow_of(phone), code=clock.code(secret))


@pytest.mark.usefixtures("long_pauses")
async def test_who_knows_the_password_guesses_no_codes(db: Database, admin: Browser, clock: Clock) -> None:
    """The right password must not forgive the wrong codes: he would begin anew with it each time."""
    secret, recovery = await switched_on(admin, clock)
    thieves = [Browser(gateway(db)) for _ in range(2)]
    for number in range(throttle.FREE_OF_ACCOUNT):
        thief = thieves[number % 2]
        await finish(thief, await flow_of(thief), 401, code="not one")
    assert (await thieves[0].login("ada", status=429))["code"] == "throttled"
    await db.run(lambda tx: tx.session.execute(update(throttle.Throttle).values(blocked_until=db_now())))
    flow = await flow_of(thieves[0])
    await finish(thieves[0], flow, 401, recovery_code=recovery[0][::-1])
    assert (await finish(thieves[1], flow, 429, code=clock.code(secret)))["code"] == "throttled"


@pytest.mark.usefixtures("long_pauses")
async def test_who_comes_by_both_is_not_slowed(app: Any, admin: Browser, clock: Clock) -> None:
    secret, _ = await switched_on(admin, clock)
    phone = Browser(app)
    for _ in range(throttle.FREE_OF_ADDRESS + 2):
        await finish(phone, await flow_of(phone), code=clock.code(secret))
        clock.goes_on()


async def test_the_session_is_new_after_the_second_factor(app: Any, admin: Browser, clock: Clock) -> None:
    before = admin.http.cookies["borgfleet"]
    elsewhere = Browser(app)
    await elsewhere.login("ada")
    secret, _ = await switched_on(admin, clock)
    confirmed = admin.http.cookies["borgfleet"]
    assert confirmed != before
    await elsewhere("get", "/api/auth/me", 401)  # it had proved the password alone
    await finish(admin, await flow_of(admin), code=clock.code(secret))
    assert admin.http.cookies["borgfleet"] not in (before, confirmed)
    for old in (before, confirmed):
        thief = Browser(app)
        thief.http.cookies.set("borgfleet", old)
        await thief("get", "/api/auth/me", 401)


async def test_a_page_of_another_site_finishes_no_login(app: Any, admin: Browser, clock: Clock) -> None:
    secret, _ = await switched_on(admin, clock)
    phone = Browser(app)
    flow = await flow_of(phone)
    phone.http.headers["Sec-Fetch-Site"] = "cross-site"
    assert (await finish(phone, flow, 403, code=clock.code(secret)))["code"] == "csrf"


async def test_a_recovery_code_stands_for_a_code_once(app: Any, admin: Browser, clock: Clock) -> None:
    _, codes = await switched_on(admin, clock)
    phone = Browser(app)
    typed = codes[0].upper().replace("-", " ")
    me = await finish(phone, await flow_of(phone), recovery_code=typed)
    assert me["recovery_codes"] == 9
    assert (await phone("get", "/api/auth/sessions"))[0]["methods"] == "password,recovery_code"
    assert (await finish(phone, await flow_of(phone), 401, recovery_code=codes[0]))["code"] == "wrong_code"
    newer = (await phone("post", "/api/auth/recovery-codes", 201))["recovery_codes"]
    assert not set(newer) & set(codes)
    await finish(phone, await flow_of(phone), 401, recovery_code=codes[1])
    await finish(phone, await flow_of(phone), recovery_code=newer[1])
    refused = await finish(phone, await flow_of(phone), 422, recovery_code=newer[2], code="123456")
    assert refused["code"] == "one_code"
    assert (await finish(phone, await flow_of(phone), 422))["code"] == "one_code"


async def test_the_factors_own_routes_ask_for_both_once_more(
    app: Any, admin: Browser, db: Database, clock: Clock
) -> None:
    secret, codes = await switched_on(admin, clock)
    long_ago = update(LoginSession).values(strong_at=db_now(-3600))
    await db.run(lambda tx: tx.session.execute(long_ago))
    routes = (("post", "/api/auth/totp"), ("delete", "/api/auth/totp"), ("post", "/api/auth/recovery-codes"))
    for method, path in (*routes, ("post", "/api/auth/totp/confirm")):
        said = await admin(method, path, 401, **({"code": "123456"} if "confirm" in path else {}))
        assert (said["code"], said["methods"]) == ("reauthenticate", ["password", "totp", "recovery_code"])
    said = await admin("post", "/api/auth/step-up", 401, password=PASSWORD)
    assert said["code"] == "second_factor_needed"
    assert "flow" not in said
    assert (await admin("post", "/api/auth/step-up", 401, password=PASSWORD, code="1"))["code"] == "wrong_code"
    await admin("post", "/api/auth/step-up", 401, password=OTHER, code=clock.code(secret))
    # The old password lets a thief of the session change it no more than anything else, and proves nothing.
    assert (await admin("put", "/api/auth/password", 401, old=PASSWORD, new=OTHER))["code"] == "reauthenticate"
    await admin("delete", "/api/auth/totp", 401)
    before = admin.http.cookies["borgfleet"]
    await admin("post", "/api/auth/step-up", password=PASSWORD, code=clock.code(secret))
    assert admin.http.cookies["borgfleet"] != before
    await admin("post", "/api/auth/recovery-codes", 201)
    await db.run(lambda tx: tx.session.execute(long_ago))
    await admin("post", "/api/auth/step-up", 401, password=PASSWORD, recovery_code=codes[0])  # replaced meanwhile
    clock.goes_on()
    await admin("post", "/api/auth/step-up", password=PASSWORD, code=clock.code(secret))
    await admin("put", "/api/auth/password", old=PASSWORD, new=OTHER)
    await admin("delete", "/api/auth/totp", 204)
    assert (await Browser(app).login("ada", OTHER))["second_factor"] is False


async def test_a_new_password_does_not_prolong_what_both_factors_gave(
    admin: Browser, db: Database, clock: Clock
) -> None:
    await switched_on(admin, clock)
    almost = update(LoginSession).values(strong_at=db_now(-300))
    await db.run(lambda tx: tx.session.execute(almost))
    before = (await admin("get", "/api/auth/me"))["strong_until"]
    after = (await admin("put", "/api/auth/password", old=PASSWORD, new=OTHER))["strong_until"]
    assert after == before
    assert (await admin("get", "/api/auth/sessions"))[0]["methods"] == "password,totp"


@pytest.mark.parametrize("kind", ["reset", "invite"])
async def test_a_link_for_a_new_password_is_no_way_around(
    app: Any, admin: Browser, db: Database, clock: Clock, kind: Any
) -> None:
    secret, _ = await switched_on(admin, clock)
    async with db.read() as session:
        user = await session.scalar(select(User.id).where(User.name == "ada"))
    link = await db.run(lambda tx: make_link(tx.session, kind, 1, user))
    phone = Browser(app)
    said = await phone("post", "/api/auth/accept", 401, link=link, password=OTHER)
    assert said["code"] == "second_factor_needed"
    await phone("get", "/api/auth/me", 401)
    await admin("get", "/api/auth/me", 401)  # all sessions ended with the old password
    await finish(phone, said["flow"], code=clock.code(secret))
    assert (await phone("get", "/api/auth/sessions"))[0]["methods"] == "link,totp"


async def test_who_lost_the_phone_gets_in_after_a_reset_and_all_sessions_end(
    app: Any, admin: Browser, db: Database, clock: Clock
) -> None:
    otto = await invited(app, admin, "otto", {"role": "operator"})
    secret, codes = await switched_on(otto, clock)
    half = Browser(app)
    flow = await flow_of(half, "otto")
    user = (await otto("get", "/api/auth/me"))["id"]
    await otto("post", f"/api/users/{user}/reset-factors", 403)
    await admin("post", f"/api/users/{user}/reset-factors", 204)
    await otto("get", "/api/auth/me", 401)
    for proof in ({"code": clock.code(secret)}, {"recovery_code": codes[0]}):
        assert (await finish(half, flow, 401, **proof))["code"] == "login_over"
    assert (await half.login("otto"))["second_factor"] is False
    assert secret not in await everything(db)
    await switched_on(half, clock)


async def test_the_machine_itself_lets_who_lost_everything_in_again(
    app: Any, admin: Browser, db: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def here(_settings: Settings) -> Database:
        return db

    async def stays_open() -> None:
        pass

    secret, codes = await switched_on(admin, clock)
    half = Browser(app)
    flow = await flow_of(half)
    with monkeypatch.context() as patched:
        patched.setattr(people, "proven_database", here)
        patched.setattr(db, "close", stays_open)
        with pytest.raises(NotFound):
            await people.reset_second_factors(Settings(), "nobody")
        await people.reset_second_factors(Settings(), "ada")
    for proof in ({"code": clock.code(secret)}, {"recovery_code": codes[0]}):
        assert (await finish(half, flow, 401, **proof))["code"] == "login_over"
    thief = Browser(app)
    thief.http.cookies.set("borgfleet", admin.http.cookies["borgfleet"])
    app.state.authenticate.forget()  # another process did it: this one knows of it after seconds
    await thief("get", "/api/auth/me", 401)
    assert (await half.login("ada"))["second_factor"] is False
    async with db.read() as session:
        rows = await session.scalars(select(AuditEntry).where(AuditEntry.action == "reset_factors"))
        (entry,) = list(rows)
    assert (entry.actor_kind, entry.actor_name[:8], entry.target_name) == ("console", "console:", "ada")


async def test_what_is_not_begun_or_is_on_already_is_told(app: Any, admin: Browser, clock: Clock) -> None:
    assert (await admin("post", "/api/auth/totp/confirm", 409, code="123456"))["code"] == "no_second_factor"
    assert (await admin("post", "/api/auth/recovery-codes", 409))["code"] == "no_second_factor"
    first = await admin("post", "/api/auth/totp", 201)
    second = await admin("post", "/api/auth/totp", 201)
    await admin("post", "/api/auth/totp/confirm", 422, code=clock.code(first["secret"], 1))
    await admin("post", "/api/auth/totp/confirm", code=clock.code(second["secret"]))
    assert (await admin("post", "/api/auth/totp", 409))["code"] == "second_factor_on"
    clock.goes_on()
    said = await admin("post", "/api/auth/totp/confirm", 409, code=clock.code(second["secret"]))
    assert said["code"] == "second_factor_on"
    token = (await admin("post", "/api/tokens", 201, name="program"))["secret"]
    program = Browser(app)
    program.http.headers["Authorization"] = f"Bearer {token}"
    for method, path in (("post", "totp"), ("delete", "totp"), ("post", "recovery-codes")):
        assert (await program(method, f"/api/auth/{path}", 409))["code"] == "no_session"
    assert (await program("post", "/api/auth/totp/confirm", 409, code="123456"))["code"] == "no_session"
    await program("get", "/api/servers")  # a token stands for itself


@pytest.mark.parametrize(
    ("setting", "who"), [("off", set[str]()), ("admins", {"ada", "tara"}), ("all", {"ada", "tara", "otto"})]
)
async def test_who_has_to_have_a_second_factor_may_only_set_it_up(
    app: Any, admin: Browser, db: Database, clock: Clock, setting: str, who: set[str]
) -> None:
    await admin("post", "/api/tags", 201, name="eu")
    await invited(app, admin, "tara", {"role": "admin", "tag": "eu"})
    await invited(app, admin, "otto", {"role": "operator"})
    strict = gateway(db, second_factor=setting)
    for name in ("ada", "tara", "otto"):
        browser = Browser(strict)
        me = await browser.login(name)
        assert (me["second_factor_required"], me["permissions"] == []) == (name in who, name in who), name
        if name in who:
            assert (await browser("get", "/api/servers", 403))["code"] == "second_factor_required"
            await browser("post", "/api/tokens", 403, name="way-around")
            await switched_on(browser, clock)
            assert (await browser("get", "/api/auth/me"))["second_factor_required"] is False
        await browser("get", "/api/servers")
        await browser.http.aclose()


async def everything(db: Database) -> str:
    """All that the database holds, as text."""
    async with db.read() as session:
        return str([list(await session.execute(select(table))) for table in Base.metadata.tables.values()])


async def test_no_secret_is_shown_again_nor_kept_nor_logged(
    app: Any, admin: Browser, db: Database, clock: Clock, capsys: pytest.CaptureFixture[str], caplog: Any
) -> None:
    admin.http.headers["Idempotency-Key"] = "remember-me"  # answers that hold secrets are not remembered
    secret, codes = await switched_on(admin, clock)
    phone = Browser(app)
    flow = await flow_of(phone)
    sent = clock.code(secret)
    said = [await finish(phone, flow, 401, code="1"), await finish(phone, flow, code=sent)]
    said += [await phone("get", path) for path in ("/api/auth/me", "/api/auth/sessions", "/api/users", "/api/audit")]
    said.append(await phone("post", "/api/auth/totp", 409))
    kept, logged = await everything(db), "".join((*capsys.readouterr(), caplog.text))
    for hidden in (secret, *codes, flow):
        assert hidden not in str(said)
        assert hidden not in kept
        assert hidden not in logged


async def test_each_step_is_in_the_audit_log_once(app: Any, admin: Browser, db: Database, clock: Clock) -> None:
    secret, _ = await switched_on(admin, clock)
    phone = Browser(app)
    flow = await flow_of(phone)
    await finish(phone, flow, 401, code="1")
    await finish(phone, flow, code=clock.code(secret))
    await finish(phone, flow, 401, code=clock.code(secret))
    await phone("post", "/api/auth/recovery-codes", 201)
    await phone("delete", "/api/auth/totp", 204)
    async with db.read() as session:
        rows = await session.scalars(select(AuditEntry).order_by(AuditEntry.at, AuditEntry.id))
        found = [(one.action, one.actor_name, one.outcome, one.code) for one in rows]
    assert found[1:] == [
        ("begin_totp", "ada", "done", ""),
        ("confirm_totp", "ada", "done", ""),
        ("log_in", "ada", "refused", "second_factor_needed"),
        ("second_factor", "ada", "refused", "wrong_code"),
        ("second_factor", "ada", "done", ""),
        ("second_factor", "", "refused", "login_over"),
        ("renew_recovery_codes", "ada", "done", ""),
        ("remove_totp", "ada", "done", ""),
    ]
