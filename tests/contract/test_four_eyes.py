"""Four eyes: by whatever door something guarded is asked for, nothing happens before a second person agrees; then once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from services.api.applying import Applying
from services.api.features import GUARDED
from shared.bus.memory import MemoryBus
from shared.db.session import Database
from shared.db.tables import (
    ApiToken,
    Approval,
    Archive,
    AuditEntry,
    BackupJob,
    Base,
    FourEyes,
    Grant,
    Job,
    LoginSession,
    OneTimeLink,
    Repository,
    Server,
    User,
)
from shared.db.tables.base import db_now
from shared.domain.four_eyes import Guarded
from shared.errors import AppError
from shared.events.streams import STREAMS
from shared.secrets.tokens import digest_of
from tests.harness.persons import Person, person, switch_on
from tests.harness.world import World

_OF_REQUESTS = {
    "approvals", "audit_entries", "audit_seals", "idempotency_keys", "commit_marks", "sessions", "leases", "outbox",
}  # fmt: skip
_USE = {"api_tokens": {"last_used_at", "last_used_from"}, "users": {"last_login_at"}}
WHY = "it was decided so"
LATER, SOONER = datetime(2037, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
WEEK, DAYS = {"keep_daily": 7}, {"keep_daily": 3}


@dataclass
class Stage:
    """A world in which everything guarded can be asked for."""

    world: World
    ada: Person
    bob: Person
    ids: dict[str, uuid.UUID]

    @property
    def db(self) -> Database:
        return self.world.db

    async def dump(self) -> dict[str, list[Any]]:
        """Every row of every table, but of those that a request leaves behind in any case."""
        found: dict[str, list[Any]] = {}
        async with self.db.read() as session:
            for name, table in Base.metadata.tables.items():
                if name not in _OF_REQUESTS:
                    columns = [column for column in table.c if column.name not in _USE.get(name, ())]
                    found[name] = sorted(map(repr, (await session.execute(select(*columns))).all()))
        return found

    async def approvals(self) -> list[Approval]:
        async with self.db.read() as session:
            return list(await session.scalars(select(Approval).order_by(Approval.requested_at, Approval.id)))

    async def only(self) -> Approval:
        (found,) = await self.approvals()
        return found

    async def agree(self, approval: Approval | None = None, who: Person | None = None) -> Any:
        found = approval or await self.only()
        return await (who or self.bob).ask("POST", f"/api/approvals/{found.id}/approve", {"note": "seen"})

    async def round(self) -> None:
        await Applying(self.db, GUARDED).round(asyncio.Event())

    async def write(self, *statements: Any) -> None:
        async with self.db.engine.begin() as connection:
            for statement in statements:
                await connection.execute(statement)


@pytest.fixture
async def stage(db: Database) -> Stage:
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    world = World(db, bus)
    await world.prepare()
    await world.token("all", ("admin", None))
    ada, bob = await person(world, "ada"), await person(world, "bob")
    eve = await person(world, "eve")
    idle = await person(world, "idle", ("viewer", None))
    ids = dict(world.mine) | {"eve": eve.user_id, "idle": idle.user_id, "frozen": world.other["repository_id"]}

    async def prepare(tx: Any) -> None:
        session = tx.session
        bare = Server(name="bare", host="bare.example", username="root", facts={})
        deletion = Job(type="archive_delete", title="deletion", state="failed", archive_id=world.other["backup_id"])
        deletion.node, deletion.server_id = "node", world.other["server_id"]
        deletion.repository_id = world.other["repository_id"]
        session.add_all([bare, deletion])
        await session.flush()
        ids["bare"], ids["deletion"] = bare.id, deletion.id
        pool = (await session.get_one(Repository, world.mine["repository_id"])).pool_id
        second = Repository(name="second", server_id=world.mine["server_id"], pool_id=pool, path="/pool/second")
        session.add(second)
        await session.flush()
        ids["second"] = second.id
        held = await session.get_one(Archive, world.other["backup_id"])
        held.held_reason, held.held_until = "audit", LATER
        mine = await session.get_one(Repository, world.mine["repository_id"])
        mine.retention = WEEK
        mine.imported_at = db_now()
        (await session.get_one(Archive, world.mine["backup_id"])).imported = True
        (await session.get_one(BackupJob, world.mine["backup_job_id"])).retention = {"keep_daily": 30}
        frozen = await session.get_one(Repository, world.other["repository_id"])
        frozen.frozen_reason, frozen.frozen_for = "changed", [{"code": "archives_missing"}]
        frozen.restored_at = db_now()

    await db.run(prepare)
    ids["held"] = world.other["backup_id"]
    return Stage(world, ada, bob, ids)


def job_body(stage: Stage, **changed: Any) -> dict[str, Any]:
    ids = {name: str(stage.ids[name]) for name in ("server_id", "repository_id")}
    return {"name": "mine-b", "sources": ["/srv"], **ids, **changed}


Asks = Callable[[Stage], tuple[str, str, Any]]
DOORS: dict[str, tuple[Guarded, Asks]] = {
    "delete a backup": (Guarded.DELETE_BACKUP, lambda s: ("DELETE", f"/api/backups/{s.ids['backup_id']}", None)),
    "delete a server": (Guarded.DELETE_SERVER, lambda s: ("DELETE", f"/api/servers/{s.ids['bare']}", None)),
    "release a hold": (Guarded.RELEASE_BACKUP, lambda s: ("DELETE", f"/api/backups/{s.ids['held']}/hold", None)),
    "let a hold end sooner": (
        Guarded.RELEASE_BACKUP,
        lambda s: ("PUT", f"/api/backups/{s.ids['held']}/hold", {"reason": WHY, "until": SOONER.isoformat()}),
    ),
    "keep fewer": (
        Guarded.LOWER_RETENTION,
        lambda s: ("PUT", f"/api/repositories/{s.ids['repository_id']}", {"retention": DAYS}),
    ),
    "keep fewer by a patch": (
        Guarded.LOWER_RETENTION,
        lambda s: ("PATCH", f"/api/repositories/{s.ids['repository_id']}", {"retention": {"keep_daily": 1}}),
    ),
    "raise the deletion limit": (
        Guarded.LOWER_RETENTION,
        lambda s: ("PATCH", f"/api/repositories/{s.ids['repository_id']}", {"retention": {"deletion_limit_percent": 99}}),
    ),
    "begin to prune": (
        Guarded.LOWER_RETENTION,
        lambda s: ("PATCH", f"/api/repositories/{s.ids['frozen']}", {"retention": {"keep_daily": 9999}}),
    ),
    "keep fewer of a job": (
        Guarded.LOWER_JOB_RETENTION,
        lambda s: ("PUT", f"/api/backup-jobs/{s.ids['backup_job_id']}", job_body(s, retention=DAYS)),
    ),
    "let a job go by its repository": (
        Guarded.LOWER_JOB_RETENTION,
        lambda s: ("PATCH", f"/api/backup-jobs/{s.ids['backup_job_id']}", {"retention": None}),
    ),
    "delete a job with a retention": (
        Guarded.DELETE_JOB, lambda s: ("DELETE", f"/api/backup-jobs/{s.ids['backup_job_id']}", None),
    ),
    "prune past the limit": (
        Guarded.PASS_DELETION_LIMIT,
        lambda s: ("POST", f"/api/repositories/{s.ids['repository_id']}/prune", {"override_deletion_limit": True}),
    ),
    "prune past the limit, by its old name": (
        Guarded.PASS_DELETION_LIMIT,
        lambda s: ("POST", f"/api/repositories/{s.ids['repository_id']}/prune", {"past_the_brake": True}),
    ),
    "unfreeze": (Guarded.UNFREEZE, lambda s: ("POST", f"/api/repositories/{s.ids['frozen']}/unfreeze", {"reason": WHY})),
    "accept a restored database": (
        Guarded.ACCEPT_RESTORED,
        lambda s: ("POST", f"/api/repositories/{s.ids['frozen']}/accept-restored", {"reason": WHY}),
    ),
    "let prunes take what was imported": (
        Guarded.CONFIRM_RETENTION,
        lambda s: ("POST", f"/api/repositories/{s.ids['repository_id']}/confirm-retention", {"reason": WHY}),
    ),
    "move a job to where it would keep less": (
        Guarded.LOWER_JOB_RETENTION,
        lambda s: (
            "PATCH", f"/api/backup-jobs/{s.ids['backup_job_id']}",
            {"repository_id": str(s.ids["second"]), "retention": {"keep_last": 1}},
        ),
    ),
    "retry a deletion": (Guarded.RETRY_DELETION, lambda s: ("POST", f"/api/jobs/{s.ids['deletion']}/retry", None)),
    "add an administrator": (
        Guarded.ADD_USER, lambda _: ("POST", "/api/users", {"name": "new", "grants": [{"role": "admin"}]}),
    ),
    "add an operator of a tag": (
        Guarded.ADD_USER, lambda _: ("POST", "/api/users", {"name": "new", "grants": [{"role": "operator", "tag": "eu"}]}),
    ),
    "add a service that administers": (
        Guarded.ADD_USER,
        lambda _: ("POST", "/api/users", {"name": "new", "kind": "service", "grants": [{"role": "admin"}]}),
    ),
    "disable an administrator": (
        Guarded.CHANGE_USER, lambda s: ("PATCH", f"/api/users/{s.ids['eve']}", {"state": "disabled"}),
    ),
    "give an administrator another address": (
        Guarded.CHANGE_USER, lambda s: ("PATCH", f"/api/users/{s.ids['eve']}", {"email": "x@example.org"}),
    ),
    "forget an administrator": (Guarded.DELETE_USER, lambda s: ("DELETE", f"/api/users/{s.ids['eve']}", None)),
    "make somebody an administrator": (
        Guarded.CHANGE_GRANTS, lambda s: ("PUT", f"/api/users/{s.ids['idle']}/grants", {"grants": [{"role": "admin"}]}),
    ),
    "take an administrator's role": (
        Guarded.CHANGE_GRANTS, lambda s: ("PUT", f"/api/users/{s.ids['eve']}/grants", {"grants": []}),
    ),
    "a link for an administrator": (Guarded.LINK_USER, lambda s: ("POST", f"/api/users/{s.ids['eve']}/invite", None)),
    "take an administrator's factor": (
        Guarded.RESET_FACTORS, lambda s: ("POST", f"/api/users/{s.ids['eve']}/reset-factors", None),
    ),
    "a token of another administrator": (
        Guarded.MAKE_TOKEN, lambda _: ("POST", "/api/tokens", {"name": "theirs", "user": "eve"}),
    ),
    "switch it off": (Guarded.CHANGE_FOUR_EYES, lambda _: ("PUT", "/api/settings/four-eyes", {"enabled": False})),
    "shorten the cooling": (
        Guarded.CHANGE_FOUR_EYES,
        lambda _: ("PUT", "/api/settings/four-eyes", {"enabled": True, "cooling_seconds": 0, "expiry_seconds": 3600}),
    ),
}  # fmt: skip


on_sqlite = pytest.mark.parametrize("db", ["sqlite"], indirect=True)
"""What does not hang on how a database locks and compares."""


def test_every_guarded_kind_has_a_door_and_what_does_it() -> None:
    assert {kind for kind, _ in DOORS.values()} == set(Guarded) == set(GUARDED)


@on_sqlite
@pytest.mark.parametrize("door", sorted(DOORS))
async def test_nothing_happens_before_a_second_person_agrees_and_then_it_does_once(stage: Stage, door: str) -> None:
    kind, asks = DOORS[door]
    await switch_on(stage.world)
    method, path, body = asks(stage)
    before = await stage.dump()
    answer = await stage.ada.ask(method, path, body)
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["kind"], told["state"], told["requested_by"]) == (kind.value, "asked", "ada")
    assert answer.headers["location"] == f"/api/approvals/{told['id']}"
    await stage.round()
    assert await stage.dump() == before
    agreed = await stage.agree()
    assert agreed.status_code == 200, agreed.text
    assert await stage.dump() == before
    await stage.round()
    done = await stage.only()
    assert (done.state, done.code, done.decided_by) == ("done", "", "bob")
    after = await stage.dump()
    assert after != before
    await stage.round()
    assert await stage.dump() == after
    assert (await stage.agree()).json()["code"] == "approval_decided"
    assert await stage.dump() == after


@on_sqlite
async def test_by_a_token_one_asks_for_the_same_and_never_agrees(stage: Stage) -> None:
    """The command line asks by tokens."""
    await switch_on(stage.world)
    before = await stage.dump()
    for door, (_, asks) in DOORS.items():
        answer = await stage.world.ask("all", *asks(stage))
        assert answer.status_code == 202, (door, answer.text)
        for verb in ("approve", "reject"):
            refused = await stage.world.ask("all", "POST", f"/api/approvals/{answer.json()['id']}/{verb}", {})
            assert (refused.status_code, refused.json()["code"]) == (403, "approval_by_token")
    await stage.round()
    assert await stage.dump() == before


@on_sqlite
async def test_a_token_of_nobody_asks_for_nothing(stage: Stage) -> None:
    """Who holds it could agree to himself: nobody knows that it was he who asked."""
    await switch_on(stage.world)
    await stage.write(update(ApiToken).where(ApiToken.name == "t-all").values(user_id=None))
    stage.world.app.state.authenticate.forget()
    before = await stage.dump()
    for door, (_, asks) in DOORS.items():
        answer = await stage.world.ask("all", *asks(stage))
        assert (answer.status_code, answer.json()["code"]) == (403, "approval_of_nobody"), (door, answer.text)
    assert (await stage.dump(), await stage.approvals()) == (before, [])


@on_sqlite
async def test_a_job_that_is_moved_away_and_back_keeps_what_it_kept(stage: Stage) -> None:
    """On the way it got a retention that nobody had compared with what its backups were kept by."""
    path = f"/api/backup-jobs/{stage.ids['backup_job_id']}"
    away = {"repository_id": str(stage.ids["second"]), "retention": {"keep_daily": 0, "keep_last": 1}}
    assert (await stage.ada.ask("PATCH", path, away)).status_code == 200
    await switch_on(stage.world)
    back = await stage.ada.ask("PATCH", path, {"repository_id": str(stage.ids["repository_id"])})
    assert (back.status_code, back.json().get("kind")) == (202, "lower_job_retention"), back.text


@on_sqlite
@pytest.mark.parametrize(
    ("door", "meanwhile"),
    [
        ("unfreeze", {"frozen_for": [{"code": "hostile_client", "reason": "an attack"}], "frozen_reason": "an attack"}),
        ("accept a restored database", {"restored_at": LATER}),
    ],
)
async def test_what_was_agreed_to_is_not_done_to_what_came_after(stage: Stage, door: str, meanwhile: Any) -> None:
    """An agreed unfreeze let go a repository that was attacked while it cooled."""
    await switch_on(stage.world)
    assert (await stage.ada.ask(*DOORS[door][1](stage))).status_code == 202
    assert (await stage.agree()).status_code == 200
    await stage.write(update(Repository).where(Repository.id == stage.ids["frozen"]).values(**meanwhile))
    await stage.round()
    told = await stage.only()
    assert (told.state, told.code) == ("stale", "changed_meanwhile")
    async with stage.db.read() as session:
        row = await session.get_one(Repository, stage.ids["frozen"])
    assert (bool(row.frozen_reason), row.restored_pending) == (True, True)


HARMLESS: dict[str, Asks] = {
    "keep more": lambda s: ("PATCH", f"/api/repositories/{s.ids['repository_id']}", {"retention": {"keep_daily": 9}}),
    "another quota": lambda s: ("PATCH", f"/api/repositories/{s.ids['repository_id']}", {"quota_bytes": 10**12}),
    "release what is not held": lambda s: ("DELETE", f"/api/backups/{s.ids['backup_id']}/hold", None),
    "hold for longer": lambda s: ("PUT", f"/api/backups/{s.ids['held']}/hold", {"reason": WHY}),
    "hold what is not held": lambda s: (
        "PUT", f"/api/backups/{s.ids['backup_id']}/hold", {"reason": WHY, "until": SOONER.isoformat()},
    ),
    "a job's sources": lambda s: ("PATCH", f"/api/backup-jobs/{s.ids['backup_job_id']}", {"sources": ["/etc"]}),
    "prune": lambda s: ("POST", f"/api/repositories/{s.ids['repository_id']}/prune", {}),
    "keep all": lambda s: ("PATCH", f"/api/repositories/{s.ids['repository_id']}", {"retention": None}),
    "add a viewer": lambda _: ("POST", "/api/users", {"name": "new", "grants": [{"role": "viewer"}]}),
    "an own token": lambda _: ("POST", "/api/tokens", {"name": "own"}),
    "retry a backup": lambda s: ("POST", f"/api/jobs/{s.ids['job_id']}/retry", None),
    "a viewer's link": lambda s: ("POST", f"/api/users/{s.ids['idle']}/invite", None),
    "the same settings": lambda _: ("PUT", "/api/settings/four-eyes", {"enabled": True, "cooling_seconds": 0}),
}  # fmt: skip


@on_sqlite
async def test_what_takes_nothing_away_needs_nobody(stage: Stage) -> None:
    await switch_on(stage.world)
    for what, asks in HARMLESS.items():
        answer = await stage.ada.ask(*asks(stage))
        assert answer.status_code < 300, (what, answer.text)
        assert "requested_by" not in answer.text
    assert await stage.approvals() == []


@on_sqlite
async def test_without_four_eyes_everything_is_done_at_once(stage: Stage) -> None:
    for door in (
        "delete a backup",
        "delete a server",
        "keep fewer",
        "make somebody an administrator",
        "release a hold",
    ):
        answer = await stage.ada.ask(*DOORS[door][1](stage))
        assert answer.status_code < 300, answer.text
    assert await stage.approvals() == []


async def deletion(stage: Stage, cooling: int = 0) -> Approval:
    await switch_on(stage.world, cooling)
    answer = await stage.ada.ask(*DOORS["delete a backup"][1](stage))
    assert answer.status_code == 202
    return await stage.only()


async def jobs(stage: Stage) -> int:
    async with stage.db.read() as session:
        mine = Job.type == "archive_delete", Job.archive_id == stage.ids["backup_id"]
        return await session.scalar(select(func.count()).select_from(Job).where(*mine)) or 0


@on_sqlite
async def test_who_may_not_decide_is_refused(stage: Stage) -> None:
    found = await deletion(stage)
    no_factor = await person(stage.world, "nora", factor=False)
    operator = await person(stage.world, "otto", ("operator", None))
    of_a_tag = await person(stage.world, "tina", ("admin", "eu"))
    stale = await person(stage.world, "sven")
    await stage.write(
        update(LoginSession).where(LoginSession.id == stale.session_id).values(strong_at=db_now(-3600)),
    )
    for who, status, code in (
        (stage.ada, 403, "approval_own"), (no_factor, 403, "approval_needs_factor"), (operator, 403, "forbidden"),
        (of_a_tag, 403, "forbidden"), (stale, 401, "reauthenticate"),
    ):  # fmt: skip
        for verb in ("approve", "reject"):
            answer = await who.ask("POST", f"/api/approvals/{found.id}/{verb}", {})
            assert (answer.status_code, answer.json()["code"]) == (status, code), (verb, answer.text)
    assert (await stage.only()).state == "asked"
    assert (await stage.bob.ask("POST", f"/api/approvals/{uuid.uuid4()}/approve", {})).status_code == 404


@on_sqlite
async def test_a_token_of_who_asks_makes_nobody_a_second_person(stage: Stage) -> None:
    await switch_on(stage.world)
    made = (await stage.bob.ask("POST", "/api/tokens", {"name": "of-bob"})).json()
    stage.world.tokens["bob"] = made["secret"]
    assert (await stage.world.ask("bob", "DELETE", f"/api/backups/{stage.ids['backup_id']}")).status_code == 202
    assert (await stage.agree()).json()["code"] == "approval_own"


async def test_it_is_done_after_the_cooling_time_and_can_be_stopped_until_then(stage: Stage) -> None:
    await deletion(stage, cooling=3600)
    assert (await stage.agree()).json()["state"] == "approved"
    await stage.round()
    assert await jobs(stage) == 0
    found = await stage.only()
    eve = await person(stage.world, "emma")
    assert (await eve.ask("POST", f"/api/approvals/{found.id}/reject", {"note": "no"})).json()["state"] == "rejected"
    await stage.write(update(Approval).values(run_at=db_now(-1)))
    await stage.round()
    assert await jobs(stage) == 0
    assert (await stage.only()).state == "rejected"


@on_sqlite
async def test_who_asked_withdraws_and_nobody_else(stage: Stage) -> None:
    found = await deletion(stage, cooling=3600)
    await stage.agree()
    refused = await stage.bob.ask("POST", f"/api/approvals/{found.id}/withdraw")
    assert refused.json()["code"] == "approval_not_yours"
    assert (await stage.ada.ask("POST", f"/api/approvals/{found.id}/withdraw")).json()["state"] == "withdrawn"
    assert (await stage.ada.ask("POST", f"/api/approvals/{found.id}/withdraw")).json()["code"] == "approval_decided"
    await stage.write(update(Approval).values(run_at=db_now(-1)))
    await stage.round()
    assert await jobs(stage) == 0
    again = await stage.ada.ask(*DOORS["delete a backup"][1](stage))  # it is open no longer: a new one
    assert again.json()["id"] != str(found.id)


async def test_what_nobody_decided_expires(stage: Stage) -> None:
    found = await deletion(stage)
    await stage.write(update(Approval).values(run_at=db_now(-1)))
    assert (await stage.agree(found)).json()["code"] == "approval_decided"
    await stage.round()
    assert (await stage.only()).state == "expired"
    assert await jobs(stage) == 0


ENDS: dict[str, tuple[Callable[[Stage], Any], str, str]] = {
    "the asker was disabled": (lambda _: update(User).where(User.name == "ada").values(state="disabled"), "failed", "approval_asker_gone"),
    "the asker lost his role": (lambda s: update(Grant).where(Grant.user_id == s.ada.user_id).values(role="viewer"), "failed", "approval_asker_gone"),
    "who agreed was disabled": (lambda _: update(User).where(User.name == "bob").values(state="disabled"), "failed", "approval_decider_gone"),
    "who agreed lost his role": (lambda s: update(Grant).where(Grant.user_id == s.bob.user_id).values(role="operator"), "failed", "approval_decider_gone"),
    "it is held by now": (lambda s: update(Archive).where(Archive.id == s.ids["backup_id"]).values(held_reason="x", held_until=None), "failed", "archive_held"),
    "it is gone": (lambda s: delete(Archive).where(Archive.id == s.ids["backup_id"]), "stale", "not_found"),
    "a newer version asked for it": (lambda _: update(Approval).values(kind="make_coffee"), "failed", "approval_unknown"),
    "its row was spoilt": (lambda _: update(Approval).values(target_id="no id"), "failed", "approval_unknown"),
}  # fmt: skip


@on_sqlite
@pytest.mark.parametrize("how", sorted(ENDS))
async def test_what_changed_while_it_cooled_keeps_it_from_being_done(stage: Stage, how: str) -> None:
    await deletion(stage)
    assert (await stage.agree()).status_code == 200
    statement, state, code = ENDS[how]
    await stage.write(statement(stage))
    await stage.round()
    found = await stage.only()
    assert (found.state, found.code) == (state, code)
    told = (await stage.ada.ask("GET", f"/api/approvals/{found.id}")).json() if "asker" not in how else None
    assert told is None or (told["message"]["code"], told["reason"]) == (code, "")
    assert await jobs(stage) == 0
    await stage.round()
    assert await jobs(stage) == 0


@on_sqlite
@pytest.mark.parametrize(
    "door", ["keep fewer", "keep fewer of a job", "delete a server", "disable an administrator", "switch it off"]
)
async def test_what_has_another_version_by_now_is_left_as_it_is(stage: Stage, door: str) -> None:
    await switch_on(stage.world)
    await stage.ada.ask(*DOORS[door][1](stage))
    await stage.agree()
    await stage.write(
        *(update(one).values(version=one.version + 1) for one in (Repository, BackupJob, Server, User, FourEyes))
    )
    before = await stage.dump()
    await stage.round()
    found = await stage.only()
    assert (found.state, found.code) == ("stale", "changed_meanwhile")
    assert await stage.dump() == before


@on_sqlite
async def test_another_hold_is_not_released(stage: Stage) -> None:
    await switch_on(stage.world)
    await stage.ada.ask(*DOORS["release a hold"][1](stage))
    await stage.agree()
    await stage.bob.ask("PUT", f"/api/backups/{stage.ids['held']}/hold", {"reason": "for the court"})
    await stage.round()
    assert (await stage.only()).state == "stale"
    async with stage.db.read() as session:
        assert (await session.get_one(Archive, stage.ids["held"])).held_reason == "for the court"


@on_sqlite
async def test_one_thing_that_is_spoilt_keeps_no_other_from_being_done(stage: Stage) -> None:
    await switch_on(stage.world)
    for door in ("delete a server", "delete a backup"):
        await stage.ada.ask(*DOORS[door][1](stage))
    for one in await stage.approvals():
        await stage.agree(one)
    await stage.write(
        update(Approval).where(Approval.kind == "delete_server").values(target_id="no id", run_at=db_now(-60))
    )
    await stage.round()
    assert sorted((one.kind, one.state) for one in await stage.approvals()) == [
        ("delete_backup", "done"), ("delete_server", "failed"),
    ]  # fmt: skip
    assert await jobs(stage) == 1


async def test_asked_again_it_is_the_same_and_a_replay_answers_the_same(stage: Stage) -> None:
    await switch_on(stage.world)
    method, path, body = DOORS["delete a backup"][1](stage)
    first = await stage.ada.ask(method, path, body, Idempotency_Key="once")
    replay = await stage.ada.ask(method, path, body, Idempotency_Key="once")
    again = await stage.ada.ask(method, path, body)
    assert replay.headers["idempotency-replayed"] == "true"
    assert first.json() == replay.json() == again.json()
    assert len(await stage.approvals()) == 1


async def test_several_who_ask_agree_and_do_at_once_make_one_effect(stage: Stage) -> None:
    await switch_on(stage.world)
    method, path, body = DOORS["delete a backup"][1](stage)
    answers = await asyncio.gather(*(stage.ada.ask(method, path, body) for _ in range(5)))
    assert {answer.status_code for answer in answers} <= {202, 503}
    found = await stage.only()
    emma = await person(stage.world, "emma")
    decided = await asyncio.gather(*(stage.agree(found, who) for who in (stage.bob, emma, stage.bob, emma)))
    assert sorted(one.status_code for one in decided) == [200, 409, 409, 409]
    done = await asyncio.gather(*(stage.round() for _ in range(4)), return_exceptions=True)
    assert all(one is None or isinstance(one, AppError) for one in done)
    await stage.round()
    assert await jobs(stage) == 1
    assert (await stage.only()).state == "done"


@pytest.mark.parametrize("place", ["approval_taken", "approval_applied"])
async def test_a_gateway_that_dies_amid_it_has_done_nothing_and_another_does_it_once(
    stage: Stage, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deletion(stage)
    await stage.agree()

    def dies(name: str) -> None:
        if name == place:
            raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr("services.api.applying.crashpoint", dies)
        with pytest.raises(asyncio.CancelledError):
            await stage.round()
    assert ((await stage.only()).state, await jobs(stage)) == ("approved", 0)
    await stage.round()
    assert ((await stage.only()).state, await jobs(stage)) == ("done", 1)


@on_sqlite
async def test_a_new_secret_is_shown_once_works_only_then_and_lies_nowhere(stage: Stage) -> None:
    await switch_on(stage.world)
    asked = await stage.ada.ask("POST", "/api/tokens", {"name": "theirs", "user": "eve"})
    secret = asked.json()["secret"]
    stage.world.tokens["theirs"] = secret
    assert (await stage.world.ask("theirs", "GET", "/api/auth/me")).status_code == 401
    again = await stage.ada.ask("POST", "/api/tokens", {"name": "theirs", "user": "eve"})
    for answer in (await stage.bob.ask("GET", "/api/approvals"), await stage.agree()):
        assert secret not in answer.text
        assert '"digest"' not in answer.text
    assert (again.json()["id"], again.json()["secret"]) == (asked.json()["id"], None)
    await stage.round()
    assert (await stage.world.ask("theirs", "GET", "/api/auth/me")).status_code == 200
    async with stage.db.read() as session:
        for table in (Approval, AuditEntry, ApiToken):
            for row in await session.scalars(select(table)):
                assert secret not in repr(vars(row))


@on_sqlite
async def test_a_link_that_was_agreed_to_is_the_one_that_was_shown(stage: Stage) -> None:
    await switch_on(stage.world)
    asked = await stage.ada.ask("POST", f"/api/users/{stage.ids['eve']}/invite")
    assert "/accept#" in asked.json()["secret"]
    async with stage.db.read() as session:
        assert list(await session.scalars(select(OneTimeLink))) == []
    await stage.agree()
    await stage.round()
    async with stage.db.read() as session:
        link = await session.get(OneTimeLink, digest_of("link", asked.json()["secret"].partition("#")[2]))
    assert link is not None


async def test_the_log_says_who_asked_who_agreed_and_what_was_done(stage: Stage) -> None:
    await switch_on(stage.world)
    await stage.ada.ask(*DOORS["keep fewer"][1](stage))
    await stage.agree()
    await stage.round()
    async with stage.db.read() as session:
        rows = list(await session.scalars(select(AuditEntry).order_by(AuditEntry.at, AuditEntry.id)))
    assert [(row.actor_name, row.action, row.outcome) for row in rows] == [
        ("ada", "change_repository", "asked"), ("bob", "approve", "done"), ("ada", "lower_retention", "done"),
    ]  # fmt: skip
    done = rows[-1]
    assert (done.noun, done.target_id, done.target_name) == (
        "repositories", str(stage.ids["repository_id"]), "mine-r",
    )  # fmt: skip
    assert '"decided_by": "bob"' in str(done.after)
    assert '"keep_daily": 7' in str(done.before)
    assert '"keep_daily": 3' in str(done.after)


@on_sqlite
async def test_four_eyes_are_switched_on_only_where_two_could_agree(stage: Stage) -> None:
    path, body = "/api/settings/four-eyes", {"enabled": True}
    await stage.write(update(User).where(User.name != "ada").values(totp_enabled=False))
    refused = await stage.ada.ask("PUT", path, body)
    assert (refused.status_code, refused.json()["code"]) == (409, "four_eyes_needs_two")
    assert refused.json()["params"] == {"count": 1}
    await stage.write(update(User).where(User.name == "bob").values(totp_enabled=True, state="disabled"))
    assert (await stage.ada.ask("PUT", path, body)).status_code == 409
    await stage.write(update(User).where(User.name == "bob").values(state="active"))
    done = await stage.ada.ask("PUT", path, body)
    assert (done.status_code, done.json()["enabled"], done.json()["version"]) == (200, True, 2)
    stale = await stage.ada.ask("PUT", path, {"enabled": False, "version": 1})
    assert stale.status_code == 412


@on_sqlite
async def test_everybody_sees_what_he_asked_for_and_who_may_sees_all(stage: Stage) -> None:
    await switch_on(stage.world)
    operator = await person(stage.world, "otto", ("operator", None))
    await operator.ask("DELETE", f"/api/backups/{stage.ids['held']}/hold")
    await stage.ada.ask(*DOORS["delete a backup"][1](stage))
    auditor = await person(stage.world, "anna", ("auditor", None))
    viewer = await person(stage.world, "vera", ("viewer", None))
    for who, kinds in (
        (stage.bob, ["delete_backup", "release_backup"]), (auditor, ["delete_backup", "release_backup"]),
        (operator, ["release_backup"]), (viewer, []),
    ):  # fmt: skip
        page = (await who.ask("GET", "/api/approvals")).json()
        assert sorted(one["kind"] for one in page["items"]) == kinds
        assert (
            sorted(one["kind"] for one in (await who.ask("GET", "/api/approvals?state=asked")).json()["items"]) == kinds
        )
        assert (await who.ask("GET", "/api/approvals?state=done")).json()["items"] == []
    one = (await stage.bob.ask("GET", "/api/approvals")).json()["items"][0]["id"]
    assert (await viewer.ask("GET", f"/api/approvals/{one}")).status_code == 404
    assert (await stage.bob.ask("GET", f"/api/approvals/{one}")).status_code == 200
