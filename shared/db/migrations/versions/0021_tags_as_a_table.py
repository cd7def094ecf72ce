"""tags as a table; rules, windows, channels and pauses by id; groups.

The lists and names of before stay as they are: older versions read and write them.
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from typing import Any

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

import shared.db.tables.base

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,62}(?<!\.)")
_IDS = uuid.UUID("5f0d7a52-3c0e-4b6e-9d53-0a6d3f5b1c20")
"""An upgrade that was cut short sends the same ids again."""
_SINCE = datetime(2026, 1, 1, tzinfo=UTC)
_REFERRING = {"alert_rules": ("server", "tag"), "maintenance_windows": ("server", "tag"), "pauses": ("server",)}
_PARENT = {"server": "servers", "tag": "tags"}


def _binary(length: int) -> sa.types.TypeEngine[str]:
    text = mysql.VARCHAR(charset="utf8mb4", collation="utf8mb4_bin", length=length)
    return sa.String(length=length).with_variant(text, "mariadb").with_variant(text, "mysql")


def _long() -> sa.types.TypeEngine[str]:
    text = mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin")
    return sa.Text().with_variant(text, "mariadb").with_variant(text, "mysql")


def upgrade() -> None:
    """Apply."""
    _make_named("tags", _binary(20))
    _make_named("server_groups", None)
    _make_link("server_tags", "server_id", "servers", sa.Column("position", sa.Integer(), nullable=False))
    _make_link(
        "channel_tags", "channel_id", "notification_channels", sa.Column("position", sa.Integer(), nullable=False)
    )
    _make_link("group_tags", "group_id", "server_groups", sa.Column("wanted", _binary(4), nullable=False))
    for table, names in _REFERRING.items():
        with op.batch_alter_table(table, schema=None) as batch_op:
            for name in names:
                parent, column = _PARENT[name], f"{name}_id"
                batch_op.add_column(sa.Column(column, sa.Uuid(), nullable=True))
                batch_op.create_foreign_key(
                    batch_op.f(f"fk_{table}_{column}_{parent}"), parent, [column], ["id"],
                    ondelete="CASCADE" if name == "server" else None,
                )  # fmt: skip
    _copy(op.get_bind())


def downgrade() -> None:
    """Take back; the lists and names hold what they held, colours, descriptions and groups go."""
    for table, names in _REFERRING.items():
        with op.batch_alter_table(table, schema=None) as batch_op:
            for name in names:
                batch_op.drop_constraint(batch_op.f(f"fk_{table}_{name}_id_{_PARENT[name]}"), type_="foreignkey")
                batch_op.drop_column(f"{name}_id")
    for table in ("group_tags", "channel_tags", "server_tags", "server_groups", "tags"):
        op.drop_table(table)


def _make_named(table: str, colour: sa.types.TypeEngine[str] | None) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", _binary(63), nullable=False),
        *([sa.Column("colour", colour, nullable=False)] if colour is not None else []),
        sa.Column("description", _long(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", shared.db.tables.base.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("name", name=op.f(f"uq_{table}_name")),
    )


def _make_link(table: str, owner: str, parent: str, more: sa.Column[Any]) -> None:
    op.create_table(
        table,
        sa.Column(owner, sa.Uuid(), nullable=False),
        sa.Column("tag_id", sa.Uuid(), nullable=False),
        more,
        sa.ForeignKeyConstraint(
            [owner], [f"{parent}.id"], name=op.f(f"fk_{table}_{owner}_{parent}"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["tag_id"], ["tags.id"], name=op.f(f"fk_{table}_tag_id_tags")),
        sa.PrimaryKeyConstraint(owner, "tag_id", name=op.f(f"pk_{table}")),
    )
    op.create_index(f"ix_{table}_tag_id_{owner}", table, ["tag_id", owner])


# --- rows ------------------------------------------------------------------------------------------------------------
# Each function below sends the same number of statements whatever it finds: an upgrade that was cut short counts them.


def _copy(bind: sa.Connection) -> None:
    lists = {table: _lists(bind, table) for table in ("servers", "notification_channels")}
    found = {name for rows in lists.values() for names in rows.values() for name in names}
    for table, names in _REFERRING.items():
        if "tag" in names:
            found |= set(bind.scalars(sa.text(f"SELECT tag FROM {table}")))  # noqa: S608 - names of our own
    tags = sa.table("tags", *map(sa.column, ("name", "colour", "description")), sa.column("version", sa.Integer()),
                    sa.column("id", sa.Uuid()), sa.column("created_at", shared.db.tables.base.UtcDateTime()))  # fmt: skip
    known = {name: identity for name, identity in bind.execute(sa.select(tags.c.name, tags.c.id))}
    moment = sa.column("created_at", shared.db.tables.base.UtcDateTime())
    since = bind.scalar(sa.select(sa.func.min(moment)).select_from(sa.table("servers"))) or _SINCE
    new = [name for name in sorted(found) if _NAME.fullmatch(name) and name not in known]
    rows = [{"id": uuid.uuid5(_IDS, name), "name": name, "colour": "", "description": "", "version": 1, "created_at": since}
            for name in new]  # fmt: skip
    _insert(bind, sa.insert(tags), rows)
    known = {name: identity for name, identity in bind.execute(sa.select(tags.c.name, tags.c.id))}
    _link(bind, "server_tags", "server_id", lists["servers"], known)
    _link(bind, "channel_tags", "channel_id", lists["notification_channels"], known)
    for table, names in _REFERRING.items():
        for name in names:
            parent = _PARENT[name]
            bind.execute(sa.text(
                f"UPDATE {table} SET {name}_id = (SELECT id FROM {parent} WHERE {parent}.name = {table}.{name})"  # noqa: S608 - names of our own
                f" WHERE {name} <> ''"
            ))  # fmt: skip


def _lists(bind: sa.Connection, table: str) -> dict[uuid.UUID, list[str]]:
    """Return the lists of tags, each name once; what is no list, or no name, is passed over."""
    identity, text = sa.column("id", sa.Uuid()), sa.column("tags", sa.Text())
    rows = bind.execute(sa.select(identity, text).select_from(sa.table(table)).order_by(identity))
    return {one: _names(stored) for one, stored in rows}


def _names(text: object) -> list[str]:
    try:
        found = json.loads(text) if isinstance(text, str) else None  # SQLite keeps a JSON number as a number
    except (ValueError, RecursionError):
        return []
    if not isinstance(found, list):
        return []
    return list(dict.fromkeys(one for one in found if isinstance(one, str) and _NAME.fullmatch(one)))


def _link(
    bind: sa.Connection, table: str, owner: str, lists: dict[uuid.UUID, list[str]], known: dict[str, uuid.UUID]
) -> None:
    columns = sa.column(owner, sa.Uuid()), sa.column("tag_id", sa.Uuid()), sa.column("position", sa.Integer())
    there = sa.table(table, *columns)
    done = {tuple(row) for row in bind.execute(sa.select(columns[0], columns[1]).select_from(there))}
    rows = [
        {owner: identity, "tag_id": known[name], "position": position}
        for identity, names in lists.items()
        for position, name in enumerate(names)
        if name in known and (identity, known[name]) not in done
    ]
    _insert(bind, sa.insert(there), rows)


def _insert(bind: sa.Connection, insert: sa.Insert, rows: list[dict[str, Any]]) -> None:
    if rows:
        bind.execute(insert, rows)
    else:
        bind.execute(sa.text("UPDATE tags SET version = version WHERE 1 = 0"))
