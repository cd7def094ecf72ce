"""What is recorded of a request that changed something, or was refused: who, what, to which, and the fields changed."""

from __future__ import annotations

import enum
import json
import uuid
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import event, inspect

from shared.db.stores.audit import Actor, Deed
from shared.db.tables import (
    Alert,
    AlertRule,
    ApiToken,
    Approval,
    Archive,
    BackupJob,
    Base,
    DownloadTicket,
    FourEyes,
    Grant,
    GroupTag,
    MaintenanceWindow,
    NotificationChannel,
    Pause,
    Repository,
    RunLimits,
    Schedule,
    Server,
    ServerGroup,
    StoragePool,
    Tag,
    User,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

SHOWN: tuple[type[Base], ...] = (
    Alert, AlertRule, ApiToken, Approval, Archive, BackupJob, DownloadTicket, FourEyes, Grant, MaintenanceWindow,
    NotificationChannel, Pause, Repository, RunLimits, Schedule, Server, ServerGroup, StoragePool, Tag, User,
)  # fmt: skip
"""What people define or decide: its fields are recorded. Jobs, sessions and events tell of themselves elsewhere."""
_SECRET = frozenset({"digest", "password_hash"})
_CHANGED = "changed"
PATIENCE = 20.0
"""Seconds after which somebody who was refused is told that this could not be recorded: he gives up at 30."""
_LONGEST = 2000


class Watch:
    """Sees which rows one change adds, changes and takes away."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.before: dict[str, dict[str, Any]] = {}
        self.after: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}
        self._servers: dict[str, uuid.UUID] = {}

    def attach(self, session: AsyncSession) -> None:
        """See all that this session writes from now on."""
        event.listen(session.sync_session, "after_flush", self._flushed)
        event.listen(session.sync_session, "loaded_as_persistent", self._loaded)

    def name_of(self, target: str) -> str:
        """Return what a row is called; empty where it was not seen."""
        return self._names.get(target, "")

    def server_of(self, target: str) -> uuid.UUID | None:
        """Return whose row this is, where it belongs to a server."""
        return self._servers.get(target)

    def _loaded(self, _session: Session, row: object) -> None:
        """Keep what a row is called: the session may have let go of it when the change is recorded."""
        loaded = vars(row)
        identity, name, server = loaded.get("id"), loaded.get("name"), loaded.get("server_id")
        if not isinstance(identity, uuid.UUID):
            return
        if isinstance(name, str):
            self._names[str(identity)] = name
        if isinstance(row, Server):
            server = identity
        if isinstance(server, uuid.UUID):
            self._servers[str(identity)] = server

    def _flushed(self, session: Session, _context: object) -> None:
        for row in session.new:
            self._loaded(session, row)
            self._see(row, {}, _values(row))
        for row in session.dirty:
            self._see(row, *_differences(row))
        for row in session.deleted:
            self._see(row, _values(row), {})

    def _see(self, row: object, before: dict[str, Any], after: dict[str, Any]) -> None:
        key = key_of(row)
        if isinstance(row, GroupTag):  # it has no id of its own: it is told as a part of its group
            key, before, after = f"{ServerGroup.__tablename__} {row.group_id}", {}, {"tags": _CHANGED}
        elif not isinstance(row, SHOWN) or not (before or after):
            return
        self.before.setdefault(key, {}).update({name: one for name, one in before.items() if key not in self.after})
        self.after.setdefault(key, {}).update(after)


def key_of(row: object) -> str:
    """Return what the fields of a row stand under."""
    return f"{getattr(row, '__tablename__', '')} {getattr(row, 'id', '')}"


def _values(row: object) -> dict[str, Any]:
    """Return the fields of a row that was added, or is taken away."""
    mapped: Any = inspect(row)
    loaded: Mapping[str, Any] = mapped.dict
    names: list[str] = [one.key for one in mapped.mapper.column_attrs]
    return {name: _plain(name, loaded[name]) for name in names if loaded.get(name) not in (None, "", [], {})}


def _differences(row: object) -> tuple[dict[str, Any], dict[str, Any]]:
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    mapped: Any = inspect(row)
    for column in mapped.mapper.column_attrs:
        history = mapped.attrs[column.key].history
        if not history.has_changes():
            continue
        before[column.key] = _plain(column.key, history.deleted[0] if history.deleted else None)
        after[column.key] = _plain(column.key, history.added[0] if history.added else None)
    return before, after


def _plain(name: str, value: Any) -> Any:
    """Return a value as JSON can hold it; a secret as the word that it changed."""
    if name in _SECRET:
        return _CHANGED
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (uuid.UUID, str)):
        return str(value)[:_LONGEST]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (list, dict, tuple)):
        text = json.dumps(value, default=str, sort_keys=True)
        return json.loads(text) if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return _CHANGED  # the database's own time, or what only it can compute


def actor_of(request: Request) -> Actor:
    """Return who asks, as it is recorded."""
    principal = getattr(request.state, "principal", None)
    address = request.client.host if request.client else ""
    request_id = getattr(request.state, "request_id", "")
    if principal is None:
        return Actor("outside", address=address, request_id=request_id)
    token = principal.id if principal.kind == "token" else None
    return Actor(principal.kind, principal.name, principal.user_id, token, address, request_id)


def deed_of(request: Request, action: str, watch: Watch | None = None, answer: bytes = b"", code: str = "") -> Deed:
    """Return what a request did, from its path, from its answer, and from what was seen of its rows."""
    seen = watch or Watch()
    told = _told(answer)
    target = next((str(one) for one in request.path_params.values()), "") or str(told.get("id") or "")
    noun = request.url.path.removeprefix("/api/").partition("/")[0]
    name = seen.name_of(target)
    if not name and str(told.get("id") or "") == target:
        name = str(told.get("name") or told.get("title") or "")
    after = {key: one for key, one in seen.after.items() if one}
    if "title" in told and "attempt" in told and str(told.get("id")) != target:
        after["job"] = {"id": told["id"], "type": told.get("type")}
    server = seen.server_of(target) or _id(told.get("server_id")) or (_id(target) if noun == "servers" else None)
    before = {key: one for key, one in seen.before.items() if one}
    return Deed(action, noun, target, name, server, before, after, code)


def _told(answer: bytes) -> dict[str, Any]:
    """Return the answer's object; the user or token that it is about where it is one of several."""
    try:
        value = _object(json.loads(answer)) if answer else {}
    except ValueError:
        return {}
    return _object(value.get("user")) or value


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _id(value: object) -> uuid.UUID | None:
    try:
        return uuid.UUID(str(value))
    except ValueError:
        return None


async def record(
    tx: UnitOfWork,
    request: Request,
    action: str,
    *,
    actor: Actor | None = None,
    watch: Watch | None = None,
    answer: bytes = b"",
    code: str = "",
    asked: bool = False,
) -> None:
    """Write the one row of a request, in the transaction that does what it tells of."""
    deed = replace(deed_of(request, action, watch, answer, code), asked=asked)
    await tx.audit.add(actor or actor_of(request), deed)
    request.state.recorded = True


async def record_late(request: Request, code: str = "") -> None:
    """Write the row of a request in a transaction of its own, unless it has one: it was refused, or changed nothing."""
    if getattr(request.state, "recorded", False) and not code:
        return
    database: Database = request.app.state.gateway.database
    await database.for_requests(PATIENCE).run(lambda tx: record(tx, request, request.state.action, code=code))
