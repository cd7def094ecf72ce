"""What a server's key is refused at the endpoint is told: real serve.sh, both databases."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from services.backup.node.refusals import OTHERS, Refusals
from services.stats.alerts.readings import readings
from services.stats.metrics.queries import load_figures
from shared.borg.refused import forget_refused, take_refused
from shared.db.session import Database
from shared.db.tables import AccessRefusal, OutboxRow, Repository, Server, StoragePool, db_now
from shared.domain.alerts import AlertKind
from shared.domain.ids import new_id
from tests.integration.borg.conftest import World
from tests.integration.borg.unfenced import ON_BOTH_DATABASES, db  # noqa: F401 # pyright: ignore[reportUnusedImport] - fixtures are asked for by name


def ask(world: World, server: uuid.UUID, command: str) -> None:
    """Do what sshd does with a client's command; it is refused."""
    state = str(world.node.state_dir)
    argv = ["/bin/sh", f"{state}/serve.sh", state, server.hex]
    environment = os.environ | {"SSH_ORIGINAL_COMMAND": command}
    done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (77, b""), done.stderr
    assert done.stderr.startswith(b"borgfleet: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def sessions(world: World) -> Path:
    return world.node.state_dir / "sessions"


async def two_servers(db: Database) -> dict[str, Any]:  # noqa: F811 - fixtures are asked for by name
    async def add(tx: Any) -> dict[str, Any]:
        pool = StoragePool(name="main", node="node1", path="/pool")
        web1, web2 = Server(name="web1", host="h"), Server(name="web2", host="h")
        tx.session.add_all([pool, web1, web2])
        await tx.session.flush()
        rows = {
            name: Repository(name="system", server_id=server.id, pool_id=pool.id, path=f"/pool/{name}/system")
            for name, server in (("own", web1), ("others", web2))
        }
        tx.session.add_all(rows.values())
        await tx.session.flush()
        return {"web1": web1.id, "web2": web2.id, **{name: row.id for name, row in rows.items()}}

    return await db.run(add)


async def rows(db: Database, kind: Any) -> list[Any]:  # noqa: F811 - fixtures are asked for by name
    async with db.read() as session:
        return list((await session.scalars(select(kind))).all())


@ON_BOTH_DATABASES
async def test_who_asks_for_another_servers_repository_is_told_of_and_who_comes_late_is_not(
    world: World, db: Database  # noqa: F811 - fixtures are asked for by name
) -> None:  # fmt: skip
    ids = await two_servers(db)
    for repository in ("others", "others", "own"):
        ask(world, ids["web1"], f"borgfleet-{ids[repository].hex}-7 serve --append-only")
    ask(world, ids["web1"], f"borgfleet-{new_id().hex}-7 serve")  # a repository that was forgotten
    ask(world, ids["web2"], f"borgfleet-{ids['others'].hex}-1 serve")
    refusals = Refusals(db, world.node.state_dir)
    for _ in range(2):  # told once
        await refusals.read()
    (found,) = await rows(db, AccessRefusal)
    assert (found.server_id, found.repository, found.attempts) == (ids["web1"], "web2/system", 2)
    events = [row for row in await rows(db, OutboxRow) if row.subject == "server.refused"]
    assert len(events) == 1
    told = json.loads(events[0].payload)
    assert (told["server_id"], told["repository"], told["attempts"]) == (str(ids["web1"]), "web2/system", 2)
    assert await alerts(db) == {"server:web1:web2/system": 2}
    ask(world, ids["web1"], f"borgfleet-{ids['others'].hex}-7 serve")
    await refusals.read()
    assert await alerts(db) == {"server:web1:web2/system": 3}
    await db.run(lambda tx: tx.session.execute(update(AccessRefusal).values(last_at=db_now(-90_000))))
    assert await alerts(db) == {"server:web1:web2/system": 0}  # and the incident closes


async def alerts(db: Database) -> dict[str, float | None]:  # noqa: F811 - fixtures are asked for by name
    async with db.read() as session:
        found = readings(await load_figures(session), growth={})
    return {one.subject: one.value for one in found if one.kind is AlertKind.ACCESS_REFUSED}


COMMANDS = [
    "id", "", "borg serve", "scp -t /", "internal-sftp", "borgfleet-", "borgfleet- serve", "borgfleet-../../etc serve",
    "borgfleet-abc-1 serve", "borgfleet-$(id)-1 serve", "x\nrepository 00", "\\0 %s %n", "é" * 300, "a" * 100_000,
]  # fmt: skip


async def test_a_foreign_command_of_any_kind_is_told_in_one_clean_line(world: World, db: Database) -> None:  # noqa: F811 - fixtures are asked for by name
    ids = await two_servers(db)
    for command in COMMANDS:
        ask(world, ids["web1"], command)
    await Refusals(db, world.node.state_dir).read()
    (found,) = await rows(db, AccessRefusal)
    assert (found.repository, found.attempts) == ("", len(COMMANDS))
    assert len(found.said) < 300
    assert found.said.isprintable()
    assert await alerts(db) == {"server:web1:no backup": len(COMMANDS)}


def test_a_flood_of_attempts_fills_no_disk_and_none_is_told_twice(world: World, sessions: Path) -> None:
    server = new_id()
    ask(world, server, "id")
    file = sessions / f"refused.{server.hex}"
    file.write_bytes(b"command id\n" * 7000)
    size = file.stat().st_size
    ask(world, server, "x" * 300)
    assert file.stat().st_size == size
    (found,) = take_refused(sessions)
    assert 5000 < found.commands < 7001
    ask(world, server, "id")  # while the first ones are not on record yet
    assert take_refused(sessions) == [found]
    forget_refused(found)
    (later,) = take_refused(sessions)
    assert later.commands == 1
    (sessions / "refused.nonsense").write_text("command x\n")
    assert take_refused(sessions) == [later]


async def test_many_repositories_asked_for_are_counted_together(world: World, db: Database) -> None:  # noqa: F811 - fixtures are asked for by name
    ids = await two_servers(db)

    async def add(tx: Any) -> list[uuid.UUID]:
        pool = await tx.session.scalar(select(StoragePool.id))
        made = [
            Repository(name=f"r{n}", server_id=ids["web2"], pool_id=pool, path=f"/pool/web2/r{n}") for n in range(25)
        ]
        tx.session.add_all(made)
        await tx.session.flush()
        return [row.id for row in made]

    asked = await db.run(add)
    file = world.node.state_dir / "sessions" / f"refused.{ids['web1'].hex}"
    file.write_text("".join(f"repository {one.hex}\n" for one in asked))
    await Refusals(db, world.node.state_dir).read()
    found = {row.repository: row.attempts for row in await rows(db, AccessRefusal)}
    assert (len(found), found[OTHERS]) == (21, 5)
