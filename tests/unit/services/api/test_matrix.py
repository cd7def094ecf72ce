"""Every route against everybody: no route is forgotten. (That the body of who may not is unread: test_door.py.)"""

from __future__ import annotations

import re
import uuid
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from services.api.app import build_app
from services.api.features import ROUTERS
from services.api.kernel.guard import GuardedRoute, Open
from shared.db.tables import ApiToken, Grant, Tag, User
from shared.db.tables.base import db_now
from shared.domain.permissions import FLEET_ONLY, ROLES, Permission, Role
from shared.runtime.service import Parts
from shared.secrets.tokens import new_api_token

ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, GuardedRoute)]
NOBODY = ("unknown", "expired", "revoked", "disabled", "none")
SAMPLES = {
    ("viewer", "GET", "/api/servers"): True,
    ("viewer", "POST", "/api/servers"): False,
    ("viewer", "GET", "/api/users"): False,
    ("auditor", "GET", "/api/users"): True,
    ("auditor", "POST", "/api/users"): False,
    ("restore_operator", "POST", "/api/backup-jobs/{backup_job_id}/run"): False,
    ("operator", "POST", "/api/backup-jobs/{backup_job_id}/run"): True,
    ("operator", "DELETE", "/api/backups/{backup_id}"): False,
    ("operator", "DELETE", "/api/servers/{server_id}"): False,
    ("operator", "POST", "/api/notification-channels"): False,
    ("operator", "PUT", "/api/users/{user_id}/grants"): False,
    ("admin", "DELETE", "/api/backups/{backup_id}"): True,
    ("no role", "GET", "/api/jobs"): False,
    ("no role", "GET", "/api/auth/me"): True,
}


def address(route: APIRoute) -> str:
    return re.sub(r"\{\w+\}", "00000000-0000-4000-8000-000000000000", route.path)


async def tokens(parts: Parts) -> dict[str, str]:
    """A token of a user with each role, of one without any, of one limited to a tag; and of those whom nobody knows."""
    made: dict[str, str] = {"unknown": new_api_token().text, "none": ""}

    async def make(tx: Any) -> None:
        tag = Tag(name="eu")
        tx.session.add(tag)
        await tx.session.flush()
        kinds: dict[str, list[tuple[str, uuid.UUID | None]]] = {role.value: [(role.value, None)] for role in Role}
        kinds |= {"no role": [], "tagged admin": [("admin", tag.id)], "newer role": [("emperor", None)]}
        kinds |= {kind: [("admin", None)] for kind in ("expired", "revoked", "disabled")}
        for kind, grants in kinds.items():
            user = User(name=kind.replace(" ", "-"), state="disabled" if kind == "disabled" else "active")
            tx.session.add(user)
            await tx.session.flush()
            tx.session.add_all(Grant(user_id=user.id, role=role, tag_id=tag_id) for role, tag_id in grants)
            secret = new_api_token()
            token = ApiToken(name=user.name, digest=secret.digest, prefix=secret.prefix, user_id=user.id)
            token.expires_at = db_now(-1) if kind == "expired" else None
            token.revoked_at = db_now() if kind == "revoked" else None
            tx.session.add(token)
            made[kind] = secret.text

    await parts.db.run(make)
    return made


def may(kind: str, route: GuardedRoute) -> bool:
    rule = route.allow.rule
    if isinstance(rule, Open):
        return True
    if kind == "tagged admin":  # what it sees and changes: tests/contract/test_scope.py
        return rule not in FLEET_ONLY
    return kind in {role.value for role in Role} and rule in ROLES[Role(kind)]


async def ask(app: FastAPI, route: GuardedRoute, token: str, content: Any) -> httpx2.Response:
    (method,) = sorted(route.methods - {"HEAD"})[:1]
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        request = client.build_request(method, address(route), headers=headers, content=content)
        return await client.send(request)


async def test_every_route_lets_in_whom_its_permission_names_and_nobody_else(parts: Parts) -> None:
    app = build_app(parts)
    known = await tokens(parts)
    wrong: list[Any] = []
    for route in ROUTES:
        for kind, token in known.items():
            if kind in NOBODY:
                expected = 0 if route.allow.rule is Open.PUBLIC else 401
            else:
                expected = 0 if may(kind, route) else 403
            if kind == "tagged admin" and route.path == "/api/pauses":
                continue  # without a server it is about all of them: tests/contract/test_scope.py
            if not expected and "DELETE" in route.methods:
                continue  # it would do it
            if not expected and route.path.startswith(("/api/users", "/api/tokens", "/api/auth", "/api/approvals")):
                continue  # tests of their own
            answer = await ask(app, route, token, b"{}" if not expected else None)
            refused = answer.status_code if answer.status_code in (401, 403) else 0
            if refused != expected:
                wrong.append((kind, sorted(route.methods), route.path, answer.status_code, answer.text[:200]))
    assert wrong == []


@pytest.mark.parametrize("sample", sorted(SAMPLES))
def test_the_table_of_roles_says_what_people_expect(sample: tuple[str, str, str]) -> None:
    kind, method, path = sample
    (route,) = [one for one in ROUTES if one.path == path and method in one.methods]
    assert may(kind, route) is SAMPLES[sample]


def test_every_permission_that_is_asked_for_is_one_that_there_is() -> None:
    assert {route.allow.rule for route in ROUTES} <= {*Permission, *Open}
    assert len(ROUTES) > 90
