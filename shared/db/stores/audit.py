"""Writes what was done into the audit log, and authenticates its rows and seals with the master key."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import delete, func, insert, select, update

from shared.db.tables.audit import AuditEntry, AuditSeal
from shared.db.tables.base import db_now
from shared.domain.ids import new_id
from shared.domain.text import clean
from shared.errors import Permanent

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping

    from sqlalchemy import CursorResult
    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.secrets.envelope import KeyRing

AT_ONCE = 5000
"""Rows under one seal."""
_ENTRY, _SEAL, _STUB = "audit entry", "audit seal", "audit stub"
_CODED = (
    "id", "at", "actor_kind", "actor_id", "actor_name", "token_id", "address", "request_id", "action", "noun",
    "target_id", "target_name", "server_id", "before", "after", "outcome", "code",
)  # fmt: skip
_SEALED = ("seq", "count", "root", "prev", "at")
AUDIT_SEAL_FIELDS = (*_SEALED, "key_id", "mac")
_LONGEST = 100_000
"""Characters of all that is kept of a row before or after."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, and from where."""

    kind: Literal["user", "token", "console", "outside"]
    name: str = ""
    id: uuid.UUID | None = None
    token_id: uuid.UUID | None = None
    address: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Deed:
    """What was done, or refused with a code."""

    action: str
    noun: str = ""
    target_id: str = ""
    target_name: str = ""
    server_id: uuid.UUID | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    code: str = ""
    asked: bool = False
    """It was only asked for: another person has to agree."""

    @property
    def outcome(self) -> str:
        """`refused` with a code, `asked`, else `done`."""
        return "refused" if self.code else "asked" if self.asked else "done"


class Audit:
    """The audit log within one transaction: a row commits with what it tells of."""

    def __init__(self, session: AsyncSession, key_ring: KeyRing) -> None:
        """Bind to a session and the master keys."""
        self._session = session
        self._ring = key_ring

    async def add(self, actor: Actor, deed: Deed) -> None:
        """Write one row."""
        values: dict[str, Any] = {
            "id": new_id(), "at": (await self._session.execute(select(db_now()))).scalar_one(),
            "actor_kind": actor.kind, "actor_id": actor.id, "actor_name": clean(actor.name, 100),
            "token_id": actor.token_id, "address": clean(actor.address, 64), "request_id": clean(actor.request_id, 64),
            "action": deed.action, "noun": deed.noun, "target_id": clean(deed.target_id, 64),
            "target_name": clean(deed.target_name, 700), "server_id": deed.server_id, "before": _text(deed.before),
            "after": _text(deed.after), "outcome": deed.outcome, "code": deed.code, "key_id": self._ring.current,
        }  # fmt: skip
        values["mac"] = self._ring.code(_ENTRY, _canonical(values, _CODED))
        await self._session.execute(insert(AuditEntry).values(values))

    async def is_unsealed(self) -> bool:
        """Tell whether a row waits for its seal."""
        return await self._session.scalar(select(AuditEntry.id).where(AuditEntry.seal.is_(None)).limit(1)) is not None

    async def seal(self) -> AuditSeal | None:
        """Seal the committed rows that have no seal; None where there are none.

        Never "all after the last one": a row may commit after one that is younger. Two that seal at once make the same
        number, and the database refuses one of them.
        """
        query = select(AuditEntry.id, AuditEntry.mac).where(AuditEntry.seal.is_(None))
        rows = (await self._session.execute(query.order_by(AuditEntry.at, AuditEntry.id).limit(AT_ONCE))).all()
        if not rows:
            return None
        last = await self._session.scalar(select(AuditSeal).order_by(AuditSeal.seq.desc()).limit(1))
        values: dict[str, Any] = {
            "seq": last.seq + 1 if last else 1, "count": len(rows), "root": root_of(row.mac for row in rows),
            "prev": last.mac if last else "", "at": (await self._session.execute(select(db_now()))).scalar_one(),
        }  # fmt: skip
        code = self._ring.code(_SEAL, _canonical(values, _SEALED))
        seal = AuditSeal(**values, key_id=self._ring.current, mac=code)
        self._session.add(seal)
        await self._session.flush()
        mine = update(AuditEntry).where(AuditEntry.id.in_([row.id for row in rows]), AuditEntry.seal.is_(None))
        changed: CursorResult[Any] = await self._session.execute(  # pyright: ignore[reportAssignmentType] - of an UPDATE
            mine.values(seal=seal.seq), execution_options={"synchronize_session": False}
        )
        if changed.rowcount != len(rows):
            message = f"{len(rows)} rows of the audit log were to be sealed, and {changed.rowcount} were there"
            raise Permanent(message, code="audit_broken", remedy="run `borgfleet audit verify`")
        return seal

    def is_whole(self, row: AuditEntry | AuditSeal) -> bool:
        """Tell whether a row or seal is as it was written; Permanent without the key that it was written with."""
        purpose, names = (_ENTRY, _CODED) if isinstance(row, AuditEntry) else (_SEAL, _SEALED)
        values = {name: getattr(row, name) for name in names}
        return self._ring.code(purpose, _canonical(values, names), row.key_id) == row.mac

    async def prune(self, older_than: float) -> int:
        """Take away the rows of the oldest seal if that is older than so many seconds; return how many, -1 for none.

        Whole seals only, the oldest first. What stays of one is a stub: its number, its codes, and the signed time.
        """
        kept = select(AuditSeal).where(AuditSeal.pruned_at.is_(None)).order_by(AuditSeal.seq).limit(1)
        seal = await self._session.scalar(kept.with_for_update())
        now = (await self._session.execute(select(db_now()))).scalar_one()
        if seal is None or (now - seal.at).total_seconds() < older_than:
            return -1
        seal.pruned_at, seal.pruned_key_id = now, self._ring.current
        seal.pruned_mac = self._ring.code(_STUB, _stub(seal))
        await self._session.flush()
        gone: CursorResult[Any] = await self._session.execute(  # pyright: ignore[reportAssignmentType] - of a DELETE
            delete(AuditEntry).where(AuditEntry.seal == seal.seq)
        )
        return gone.rowcount

    def is_stub(self, seal: AuditSeal) -> bool:
        """Tell whether a seal that says that it was pruned really was; Permanent without the key."""
        return self._ring.code(_STUB, _stub(seal), seal.pruned_key_id) == seal.pruned_mac

    async def count_beyond(self, seq: int) -> int:
        """Count the rows that say that they are under a seal after this one."""
        count = select(func.count()).select_from(AuditEntry).where(AuditEntry.seal > seq)
        return await self._session.scalar(count) or 0


def _stub(seal: AuditSeal) -> str:
    return _canonical({"seq": seal.seq, "mac": seal.mac, "at": seal.pruned_at}, ("seq", "mac", "at"))


def root_of(codes: Iterable[str]) -> str:
    """Return what stands for the rows of a seal, in their order."""
    return hashlib.sha256("".join(codes).encode()).hexdigest()


def _canonical(values: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the one text of a row: each value as JSON, in a fixed order."""
    return json.dumps([_plain(values[name]) for name in names], separators=(",", ":"))


def _plain(value: Any) -> str | int | None:
    if value is None or isinstance(value, (str, int)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _text(values: Mapping[str, Any] | None) -> str | None:
    if not values:
        return None
    text = json.dumps(values, sort_keys=True)
    return text if len(text) <= _LONGEST else json.dumps({"too_long": len(text)})
