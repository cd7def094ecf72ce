"""Versions of definitions: a change raises the version of what it changes, once, and never that of what it did not see.

A route locks what it is about with `claimed`, which compares the versions too. Whatever it then writes, the session
raises the version itself before it is flushed, on the condition that it is still the one that was read. Services write
through sessions of their own, which know nothing of this: what they write of a row is no part of its definition.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import event, inspect, select, update
from sqlalchemy.orm import attributes

from services.api.audit.record import key_of
from services.api.kernel.errors import Outdated
from services.api.kernel.pages import require
from shared.db.causes import BUSY
from shared.db.tables import AuditEntry, BackupJob, Grant, GroupTag, Repository, Schedule, ServerGroup, User
from shared.db.tables.base import Base, Versioned
from shared.domain.messages.requests import CHANGED_MEANWHILE, CHANGED_MEANWHILE_GONE

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    from services.api.kernel.etag import Precondition
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.message import Said

V = TypeVar("V", bound=Versioned)
PARTS: dict[type[Base], tuple[tuple[str, type[Base], str], ...]] = {
    Schedule: (("backup_job_id", BackupJob, "schedules"), ("repository_id", Repository, "schedules")),
    Grant: (("user_id", User, "grants"),),
    GroupTag: (("group_id", ServerGroup, "tags"),),
}
"""Rows that belong to the definition of a row elsewhere: which column names it, and what people call them."""
_LOOKED_AT = 100
"""Changes of a thing that are looked through to tell what was changed meanwhile."""


class Versions:
    """Raises versions within one change."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._done: set[tuple[type[Any], Any]] = set()

    def attach(self, session: AsyncSession) -> None:
        """Raise the versions of all that this session changes from now on."""
        event.listen(session.sync_session, "before_flush", self._raise)
        event.listen(session.sync_session, "pending_to_persistent", self._made)

    def _made(self, _session: Session, row: object) -> None:
        if isinstance(row, Versioned):
            self._done.add(_identity(row))  # what was just made is in its first version, whatever is added to it

    def _raise(self, session: Session, _context: object, _instances: object) -> None:
        gone = {_identity(row) for row in session.deleted if isinstance(row, Versioned)}
        for row in list(_changed(session)):
            identity = _identity(row)
            if identity in self._done or identity in gone:
                continue
            self._done.add(identity)
            table: Any = inspect(row).mapper.local_table
            mine = update(table).where(table.c.id == identity[1], table.c.version == row.version)
            raised = mine.values(version=row.version + 1)
            if session.connection().execute(raised).rowcount != 1:
                # It was read before another changed it: all of this is done again with what there is now.
                raise BUSY.error()
            row.version += 1


async def claimed(tx: UnitOfWork, table: type[V], identity: uuid.UUID, noun: str, given: Precondition) -> V:
    """Return a row that is about to be changed, locked until the commit.

    `NotFound` without it; `Outdated` where the change is meant for another version of it.
    """
    row = await tx.session.get(table, identity, with_for_update=True, populate_existing=True)
    found = require(row, noun)
    await require_seen(tx.session, found, given, str(identity))
    return found


async def require_seen(session: AsyncSession, row: Versioned | None, given: Precondition, target: str) -> None:
    """Raise `Outdated` where a change is not meant for this version of a row; `target` as the audit log names it."""
    if given.holds(None if row is None else row.version):
        return
    raise Outdated(CHANGED_MEANWHILE_GONE() if row is None else await _told(session, row, given.known, target))


def touch(row: Versioned) -> None:
    """Count something as a change of a row's definition that is in none of its columns, as a secret."""
    attributes.flag_modified(row, "version")


def _identity(row: object) -> tuple[type[Any], Any]:
    return type(row), getattr(row, "id", None)


def _changed(session: Session) -> Iterator[Versioned]:
    """Yield what has another definition than was read; some of it twice."""
    for row in session.dirty:
        if isinstance(row, Versioned) and _differs(row):
            yield row
    rows: list[Base] = [*session.new, *session.deleted, *session.dirty]
    for row in rows:
        for column, owner, _ in PARTS.get(type(row), ()):
            identity = getattr(row, column)
            if identity is not None and (row not in session.dirty or session.is_modified(row)):
                with session.no_autoflush:
                    found = session.get(owner, identity)
                if isinstance(found, Versioned):
                    yield found


def _differs(row: Versioned) -> bool:
    state: Any = inspect(row)
    return any(state.attrs[name].history.has_changes() for name in (*row.DEFINITION, "version"))


async def _told(session: AsyncSession, row: Versioned, known: int | None, target: str) -> Said:
    """Say who changed a row last, and all that was changed since the version that is known."""
    query = select(AuditEntry.actor_name, AuditEntry.at, AuditEntry.before, AuditEntry.after).where(
        AuditEntry.target_id == target, AuditEntry.outcome == "done", AuditEntry.after.is_not(None)
    )
    newest = query.order_by(AuditEntry.at.desc(), AuditEntry.id.desc()).limit(_LOOKED_AT)
    who, at, fields = None, None, dict[str, None]()
    for entry in (await session.execute(newest)).all():
        before, after = _rows(entry.before), _rows(entry.after)
        version = after.get(key_of(row), {}).get("version")
        if not isinstance(version, int):
            continue  # it did something with the thing, and changed nothing of it
        if known is not None and version <= known:
            break
        if who is None:
            who, at = entry.actor_name, entry.at
        fields |= dict.fromkeys(_fields(row, before | after))
        if known is None:
            break
    return CHANGED_MEANWHILE(changed_by=who, changed_at=at, fields=sorted(fields) or None, version=row.version)


def _rows(text: str | None) -> dict[str, dict[str, Any]]:
    found: Any = json.loads(text) if text else {}
    return {key: cast("dict[str, Any]", value) for key, value in found.items() if isinstance(value, dict)}


def _fields(row: Versioned, seen: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield what people call the parts of a definition that an entry of the audit log tells of."""
    parts = {table.__tablename__: name for table, owners in PARTS.items() for _, _, name in owners}
    known = row.DEFINITION | set(parts.values())
    yield from (name for name in seen.get(key_of(row), {}) if name in known)
    yield from {parts[table] for key in seen if (table := key.partition(" ")[0]) in parts}
