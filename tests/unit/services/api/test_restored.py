"""A database that was restored is told until a person accepts it: by the API, by the command line, by an alert."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
from sqlalchemy import update

from services.stats.alerts.readings import readings
from services.stats.metrics.queries import load_figures
from shared.db.tables import Repository
from shared.domain.alerts import DEFAULTS, AlertKind, Level
from shared.runtime.service import Parts
from tests.unit.services.api.test_api import api, made

__all__ = ["api"]
AT = datetime.now(UTC) - timedelta(days=3)


async def level(parts: Parts) -> Level | None:
    """Return how bad the alert says it is, by the figures that Prometheus sees too."""
    async with parts.db.read() as session:
        found = await load_figures(session)
    (one,) = [one for one in readings(found, growth={}) if one.kind is AlertKind.DATABASE_OLDER]
    assert (one.subject, one.server) == ("repository:web1/system", "web1")
    assert one.value is not None
    return DEFAULTS[one.kind].level(one.value)


async def found_restored(parts: Parts, **values: Any) -> None:
    await parts.db.run(lambda tx: tx.session.execute(update(Repository).values(**{"restored_at": AT} | values)))


async def pool(api: httpx2.AsyncClient) -> Any:
    return (await api.get("/api/storage-pools")).json()["items"][0]["restored_at"]


async def test_a_restored_database_is_told_until_somebody_accepts_it_and_who_and_why_is_kept(
    api: httpx2.AsyncClient, parts: Parts
) -> None:
    path = f"/api/repositories/{(await made(api))['repository']['id']}"
    shown = (await api.get(path)).json()
    assert (shown["restored_at"], await pool(api), await level(parts)) == (None, None, None)
    refused = await api.post(f"{path}/accept-restored", json={"reason": "why"})
    assert (refused.status_code, refused.json()["code"]) == (409, "repository_not_restored")

    await found_restored(parts)
    for listed in ((await api.get(path)).json(), (await api.get("/api/repositories")).json()["items"][0]):
        assert datetime.fromisoformat(listed["restored_at"]) == AT
        assert listed["restored_accepted_at"] is None
    assert datetime.fromisoformat(await pool(api)) == AT
    assert await level(parts) is Level.WARNING  # three days later, too

    for body in ({}, {"reason": ""}):
        assert (await api.post(f"{path}/accept-restored", json=body)).status_code == 422
    accepted = (await api.post(f"{path}/accept-restored", json={"reason": "holds are set again"})).json()
    assert (accepted["restored_accepted_by"], accepted["restored_accepted_reason"]) == ("admin", "holds are set again")
    assert datetime.fromisoformat(accepted["restored_at"]) == AT
    assert accepted["restored_accepted_at"] > accepted["restored_at"]
    assert (await pool(api), await level(parts)) == (None, None)
    again = await api.post(f"{path}/accept-restored", json={"reason": "once more"})
    assert (again.status_code, again.json()["code"]) == (409, "repository_not_restored")


async def test_a_second_restore_is_told_again(api: httpx2.AsyncClient, parts: Parts) -> None:
    await made(api)
    await found_restored(parts, restored_accepted_at=AT)
    assert await level(parts) is None
    await found_restored(parts, restored_accepted_at=None)
    assert await level(parts) is Level.WARNING
