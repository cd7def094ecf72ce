"""Tags become a table: no server loses one, no rule and no channel is ever for more servers than before; and back."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.db.migrations import alembic_config, migrate
from shared.db.session import Database
from shared.secrets.envelope import KeyRing
from tests.harness.mariadb import MariaServer
from tests.harness.statement_cutter import StatementCutter

BEFORE, WITH = "0020", "0021"
LONGEST = "n" * 63
SERVERS: dict[str, tuple[str, list[str]]] = {
    # name: (the list as it lies there, the tags that it is)
    "ordered": ('["web", "db", "eu"]', ["web", "db", "eu"]),
    "cases": ('["DB", "db", "Db"]', ["DB", "db", "Db"]),
    "twice": ('["db", "web", "db"]', ["db", "web"]),
    "empty": ("[]", []),
    "alphabet": (json.dumps(["a.b_c-d", "0", LONGEST, "true", "null"]), ["a.b_c-d", "0", LONGEST, "true", "null"]),
    "no list": ("5", []),
    "nothing": ("null", []),
    "a text": ('"db"', []),
    "an object": ('{"db": "web"}', []),
    "nested": ('[["db"], "web"]', ["web"]),
    "other things": ('[5, true, null, 0.5, "db", {"db": 1}]', ["db"]),
    "no names": (json.dumps(["db ", " db", "", "a b", "d\u00e9b", "n" * 64, "a..b", "%", "db'--", "web"]), ["web"]),
    "many": (json.dumps([f"t{n}" for n in range(60)]), [f"t{n}" for n in range(60)]),
}
CHANNELS: dict[str, tuple[str, list[str]]] = {
    "all": ("[]", []),
    "some": ('["gone", "db"]', ["gone", "db"]),
    "unreadable": ("[5]", []),
}
RULES = [("", ""), ("ordered", ""), ("deleted", ""), ("", "db"), ("", "DB"), ("", "nobody")]


@pytest.fixture(params=["sqlite", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'older.db'}"
    maria: MariaServer = request.getfixturevalue("maria")
    return maria.database()


def ask(url: str, work: Callable[[Any], Any]) -> Any:
    async def asked() -> Any:
        db = Database(url, key_ring=KeyRing([bytes(32)]))
        try:
            return await db.run(lambda tx: work(tx.session))
        finally:
            await db.close()

    return asyncio.run(asked())


def key(number: int) -> str:
    return uuid.UUID(int=number).hex


async def furnish(session: Any) -> None:
    """Rows as the version before left them."""
    server = """INSERT INTO servers (id, name, host, port, username, state, state_reason, tags, facts, created_at)
        VALUES (:id, :name, 'h', 22, 'root', 'new', '', :tags, '{}', '2026-01-01 00:00:00')"""
    channel = """INSERT INTO notification_channels (id, name, kind, shown_as, enabled, least_level, kinds, tags,
        digest_seconds, recovered, created_at)
        VALUES (:id, :name, 'webhook', 'x', 1, 'warning', '[]', :tags, 0, 1, '2026-01-01 00:00:00')"""
    for statement, rows in ((server, SERVERS), (channel, CHANNELS)):
        for number, (name, (tags, _)) in enumerate(rows.items()):
            await session.execute(text(statement), {"id": key(number + 1), "name": name, "tags": tags})
    rule = """INSERT INTO alert_rules (id, kind, server, tag, for_seconds, hysteresis, enabled)
        VALUES (:id, 'disk', :server, :tag, 0, 0, 1)"""
    window = """INSERT INTO maintenance_windows (id, server, tag, starts_at, ends_at, reason)
        VALUES (:id, :server, :tag, '2026-01-01 00:00:00', '2027-01-01 00:00:00', '')"""
    for number, (server_name, tag) in enumerate(RULES):
        for statement in (rule, window):
            await session.execute(text(statement), {"id": key(number + 1), "server": server_name, "tag": tag})
    pause = (
        "INSERT INTO pauses (id, server, reason, who, created_at) VALUES (:id, :server, '', '', '2026-01-01 00:00:00')"
    )
    for number, name in enumerate(("", "ordered", "deleted")):
        await session.execute(text(pause), {"id": key(number + 1), "server": name})


async def linked(session: Any, owners: str, links: str, owner: str) -> dict[str, list[str]]:
    query = (
        f"SELECT {owners}.name, tags.name FROM {owners} JOIN {links} ON {links}.{owner} = {owners}.id"  # noqa: S608 - names of our own
        f" JOIN tags ON tags.id = {links}.tag_id ORDER BY {owners}.name, {links}.position"
    )
    found: dict[str, list[str]] = {}
    for name, tag in await session.execute(text(query)):
        found.setdefault(name, []).append(tag)
    return found


async def referring(session: Any, table: str) -> set[tuple[str, str, str | None, str | None]]:
    query = (
        f"SELECT {table}.server, {table}.tag, servers.name, tags.name FROM {table}"  # noqa: S608 - names of our own
        f" LEFT JOIN servers ON servers.id = {table}.server_id LEFT JOIN tags ON tags.id = {table}.tag_id"
    )
    return {tuple(row) for row in await session.execute(text(query))}


async def check(session: Any) -> None:
    wanted = {name: tags for name, (_, tags) in SERVERS.items() if tags}
    assert await linked(session, "servers", "server_tags", "server_id") == wanted
    wanted = {name: tags for name, (_, tags) in CHANNELS.items() if tags}
    assert await linked(session, "notification_channels", "channel_tags", "channel_id") == wanted
    for table in ("alert_rules", "maintenance_windows"):
        assert await referring(session, table) == {
            ("", "", None, None), ("ordered", "", "ordered", None), ("deleted", "", None, None),
            ("", "db", None, "db"), ("", "DB", None, "DB"), ("", "nobody", None, "nobody"),
        }  # fmt: skip
    query = "SELECT pauses.server, servers.name FROM pauses LEFT JOIN servers ON servers.id = pauses.server_id"
    assert {tuple(row) for row in await session.execute(text(query))} == {
        ("", None), ("ordered", "ordered"), ("deleted", None),
    }  # fmt: skip
    await kept(session)


async def kept(session: Any) -> None:
    """What older versions read is as it was, to the byte."""
    for table, rows in (("servers", SERVERS), ("notification_channels", CHANNELS)):
        found = await session.execute(text(f"SELECT name, tags FROM {table}"))  # noqa: S608 - names of our own
        assert {name: str(stored) for name, stored in found} == {name: stored for name, (stored, _) in rows.items()}
    for table in ("alert_rules", "maintenance_windows"):
        found = await session.execute(text(f"SELECT server, tag FROM {table}"))  # noqa: S608 - names of our own
        assert sorted(tuple(row) for row in found) == sorted(RULES)


def test_no_tag_is_lost_and_no_rule_is_for_more_servers_than_before_there_and_back(url: str) -> None:
    command.upgrade(alembic_config(url), BEFORE)
    ask(url, furnish)
    for _ in range(2):
        command.upgrade(alembic_config(url), WITH)
        ask(url, check)
        command.downgrade(alembic_config(url), BEFORE)
        ask(url, kept)
    migrate(url)
    ask(url, check)
    command.check(alembic_config(url))


def test_an_upgrade_cut_short_while_it_copies_makes_no_tag_twice_and_loses_none(maria: MariaServer) -> None:
    url = maria.database()
    command.upgrade(alembic_config(url), BEFORE)
    ask(url, furnish)
    with StatementCutter(url) as cutter:
        cutter.only = (
            "INSERT INTO",
            "UPDATE alert",
            "UPDATE maint",
            "UPDATE pauses",
        )  # test_migrate.py cuts after each
        for _ in range(30):
            cuts = len(cutter.cuts)
            try:
                command.upgrade(alembic_config(cutter.url), WITH)
            except DBAPIError:
                assert len(cutter.cuts) == cuts + 1, "it failed where nothing was cut"
            else:
                break
        assert len({cut[:34] for cut in cutter.cuts}) == 8, cutter.cuts
    ask(url, check)


def test_a_server_that_is_deleted_takes_its_rules_along_and_a_tag_in_use_stays(url: str) -> None:
    command.upgrade(alembic_config(url), BEFORE)
    ask(url, furnish)
    command.upgrade(alembic_config(url), WITH)

    async def forget(session: Any) -> None:
        await session.execute(text("DELETE FROM servers WHERE name = 'ordered'"))

    ask(url, forget)

    async def left(session: Any) -> Any:
        rules = [row[:2] for row in await referring(session, "alert_rules")]
        return sorted(rules), await linked(session, "servers", "server_tags", "server_id")

    rules, tags = ask(url, left)
    assert rules == sorted(rule for rule in RULES if rule[0] != "ordered")
    assert "ordered" not in tags

    async def remove(session: Any) -> None:
        await session.execute(text("DELETE FROM tags WHERE name = 'nobody'"))

    with pytest.raises(Exception, match="tag"):
        ask(url, remove)
