"""People: the first administrator by a link that works once, sessions that no other page can use, roles that hold."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select, update

from services.api.app import build_app
from services.api.security import throttle
from shared.bus.memory import MemoryBus
from shared.config.settings import Settings
from shared.db.session import Database
from shared.db.stores.accounts import make_link
from shared.db.tables import ApiToken, LoginSession, OneTimeLink, Tag, User
from shared.db.tables.base import db_now
from shared.runtime.service import Parts
from tests.harness.patience import WAIT

PASSWORD = "correct horse battery staple"
OTHER = "quite another sentence 7"
OWN = {"Sec-Fetch-Site": "same-origin"}
HERE = "http://127.0.0.1:8080"


class Browser:
    """A person's browser: it keeps cookies, and says which page asks."""

    def __init__(self, app: Any, base: str = HERE) -> None:
        transport = httpx2.ASGITransport(app=app, client=("192.0.2.7", 1))
        self.http = httpx2.AsyncClient(transport=transport, base_url=base, headers=OWN)

    async def __call__(self, method: str, path: str, status: int = 200, /, **body: Any) -> Any:
        answer = await self.http.request(method.upper(), path, json=body or None)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    async def login(self, name: str, password: str = PASSWORD, status: int = 200) -> Any:
        return await self("post", "/api/auth/login", status, name=name, password=password)


@pytest.fixture
async def parts(db: Database) -> Parts:
    async def add(tx: Any) -> None:
        tx.session.add(ApiToken(name="first", digest=hashlib.sha256(b"bf_first").hexdigest()))

    await db.run(add)
    return Parts(Settings(), db, MemoryBus(), CollectorRegistry())


@pytest.fixture
async def app(parts: Parts) -> Any:
    return build_app(parts)


@pytest.fixture
async def admin(app: Any, db: Database) -> AsyncIterator[Browser]:
    browser = Browser(app)
    await set_up(browser, db)
    yield browser
    await browser.http.aclose()


async def set_up(browser: Browser, db: Database, name: str = "ada", status: int = 200) -> Any:
    link = await db.run(lambda tx: make_link(tx.session, "setup", 1))
    return await browser("post", "/api/auth/setup", status, link=link, name=name, password=PASSWORD)


async def invited(app: Any, admin: Browser, name: str, *grants: dict[str, Any]) -> Browser:
    """A person with these roles, who has chosen a password."""
    made = await admin("post", "/api/users", 201, name=name, grants=list(grants))
    browser = Browser(app)
    secret = made["invitation"]["link"].partition("#")[2]
    await browser("post", "/api/auth/accept", link=secret, password=PASSWORD)
    return browser


async def test_the_link_makes_the_first_administrator_and_works_once(app: Any, db: Database) -> None:
    browser = Browser(app)
    assert (await browser("get", "/api/auth/methods"))["setup"] is True
    await browser("get", "/api/auth/me", 401)
    link = await db.run(lambda tx: make_link(tx.session, "setup", 1))
    weak = await browser("post", "/api/auth/setup", 422, link=link, name="ada", password="password1234")
    assert weak["code"] == "password_common"
    me = await browser("post", "/api/auth/setup", link=link, name="ada", password=PASSWORD)
    assert (me["name"], me["grants"], "users:write" in me["permissions"]) == (
        "ada",
        [{"role": "admin", "tag": None}],
        True,
    )
    assert (await browser("get", "/api/auth/methods"))["setup"] is False
    again = Browser(app)
    assert (await again("post", "/api/auth/setup", 409, link=link, name="eve", password=PASSWORD))[
        "code"
    ] == "already_set_up"
    assert (await browser("get", "/api/auth/me"))["session_id"] == me["session_id"]
    await browser("post", "/api/auth/logout", 204)
    assert (await browser("get", "/api/auth/me", 401))["code"] == "unauthenticated"
    assert (await browser.login("ada"))["name"] == "ada"


async def test_a_link_that_was_used_replaced_or_is_over_makes_nobody(app: Any, db: Database) -> None:
    first = await db.run(lambda tx: make_link(tx.session, "setup", 1))
    second = await db.run(lambda tx: make_link(tx.session, "setup", 1))
    over = await db.run(lambda tx: make_link(tx.session, "setup", -1))
    browser = Browser(app)
    for link in (first, second, over, "x" * 43):
        refused = await browser("post", "/api/auth/setup", 410, link=link, name="eve", password=PASSWORD)
        assert refused["code"] == "link_expired"
    async with db.read() as session:
        assert (await session.scalars(select(User))).all() == []


async def test_the_session_is_new_at_each_login_and_over_with_the_old_one(app: Any, admin: Browser) -> None:
    before = admin.http.cookies["borgfleet"]
    await admin.login("ada")
    after = admin.http.cookies["borgfleet"]
    assert before != after
    thief = Browser(app)
    thief.http.cookies.set("borgfleet", before)
    assert (await thief("get", "/api/auth/me", 401))["code"] == "session_over"


async def test_an_api_token_of_before_goes_on_and_may_everything(app: Any, admin: Browser) -> None:
    program = Browser(app)
    program.http.headers["Authorization"] = "Bearer bf_first"
    me = await program("get", "/api/auth/me")
    assert (me["kind"], me["name"], me["user"], me["limited"]) == ("token", "first", None, [])
    await program("get", "/api/users")
    await program("post", "/api/users", 201, name="made-by-program")
    await program("post", "/api/auth/logout", 204)
    await program("get", "/api/auth/me")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 204),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": HERE}, 204),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": HERE}, 403),
        ({}, 403),
    ],
)
async def test_a_page_of_another_site_changes_nothing_with_our_cookie(
    admin: Browser, headers: dict[str, str], status: int
) -> None:
    del admin.http.headers["Sec-Fetch-Site"]
    answer = await admin.http.post("/api/auth/logout", headers=headers)
    assert answer.status_code == status, answer.text
    if status == 403:
        assert answer.json()["code"] == "csrf"
        assert (await admin.http.get("/api/auth/me")).status_code == 200


async def test_a_page_of_another_site_logs_nobody_in(app: Any, admin: Browser) -> None:
    answer = await Browser(app).http.post(
        "/api/auth/login", json={"name": "ada", "password": PASSWORD}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf")


async def test_no_password_is_taken_where_others_could_read_it(app: Any, db: Database, admin: Browser) -> None:
    abroad = Browser(app, "http://backup.example.org")
    assert (await abroad("get", "/api/auth/methods"))["encrypted"] is False
    assert (await abroad.login("ada", status=403))["code"] == "not_encrypted"
    safe = Browser(app, "https://backup.example.org")
    answer = await safe.http.post("/api/auth/login", json={"name": "ada", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-borgfleet=")
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    async with db.read() as session:
        kept = (await session.scalars(select(LoginSession.digest))).all()
    assert all(one not in cookie for one in kept)


async def test_a_session_ends_when_it_is_idle_or_old(admin: Browser, app: Any, db: Database) -> None:
    for change in ({"seen_at": db_now(-13 * 3600)}, {"expires_at": db_now(-1)}):
        await admin.login("ada")
        await db.run(lambda tx, change=change: tx.session.execute(update(LoginSession).values(**change)))
        app.state.authenticate.forget()
        assert (await admin("get", "/api/auth/me", 401))["code"] == "session_over"


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first pause, which is of one second, outlast what a slow machine does until the next try."""
    real = throttle.pause_after
    monkeypatch.setattr(throttle, "pause_after", lambda failures, free: WAIT * real(failures, free))


@pytest.mark.usefixtures("long_pauses")
async def test_wrong_passwords_and_unknown_names_are_told_alike_and_slow_the_next(app: Any, admin: Browser) -> None:
    guest = Browser(app)
    said = [await guest.login(name, "wrong", 401) for name in ("ada", "nobody") for _ in range(2)]
    assert {(one["code"], one["detail"]) for one in said} == {("wrong_credentials", said[0]["detail"])}
    for _ in range(3):
        await guest.login("ada", "wrong", 401)
    answer = await guest.http.post("/api/auth/login", json={"name": "ada", "password": PASSWORD})
    assert (answer.status_code, answer.json()["code"]) == (429, "throttled")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.usefixtures("long_pauses")
async def test_wrong_passwords_of_whoever_is_logged_in_are_counted_too(admin: Browser) -> None:
    """The refusal must not take back the count: a stolen session would guess its user's password for ever."""
    answers = [
        (await admin.http.post("/api/auth/step-up", json={"password": f"{OTHER}{n}"})).status_code for n in range(8)
    ]
    assert answers[0] == 401
    assert 429 in answers


@pytest.mark.usefixtures("long_pauses")
async def test_failures_are_counted_by_all_gateways_together(parts: Parts, admin: Browser) -> None:
    others = [Browser(build_app(Parts(parts.settings, parts.db, parts.bus, CollectorRegistry()))) for _ in range(2)]
    for number in range(5):
        await others[number % 2].login("ada", "wrong", 401)
    await others[0].login("ada", PASSWORD, 429)
    await others[1].login("ada", PASSWORD, 429)


async def test_roles_are_asked_before_a_route_does_anything(app: Any, admin: Browser) -> None:
    viewer = await invited(app, admin, "vera", {"role": "viewer"})
    await viewer("get", "/api/servers")
    refused = await viewer("post", "/api/servers", 403, name="web1", host="192.0.2.1")
    assert refused["code"] == "forbidden"
    await viewer("get", "/api/users", 403)
    operator = await invited(app, admin, "otto", {"role": "operator"})
    await operator("post", "/api/servers", 201, name="web1", host="192.0.2.1")
    await operator("post", "/api/users", 403, name="friend")
    nobody = await invited(app, admin, "nora")
    await nobody("get", "/api/servers", 403)
    assert (await nobody("get", "/api/auth/me"))["permissions"] == []


async def test_rights_that_are_taken_away_are_gone_at_once(app: Any, admin: Browser) -> None:
    operator = await invited(app, admin, "otto", {"role": "operator"})
    user = (await operator("get", "/api/auth/me"))["id"]
    await admin("put", f"/api/users/{user}/grants", grants=[{"role": "viewer"}])
    await operator("post", "/api/servers", 403, name="web1", host="192.0.2.1")
    await admin("patch", f"/api/users/{user}", state="disabled")
    await operator("get", "/api/servers", 401)
    await operator.login("otto", status=401)
    await admin("patch", f"/api/users/{user}", state="active")
    await operator.login("otto")


async def test_the_last_administrator_stays(app: Any, admin: Browser) -> None:
    me = (await admin("get", "/api/auth/me"))["id"]
    for method, path, body in (
        ("patch", f"/api/users/{me}", {"state": "disabled"}),
        ("put", f"/api/users/{me}/grants", {"grants": [{"role": "operator"}]}),
        ("put", f"/api/users/{me}/grants", {"grants": []}),
        ("delete", f"/api/users/{me}", {}),
    ):
        if method == "put" and body == {"grants": []}:
            answer = await admin.http.put(path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (409, "last_admin")
            continue
        assert (await admin(method, path, 409, **body))["code"] == "last_admin"
    # An invited one cannot log in yet, and a service never can: neither counts.
    await admin("post", "/api/users", 201, name="invited", grants=[{"role": "admin"}])
    await admin("post", "/api/users", 201, name="robot", kind="service", grants=[{"role": "admin"}])
    assert (await admin("delete", f"/api/users/{me}", 409))["code"] == "last_admin"
    second = await invited(app, admin, "bea", {"role": "admin"})
    await second("delete", f"/api/users/{me}", 204)
    await admin("get", "/api/auth/me", 401)


async def test_a_role_for_a_tag_needs_one_that_there_is_and_keeps_it(admin: Browser, db: Database) -> None:
    refused = await admin("post", "/api/users", 404, name="tom", grants=[{"role": "operator", "tag": "nope"}])
    assert refused["code"] == "tag_unknown"
    await admin("post", "/api/tags", 201, name="eu")
    made = await admin("post", "/api/users", 201, name="tom", grants=[{"role": "operator", "tag": "eu"}])
    assert made["user"]["grants"] == [{"role": "operator", "tag": "eu"}]
    async with db.read() as session:
        tag = await session.scalar(select(Tag.id).where(Tag.name == "eu"))
    assert (await admin("delete", f"/api/tags/{tag}", 409))["code"] == "in_use"


async def test_accounts_are_changed_only_by_who_proved_himself_a_short_while_ago(
    app: Any, admin: Browser, db: Database
) -> None:
    await db.run(lambda tx: tx.session.execute(update(LoginSession).values(strong_at=db_now(-3600))))
    assert (await admin("post", "/api/users", 401, name="tom"))["code"] == "reauthenticate"
    assert (await admin("post", "/api/auth/step-up", 401, password="wrong"))["code"] == "wrong_credentials"
    before = admin.http.cookies["borgfleet"]
    await admin("post", "/api/auth/step-up", password=PASSWORD)
    assert admin.http.cookies["borgfleet"] != before
    await admin("post", "/api/users", 201, name="tom")


async def test_an_invitation_works_once_and_is_replaced_by_the_next(app: Any, admin: Browser, db: Database) -> None:
    made = await admin("post", "/api/users", 201, name="tom")
    first = made["invitation"]["link"].partition("#")[2]
    second = (await admin("post", f"/api/users/{made['user']['id']}/invite", 201))["link"].partition("#")[2]
    guest = Browser(app)
    assert (await guest("post", "/api/auth/accept", 410, link=first, password=PASSWORD))["code"] == "link_expired"
    await guest.login("tom", status=401)
    await guest("post", "/api/auth/accept", link=second, password=PASSWORD)
    used = await Browser(app)("post", "/api/auth/accept", 410, link=second, password=OTHER)
    assert used["code"] == "link_used"
    async with db.read() as session:
        digests = (await session.scalars(select(OneTimeLink.digest))).all()
    assert not {first, second} & set(digests)


async def test_a_new_password_ends_all_other_sessions(app: Any, admin: Browser) -> None:
    other = Browser(app)
    await other.login("ada")
    await admin("put", "/api/auth/password", 401, old="wrong", new=OTHER)
    await admin("put", "/api/auth/password", 200, old=PASSWORD, new=OTHER)
    await other("get", "/api/auth/me", 401)
    await admin("get", "/api/auth/me")
    await Browser(app).login("ada", PASSWORD, 401)
    await Browser(app).login("ada", OTHER)


async def test_one_sees_ones_own_sessions_and_ends_them(app: Any, admin: Browser) -> None:
    other = Browser(app)
    await other.login("ada")
    rows = await admin("get", "/api/auth/sessions")
    assert sorted(one["current"] for one in rows) == [False, True]
    stranger = await invited(app, admin, "vera", {"role": "admin"})
    mine = next(one["id"] for one in rows if not one["current"])
    await stranger("delete", f"/api/auth/sessions/{mine}", 404)
    await admin("delete", f"/api/auth/sessions/{mine}", 204)
    await other("get", "/api/auth/me", 401)


async def program(app: Any, secret: str) -> Browser:
    made = Browser(app)
    made.http.headers["Authorization"] = f"Bearer {secret}"
    return made


async def test_a_token_never_may_more_than_its_maker_nor_than_its_user_by_then(app: Any, admin: Browser) -> None:
    operator = await invited(app, admin, "otto", {"role": "operator"})
    too_much = await operator("post", "/api/tokens", 403, name="sly", permissions=["users:write"], user="ada")
    assert too_much["code"] == "forbidden"
    made = await operator("post", "/api/tokens", 201, name="reader", permissions=["servers:read", "users:write"])
    robot = await program(app, made["secret"])
    assert (await robot("get", "/api/auth/me"))["permissions"] == ["servers:read"]
    await robot("get", "/api/servers")
    await robot("post", "/api/servers", 403, name="web1", host="192.0.2.1")
    assert (await robot("post", "/api/tokens", 403, name="grown"))["code"] == "more_than_own"
    user = (await operator("get", "/api/auth/me"))["id"]
    await admin("put", f"/api/users/{user}/grants", grants=[{"role": "restore_operator"}])
    assert (await robot("get", "/api/auth/me"))["permissions"] == ["servers:read"]
    await admin("patch", f"/api/users/{user}", state="disabled")
    await robot("get", "/api/servers", 401)


async def test_a_token_ends_when_it_expires_or_is_revoked(app: Any, admin: Browser, db: Database) -> None:
    first = await admin("post", "/api/tokens", 201, name="one")
    second = await admin("post", "/api/tokens", 201, name="two", expires_in_days=None)
    assert (first["expires_at"] is None, second["expires_at"] is None) == (False, True)
    robots = [await program(app, one["secret"]) for one in (first, second)]
    for robot in robots:
        await robot("get", "/api/servers")
    change = update(ApiToken).where(ApiToken.name == "one").values(expires_at=db_now(-1))
    await db.run(lambda tx: tx.session.execute(change))
    await admin("delete", f"/api/tokens/{second['id']}", 204)
    for robot in robots:
        await robot("get", "/api/servers", 401)
    assert [one["name"] for one in (await admin("get", "/api/tokens"))["items"]] == ["first", "one"]
    await admin("post", "/api/tokens", 201, name="two")


async def test_tokens_of_others_are_neither_seen_nor_ended(app: Any, admin: Browser) -> None:
    theirs = await admin("post", "/api/tokens", 201, name="theirs")
    operator = await invited(app, admin, "otto", {"role": "operator"})
    await operator("post", "/api/tokens", 201, name="mine")
    assert [one["name"] for one in (await operator("get", "/api/tokens"))["items"]] == ["mine"]
    await operator("delete", f"/api/tokens/{theirs['id']}", 404)
    await operator("patch", f"/api/tokens/{theirs['id']}", 404, name="taken")


async def test_an_older_version_knows_no_token_with_limits(app: Any, admin: Browser, db: Database) -> None:
    """It let whoever had a token of which it knew the plain SHA-256 do everything."""
    made = await admin("post", "/api/tokens", 201, name="reader", permissions=["servers:read"])
    async with db.read() as session:
        digests = set((await session.scalars(select(ApiToken.digest))).all())
    assert hashlib.sha256(made["secret"].encode()).hexdigest() not in digests


async def test_nothing_that_was_kept_lets_anybody_in(app: Any, admin: Browser, db: Database) -> None:
    token = await admin("post", "/api/tokens", 201, name="reader")
    async with db.read() as session:
        digests = [
            *(await session.scalars(select(LoginSession.digest))),
            *(await session.scalars(select(ApiToken.digest))),
        ]
    assert token["secret"] not in digests
    for digest in digests:
        thief = Browser(app)
        thief.http.cookies.set("borgfleet", digest)
        await thief("get", "/api/auth/me", 401)
        await (await program(app, digest))("get", "/api/auth/me", 401)
