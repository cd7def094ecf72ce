"""A list that is not whole says so: nobody takes the first thousand for all there are."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import insert

from services.api.app import build_app
from services.api.features.alerts import windows as alerts
from services.api.features.schedules import routes as schedules
from services.api.features.system import routes as kernel
from shared.db.tables import (
    ApiToken,
    BackupJob,
    MaintenanceWindow,
    Pause,
    Repository,
    Schedule,
    Server,
    ServiceInstance,
    StoragePool,
)
from shared.domain.ids import new_id
from shared.runtime.service import Parts
from shared.secrets.tokens import api_token_digest as token_digest

HEADER = "Borgfleet-Incomplete"
NOW = datetime.now(UTC)


@pytest.fixture
async def api(parts: Parts) -> AsyncIterator[httpx2.AsyncClient]:
    token = "bf_bounded"

    async def add(tx: Any) -> None:
        tx.session.add(ApiToken(name="admin", digest=token_digest(token)))

    await parts.db.run(add)
    headers = {"Authorization": f"Bearer {token}"}
    transport = httpx2.ASGITransport(app=build_app(parts))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        yield client


async def fill(parts: Parts, count: int) -> None:
    server, pool, repository = new_id(), new_id(), new_id()
    jobs = [
        {"id": new_id(), "name": f"job{n:02}", "server_id": server, "repository_id": repository, "sources": ["/"]}
        for n in range(count)
    ]
    hourly = {"spec": {"kind": "days", "times": ["02:30"]}, "period_seconds": 86_400, "due_at": NOW, "next_run_at": NOW}
    rows: list[tuple[Any, list[dict[str, Any]]]] = [
        (Server, [{"id": server, "name": "s", "host": "h", "facts": {}}]),
        (StoragePool, [{"id": pool, "name": "p", "node": "n", "path": "/p"}]),
        (Repository, [{"id": repository, "name": "r", "server_id": server, "pool_id": pool, "path": "/r"}]),
        (BackupJob, jobs),
        (Schedule, [{"id": new_id(), "backup_job_id": job["id"]} | hourly for job in jobs]),
        (Pause, [{"id": new_id(), "server": f"other{n}"} for n in range(count)]),
        (ServiceInstance, [{"id": new_id(), "service": "api", "node": "", "version": "1"} for _ in range(count)]),
        (
            MaintenanceWindow,
            [{"id": new_id(), "starts_at": NOW, "ends_at": NOW + timedelta(hours=n)} for n in range(count)],
        ),
    ]

    async def add(tx: Any) -> None:
        for table, some in rows:
            await tx.session.execute(insert(table), some)

    await parts.db.run(add)


@pytest.mark.parametrize(
    ("path", "module", "limit"),
    [
        ("/api/pauses", schedules, "MOST"),
        ("/api/forecast?hours=48", schedules, "MOST_RUNS"),
        ("/api/services", kernel, "MOST"),
        ("/api/maintenance-windows", alerts, "MOST"),
    ],
)
async def test_a_list_without_pages_tells_that_it_was_cut(
    api: httpx2.AsyncClient, parts: Parts, monkeypatch: pytest.MonkeyPatch, path: str, module: Any, limit: str
) -> None:
    await fill(parts, 4)
    whole = await api.get(path)
    assert HEADER not in whole.headers
    assert len(whole.json()) >= 4
    monkeypatch.setattr(module, limit, 3)
    cut = await api.get(path)
    assert len(cut.json()) == 3
    assert cut.headers[HEADER] == "only the first 3"


async def test_compliance_comes_in_parts_that_name_the_next_one(api: httpx2.AsyncClient, parts: Parts) -> None:
    await fill(parts, 5)
    whole = await api.get("/api/compliance")
    assert HEADER not in whole.headers
    names = [row["backup_job"] for row in whole.json()]
    assert names == [f"job{n:02}" for n in range(5)]
    part, seen = await api.get("/api/compliance?limit=2"), []
    while True:
        seen += [row["backup_job"] for row in part.json()]
        if "Link" not in part.headers:
            break
        assert part.headers[HEADER] == "only 2"
        part = await api.get(part.headers["Link"].partition("<")[2].partition(">")[0])
    assert seen == names
    as_csv = await api.get("/api/compliance?limit=2&csv=true")
    assert [row["backup_job"] for row in csv.DictReader(io.StringIO(as_csv.text))] == names[:2]
    assert as_csv.headers[HEADER] == "only 2"
    assert "csv=true" in as_csv.headers["Link"]
    assert (await api.get("/api/compliance?limit=2001")).status_code == 422
