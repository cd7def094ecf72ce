"""Persons with sessions and second factors over a world's gateway, as quick as rows can be."""

from __future__ import annotations

import uuid
from typing import Any

import httpx2
from sqlalchemy import select, update

from services.api.security.origin import Origin
from services.api.security.sessions import begin_session
from shared.config.settings import ApiSettings
from shared.db.tables import FourEyes, Grant, Tag, User
from tests.harness.world import World

_HERE = Origin("192.0.2.7", secure=False, own_host=True, agent="test")


class Person:
    """Somebody who is logged in."""

    def __init__(self, app: Any, user_id: uuid.UUID, session_id: uuid.UUID, cookie: str) -> None:
        self.user_id, self.session_id = user_id, session_id
        self._app, self._headers = app, {"Cookie": f"borgfleet={cookie}", "Sec-Fetch-Site": "same-origin"}

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=self._app, raise_app_exceptions=False)
        given = self._headers | {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=given) as client:
            return await client.request(method, path, json=body)


async def person(world: World, name: str, *grants: tuple[str, str | None], factor: bool = True) -> Person:
    """A person with these roles, by default an administrator, who has just logged in with both factors."""

    async def make(tx: Any) -> tuple[uuid.UUID, uuid.UUID, str]:
        user = User(name=name, kind="person", state="active", totp_enabled=factor)
        tx.session.add(user)
        await tx.session.flush()
        tags = {tag.name: tag.id for tag in await tx.session.scalars(select(Tag))}
        for role, tag in grants or (("admin", None),):
            tx.session.add(Grant(user_id=user.id, role=role, tag_id=tags[tag] if tag else None))
        session_id, cookie = await begin_session(tx.session, user.id, "password,totp", _HERE, ApiSettings())
        return user.id, session_id, cookie

    return Person(world.app, *await world.db.run(make))


async def switch_on(world: World, cooling: int = 0) -> None:
    """Let guarded actions need a second person."""

    async def work(tx: Any) -> None:
        await tx.session.execute(update(FourEyes).values(enabled=True, cooling_seconds=cooling))

    await world.db.run(work)
