"""The audit log as lines of JSON, each seal after its rows, so that it can be kept and verified elsewhere."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, inspect, select

from shared.db.stores.audit import AT_ONCE
from shared.db.tables.audit import AuditEntry, AuditSeal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.session import Database

_SEALS = 50
"""Seals that are read in one session."""


async def exported(db: Database, after: int) -> AsyncGenerator[bytes]:
    """Yield one line a row and a seal after this one, in order, then the rows without a seal, then a line `end`.

    An export without that line was broken off. `before` and `after` are the very texts that the codes are made of.
    """
    last, rows, seals = after, 0, 0
    while True:
        async with db.read() as session:
            found = await _sealed(session, last)
            waiting = [] if found else await _unsealed(session)
            newest = 0 if found else await session.scalar(select(func.max(AuditSeal.seq))) or 0
        for seal, entries in found:
            yield _lines("entry", entries) + _lines("seal", [seal])
            last, rows, seals = seal.seq, rows + len(entries), seals + 1
        if found or newest > last:  # a seal that came while the rest was read may hold some of it
            continue
        yield _lines("entry", waiting)
        end = {"kind": "end", "seals": seals, "last_seal": last, "rows": rows + len(waiting)}
        yield f"{json.dumps(end)}\n".encode()
        return


async def _sealed(session: AsyncSession, after: int) -> list[tuple[AuditSeal, list[AuditEntry]]]:
    query = select(AuditSeal).where(AuditSeal.seq > after).order_by(AuditSeal.seq).limit(_SEALS)
    found: list[tuple[AuditSeal, list[AuditEntry]]] = []
    held = 0
    for seal in (await session.scalars(query)).all():
        mine = select(AuditEntry).where(AuditEntry.seal == seal.seq).order_by(AuditEntry.at, AuditEntry.id)
        entries = list(await session.scalars(mine))
        found.append((seal, entries))
        held += len(entries)
        if held >= AT_ONCE:
            break
    return found


async def _unsealed(session: AsyncSession) -> list[AuditEntry]:
    query = select(AuditEntry).where(AuditEntry.seal.is_(None)).order_by(AuditEntry.at, AuditEntry.id)
    return list(await session.scalars(query))


def _lines(kind: str, rows: Iterable[AuditEntry | AuditSeal]) -> bytes:
    return b"".join(f"{json.dumps({'kind': kind} | _values(row))}\n".encode() for row in rows)


def _values(row: AuditEntry | AuditSeal) -> dict[str, Any]:
    mapped: Any = inspect(row)
    return {column.key: _plain(getattr(row, column.key)) for column in mapped.mapper.column_attrs}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID) else value
