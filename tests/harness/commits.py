"""COMMITs that are lost, or whose answer is: where there is no wire to cut, the driver's own error stands for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.exc import OperationalError

from shared.db.unit_of_work import UnitOfWork


def lose_commits(monkeypatch: pytest.MonkeyPatch, lost: Callable[[], bool], *, committed: bool) -> None:
    """Lose each COMMIT for which `lost` says so; if `committed`, it was done and only its answer is lost."""
    real = UnitOfWork.commit

    async def commit(work: UnitOfWork) -> None:
        if not lost():
            await real(work)
            return
        if committed:
            await real(work)
        raise OperationalError("COMMIT", {}, Exception(2013, "Lost connection to server during query"))

    monkeypatch.setattr(UnitOfWork, "commit", commit)
