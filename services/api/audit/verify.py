"""Verifies the audit log: names the first row, seal or gap that is not as it was written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError
from sqlalchemy import select

from shared.db.stores.audit import AT_ONCE, AUDIT_SEAL_FIELDS, root_of
from shared.db.tables.audit import AuditEntry, AuditSeal
from shared.errors import Permanent, Transient
from shared.events.audit import AuditSealed
from shared.events.streams import AUDIT

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from shared.bus.port import Bus
    from shared.db.unit_of_work import UnitOfWork

MOST_SEALS = 200
_MOST_ROWS = 2 * AT_ONCE

What = Literal["row_changed", "rows_differ", "seal_changed", "seal_missing", "key_missing"]


@dataclass(frozen=True, slots=True)
class Broken:
    """The first thing that is wrong."""

    what: What
    seal: int | None
    entry: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What was verified, and how far."""

    seals: int
    rows: int
    last: int
    """The last seal that was looked at."""
    more: bool
    broken: Broken | None = None


async def published(bus: Bus) -> AuditSealed | None:
    """Return the newest seal that was published, to compare with; None without one, or while the bus is silent.

    Ask before the seals are read: what is published was committed before.
    """
    try:
        found = await bus.last(AUDIT, AuditSealed.subject)
    except Transient:
        return None
    try:
        return AuditSealed.model_validate_json(found) if found is not None else None
    except ValidationError:
        return None  # of another version, or of who may publish anything where the bus asks nobody for a key


async def verify(tx: UnitOfWork, after: int, witness: AuditSealed | None = None) -> Verified:
    """Verify some seals after this one with their rows; at the end, the rows that wait for a seal too.

    At the end also that the `witness`, a seal that was published, is still there.
    """
    query = select(AuditSeal).where(AuditSeal.seq > after).order_by(AuditSeal.seq).limit(MOST_SEALS)
    seals = (await tx.session.scalars(query)).all()
    before = await tx.session.get(AuditSeal, after) if after else None
    if after and before is None:
        return Verified(0, 0, after, more=False, broken=Broken("seal_missing", after))
    prev, checked, rows = (before.mac if before else ""), 0, 0
    for seal in seals:
        if seal.seq != after + checked + 1:
            return Verified(
                checked, rows, after + checked, more=False, broken=Broken("seal_missing", after + checked + 1)
            )
        found = await _seal_is_whole(tx, seal, prev)
        if isinstance(found, Broken):
            return Verified(checked, rows, seal.seq, more=False, broken=found)
        prev, checked, rows = seal.mac, checked + 1, rows + found
        if rows >= _MOST_ROWS:
            break
    last = after + checked
    if checked < len(seals) or len(seals) == MOST_SEALS:
        return Verified(checked, rows, last, more=True)
    return await _ended(tx, Verified(checked, rows, last, more=False), witness)


async def _ended(tx: UnitOfWork, found: Verified, witness: AuditSealed | None) -> Verified:
    """Verify what is beyond the last seal: rows of seals that are not there, the published seal, rows without one."""
    if await tx.audit.count_beyond(found.last):
        return replace(found, broken=Broken("seal_missing", found.last + 1))
    if witness is not None and (broken := await _differs(tx, witness)) is not None:
        return replace(found, broken=broken)
    waiting = (await tx.session.scalars(select(AuditEntry).where(AuditEntry.seal.is_(None)).limit(AT_ONCE))).all()
    return replace(found, rows=found.rows + len(waiting), broken=_rows_are_whole(tx, waiting, None))


async def _differs(tx: UnitOfWork, witness: AuditSealed) -> Broken | None:
    """Return what is wrong with the tables if a published seal is right; one that nobody here made proves nothing."""
    try:
        if not tx.audit.is_whole(AuditSeal(**{name: getattr(witness, name) for name in AUDIT_SEAL_FIELDS})):
            return None
    except Permanent:
        return None
    kept = await tx.session.get(AuditSeal, witness.seq)
    if kept is None:
        return Broken("seal_missing", witness.seq)
    return None if kept.mac == witness.mac else Broken("seal_changed", witness.seq)


async def _seal_is_whole(tx: UnitOfWork, seal: AuditSeal, prev: str) -> Broken | int:
    """Return what is wrong with a seal or its rows; else how many these are."""
    try:
        if not tx.audit.is_whole(seal) or not (seal.pruned_at is None or tx.audit.is_stub(seal)):
            return Broken("seal_changed", seal.seq)
    except Permanent:
        return Broken("key_missing", seal.seq)
    if seal.prev != prev:
        return Broken("seal_missing", seal.seq)
    mine = select(AuditEntry).where(AuditEntry.seal == seal.seq).order_by(AuditEntry.at, AuditEntry.id)
    entries = (await tx.session.scalars(mine.limit(AT_ONCE + 1))).all()
    if (broken := _rows_are_whole(tx, entries, seal.seq)) is not None:
        return broken
    whole = len(entries) == seal.count and root_of(entry.mac for entry in entries) == seal.root
    if entries if seal.pruned_at is not None else not whole:
        return Broken("rows_differ", seal.seq)
    tx.session.expunge_all()  # a page of them is enough to hold
    return len(entries)


def _rows_are_whole(tx: UnitOfWork, entries: Sequence[AuditEntry], seal: int | None) -> Broken | None:
    for entry in entries:
        try:
            if not tx.audit.is_whole(entry):
                return Broken("row_changed", seal, entry.id)
        except Permanent:
            return Broken("key_missing", seal, entry.id)
    return None
