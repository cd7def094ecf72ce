"""What stands in the database is as old as the database's clock says: our own may be wrong, and is asked in few places."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = [file for room in ("services", "shared/db", "shared/runtime") for file in sorted((ROOT / room).rglob("*.py"))]
OWN = {
    "services/api/kernel/scheduling.py": "runs to come, shown to people; for a new schedule the database is asked first",
    "services/backup/create/making.py": "part of an archive's name",
    "services/backup/inventory/reconcile.py": "when a repository was seen whole, shown to people",
    "services/backup/maintenance/prune.py": "is held against the database's, and refused where they differ",
    "services/backup/node/leaves.py": "a grant on the node's own disk, which only this node reads",
    "services/backup/node/storage.py": "is held against what servers wrote into a repository, with a day to spare",
    "services/stats/alerts/audience.py": "only where no time is given: whether a channel's hours make sense at all",
    "services/stats/alerts/evaluate.py": "only where the database gave no time",
    "services/stats/collect/probe.py": "the moment of an answer, set right by the database's clock before it is stored",
    "services/stats/collect/record.py": "is held against the database's",
    "shared/runtime/board.py": "when a task of this process succeeded, for its own metrics",
    "shared/runtime/context.py": "stamps of log lines, and a pause that has bounds",
    "shared/runtime/delivery.py": "when a message was set aside, for people",
}
"""Files that ask this machine what time it is, and why a wrong answer does no harm there."""


def asks(file: Path) -> Iterator[int]:
    """Yield the lines that ask for the time of day."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns",
        ):  # fmt: skip
            yield node.lineno


def test_our_own_clock_is_asked_only_where_that_does_no_harm() -> None:
    found = {str(file.relative_to(ROOT)): list(asks(file)) for file in FILES}
    asking = {name: lines for name, lines in found.items() if lines}
    assert {name: lines for name, lines in asking.items() if name not in OWN} == {}, (
        "use shared.db.clock.read_now, or db_now() in the statement itself"
    )
    assert set(OWN) - set(asking) == set(), "these ask no more: take them off the list"
