"""A filter that is ignored, or a cursor that is used with another one, gives a script the wrong list: both are refused."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Query
from pydantic import BaseModel

from services.api.app import build_app
from services.api.features import ROUTERS
from services.api.kernel import pages
from services.api.kernel.guard import Allow, GuardedRoute, Open
from services.api.kernel.strict import parameters_of
from shared.db.tables import ApiToken
from shared.runtime.service import Parts
from shared.secrets.tokens import api_token_digest as token_digest


class Filters(BaseModel):
    state: list[str] = []
    since: str | None = None


@pytest.fixture
async def api(parts: Parts) -> AsyncIterator[httpx2.AsyncClient]:
    async def add(tx: Any) -> None:
        tx.session.add(ApiToken(name="admin", digest=token_digest("bf_lists")))

    await parts.db.run(add)
    transport = httpx2.ASGITransport(app=build_app(parts))
    headers = {"Authorization": "Bearer bf_lists"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        yield client


async def tags(api: httpx2.AsyncClient, count: int) -> list[str]:
    names = [f"tag{number}" for number in range(count)]
    for name in names:
        assert (await api.post("/api/tags", json={"name": name})).status_code == 201
    return names


async def test_no_route_ignores_a_parameter_that_it_does_not_know(api: httpx2.AsyncClient) -> None:
    asked = 0
    for route in (route for router in ROUTERS for route in router.routes):
        assert isinstance(route, GuardedRoute)
        path = re.sub(r"\{[^}]*\}", str(uuid.UUID(int=1)), route.path)
        for method in route.methods:
            answer = await api.request(method, path, params={"sever": "web1"})
            assert (answer.status_code, answer.json()["code"]) == (422, "unknown_parameter"), (method, path)
            assert "`sever`" in answer.json()["detail"]
            asked += 1
    assert asked > 80


@pytest.mark.parametrize(
    ("query", "names"),
    [("sever=web1", "sever"), ("Tag=x", "Tag"), ("limit=1&limit=500", "limit"), ("after=a&after=b", "after"),
     ("tag=a&tag=b&=c", ""), ("limit=1&%6Cimit=2", "limit"), ("tag%00=x", "tag")],
)  # fmt: skip
async def test_a_parameter_that_is_unknown_or_doubled_is_named_with_those_there_are(
    api: httpx2.AsyncClient, query: str, names: str
) -> None:
    answer = await api.get(f"/api/servers?{query}")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "unknown_parameter")
    assert f"`{names}" in problem["detail"]
    if "more than once" not in problem["detail"]:
        assert all(f"`{known}`" in problem["remedy"] for known in ("limit", "after", "count", "tag"))


async def test_what_may_be_repeated_may_be_repeated(api: httpx2.AsyncClient) -> None:
    assert (await api.get("/api/servers?tag=a&tag=b")).status_code == 200


async def test_the_filters_of_a_refused_deletion_stay_harmless(api: httpx2.AsyncClient) -> None:
    """`server=` misspelt on the pause of one server would have ended the pause of the fleet."""
    await api.put("/api/pauses", json={"reason": "move"})
    assert (await api.delete("/api/pauses?serevr=web1")).status_code == 422
    assert len((await api.get("/api/pauses")).json()) == 1


def test_parameters_of_a_model_are_known_one_by_one() -> None:
    router = APIRouter(route_class=GuardedRoute)

    @router.get("/x", dependencies=[Allow(Open.ACCOUNT)])
    async def listed(filters: Annotated[Filters, Query()]) -> None: ...

    (route,) = router.routes
    assert isinstance(route, GuardedRoute)
    assert parameters_of(route.dependant) == {"state": True, "since": False}


async def test_a_list_is_followed_by_its_link_to_the_end(api: httpx2.AsyncClient) -> None:
    names, found = await tags(api, 5), []
    url: str | None = "/api/tags?limit=2&count=true"
    while url is not None:
        answer = await api.get(url)
        body = answer.json()
        found += [item["name"] for item in body["items"]]
        assert (body["total"], body["more"]) == (5, False)
        link = answer.links.get("next")
        assert (link is None) == (body["next"] is None)
        url = link["url"] if link else None
    assert found == names


async def test_a_count_is_bounded_and_says_so(api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    await tags(api, 4)
    monkeypatch.setattr(pages, "COUNTED", 3)
    body = (await api.get("/api/tags?count=true&limit=1")).json()
    assert (body["total"], body["more"], len(body["items"])) == (3, True, 1)
    assert not {"total", "more"} & (await api.get("/api/tags")).json().keys()


@pytest.mark.parametrize("path", ["servers", "groups", "storage-pools", "repositories", "backup-jobs", "backups", "jobs",
                                  "alerts", "notification-channels", "notifications", "missed-runs", "dead-letters"])  # fmt: skip
async def test_every_list_can_be_counted(api: httpx2.AsyncClient, path: str) -> None:
    body = (await api.get(f"/api/{path}?count=true")).json()
    assert (body["total"], body["more"], body["items"], body["next"]) == (0, False, [], None)


async def test_a_cursor_holds_for_the_list_that_it_came_from_only(api: httpx2.AsyncClient) -> None:
    for name in ("web1", "web2", "web3"):
        await api.post("/api/servers", json={"name": name, "host": "192.0.2.1", "tags": ["a", "b"]})
    cursor = (await api.get("/api/servers?limit=1&tag=a&tag=b")).json()["next"]
    ok = await api.get("/api/servers", params=[("tag", "b"), ("after", cursor), ("tag", "a"), ("limit", "2")])
    assert [item["name"] for item in ok.json()["items"]] == ["web2", "web3"]
    for path in (f"servers?after={cursor}", f"servers?tag=a&after={cursor}", f"tags?tag=a&tag=b&after={cursor}"):
        answer = await api.get(f"/api/{path}")
        assert answer.status_code == 422
        assert answer.json()["code"] in {"bad_cursor", "unknown_parameter"}
    old = base64.urlsafe_b64encode(b"web1").decode()
    assert (await api.get(f"/api/servers?after={old}")).json()["code"] == "bad_cursor"
