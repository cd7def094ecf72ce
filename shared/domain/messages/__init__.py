"""The catalogue: every sentence that Borgfleet says to people, once, by code; a file a noun.

`Permanent(POOL_MISSING(pool=name))` tells one. Codes are API and stay as they are. A sentence of a code that has
several is told apart by its variant: key `pool_missing.directory`. `CATALOGUE` finds all of them by key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.domain import message
from shared.domain.cause import Cause
from shared.domain.message import Message, Said
from shared.domain.messages import (
    accounts,
    alerts,
    approvals,
    backups,
    borg_causes,
    bus,
    counts,
    database,
    downloads,
    fields,
    files,
    frozen,
    importing,
    installation,
    jobs,
    proofs,
    recovery_kit,
    repositories,
    requests,
    run_reasons,
    schedules,
    servers,
    source_reasons,
    ssh_causes,
)

if TYPE_CHECKING:
    from types import ModuleType

MODULES: tuple[ModuleType, ...] = (
    requests, fields, accounts, approvals, servers, repositories, importing, backups, source_reasons, run_reasons,
    frozen, files, downloads, proofs, schedules, jobs, alerts, ssh_causes, borg_causes, bus, database, installation,
    recovery_kit, counts,
)  # fmt: skip
"""In the order in which the documents show them."""


def entries_of(module: ModuleType) -> dict[str, Message]:
    """Return the entries of one module by the name of their constant."""
    return {
        name: one.message if isinstance(one, Cause) else one
        for name, one in vars(module).items()
        if isinstance(one, (Cause, Message))
    }


CATALOGUE: dict[str, Message] = {one.key: one for module in MODULES for one in entries_of(module).values()}
"""All entries by key."""


def stored(said: Said) -> dict[str, Any] | None:
    """Return what a row keeps of what is said; None for a sentence that has no entry: its text stands beside."""
    return said.to_json() if said.key in CATALOGUE else None


def read(row: object) -> Said | None:
    """Return what a row keeps; None if it is not of this version's catalogue."""
    return message.read(row, CATALOGUE)
