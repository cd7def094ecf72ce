"""Two servers with one of everything that a server has, a gateway over them, and who may see one of the two."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select

from services.api.app import build_app
from services.api.kernel.guard import GuardedRoute
from shared.bus.memory import MemoryBus
from shared.config.settings import Settings
from shared.db.session import Database
from shared.db.stores.tags import set_server_tags
from shared.db.tables import (
    Alert,
    AlertChange,
    ApiToken,
    Archive,
    BackupJob,
    Grant,
    Job,
    JobLog,
    MaintenanceWindow,
    MissedRun,
    Pause,
    Repository,
    RestoreProof,
    Schedule,
    Server,
    ServerStatus,
    StoragePool,
    Tag,
    User,
)
from shared.db.visible import LIMITED
from shared.runtime.service import Parts
from shared.secrets.tokens import new_api_token

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
WHY = "it was decided so"
RESTORE = {"target_path": "/var/restore/x"}


async def settle(tx: Any, name: str, tag: str, pool: StoragePool) -> dict[str, uuid.UUID]:
    """A server with a tag, and one of everything that a server has."""
    session = tx.session
    server = Server(name=name, host=f"{name}.example", username="root", facts={})
    session.add(server)
    await set_server_tags(session, server, [tag])
    repository = Repository(name=f"{name}-r", server_id=server.id, pool_id=pool.id, path=f"/pool/{name}/r")
    session.add(repository)
    await session.flush()
    made = BackupJob(name=f"{name}-b", server_id=server.id, repository_id=repository.id, sources=["/srv"])
    session.add(made)
    await session.flush()
    archive = Archive(
        repository_id=repository.id, server_id=server.id, backup_job_id=made.id, name=f"{name}-a", borg_id="0" * 64,
        started_at=NOW, ended_at=NOW,
    )  # fmt: skip
    job = Job(type="backup_create", title=f"{name} job", state="failed", server_id=server.id, backup_job_id=made.id)
    alert = Alert(
        open_key=f"disk {name}", kind="disk", subject=f"server:{name}:/", server=name, state="firing", level="warning",
        value=91.0, threshold=90.0,
    )  # fmt: skip
    window = MaintenanceWindow(server=name, server_id=server.id, starts_at=NOW, ends_at=NOW + timedelta(days=900))
    session.add_all([archive, job, alert, window])
    await session.flush()
    spec = {"kind": "days", "times": ["02:30"], "zone": "UTC"}
    due = datetime.now(UTC) + timedelta(hours=1)
    schedule = {"spec": spec, "period_seconds": 86_400, "due_at": due, "next_run_at": due}
    session.add_all([
        AlertChange(alert_id=alert.id, what="raise", level="warning", value=91.0, note=name),
        JobLog(job_id=job.id, attempt=1, seq=1, at=NOW, level="info", source="borg", message=name),
        Pause(server=name, server_id=server.id, reason=name, until=NOW),
        Schedule(backup_job_id=made.id, **schedule),
        Schedule(repository_id=repository.id, task="repository_check", **schedule),
        MissedRun(schedule_id=uuid.uuid4(), backup_job_id=made.id, due_at=NOW, code="downtime", reason=name),
        ServerStatus(server_id=server.id, up=True),
        RestoreProof(
            repository_id=repository.id, server_id=server.id, backup_job_id=made.id, archive_id=archive.id,
            kind="sample", state="good", chosen=1, files=1, bytes=5, started_at=NOW, ended_at=NOW,
        ),
    ])  # fmt: skip
    await session.flush()
    return {
        "server_id": server.id, "repository_id": repository.id, "backup_job_id": made.id, "backup_id": archive.id,
        "job_id": job.id, "alert_id": alert.id, "window_id": window.id, "pool_id": pool.id,
    }  # fmt: skip


class World:
    """Two servers, and who may see one of them."""

    def __init__(self, db: Database, bus: MemoryBus) -> None:
        self.db = db
        self.bus = bus
        self.app = build_app(Parts(Settings(), db, bus, CollectorRegistry()))
        self.tokens: dict[str, str] = {}
        self.mine: dict[str, uuid.UUID] = {}
        self.other: dict[str, uuid.UUID] = {}

    async def prepare(self) -> None:
        async def make(tx: Any) -> None:
            pool = StoragePool(name="pool", node="node", path="/pool")
            tx.session.add(pool)
            await tx.session.flush()
            self.mine = await settle(tx, "mine", "eu", pool)
            self.other = await settle(tx, "other", "us", pool)

        await self.db.run(make)
        await self.token("eu", ("admin", "eu"))
        await self.token("us", ("admin", "us"))

    async def token(self, name: str, *grants: tuple[str, str | None], limited_to: list[str] | None = None) -> None:
        """A token of a user with these roles."""
        secret = new_api_token()

        async def make(tx: Any) -> None:
            tags = {tag.name: tag.id for tag in await tx.session.scalars(select(Tag))}
            user = User(name=f"u-{name}")
            tx.session.add(user)
            await tx.session.flush()
            tx.session.add_all(
                Grant(user_id=user.id, role=role, tag_id=tags[tag] if tag else None) for role, tag in grants
            )
            ids = None if limited_to is None else [str(tags[one]) for one in limited_to]
            tx.session.add(
                ApiToken(name=f"t-{name}", digest=secret.digest, prefix=secret.prefix, user_id=user.id, tag_ids=ids)
            )

        await self.db.run(make)
        self.tokens[name] = secret.text

    async def ask(self, who: str, method: str, path: str, body: Any = None) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        if method == "PUT" and path.startswith(("/api/maintenance-windows", "/api/storage-pools")):
            headers["If-Match"] = "*"  # they are not replaced without it
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            return await client.request(method, path, json=body)

    async def rows(self) -> dict[str, int]:
        """How many rows there are of all that a server has."""
        async with self.db.read() as session:
            count = select(func.count())
            return {one.__name__: await session.scalar(count.select_from(one)) or 0 for one in LIMITED}


def body_for(route: GuardedRoute, ids: dict[str, uuid.UUID]) -> Any:
    """A body that is sound, about these things."""
    texts = {name: str(value) for name, value in ids.items()}
    job = {"name": "another", "sources": ["/etc"]}
    bodies: dict[str, Any] = {
        "ServerChange": {"host": "192.0.2.1"},
        "HostKeyApproval": {"fingerprint": "SHA256:" + "A" * 43},
        "CollectIn": {"servers": [texts["server_id"]]},
        "RepositoryIn": {"name": "n", "server_id": texts["server_id"], "pool_id": texts["pool_id"]},
        "RepositoryChange": {},
        "Policy": {"keep_daily": 3},
        "PruneIn": {},
        "CheckOptions": {},
        "UnfreezeIn": {"reason": WHY},
        "AcceptRestoredIn": {"reason": WHY},
        "RecoverIn": {"reason": WHY},
        "ImportIn": {"server_id": texts["server_id"], "pool_id": texts["pool_id"], "path": "/pool/old/one"},
        "ManageIn": {"reason": WHY},
        "ConfirmRetentionIn": {"reason": WHY},
        "BackupJobIn": job | {"server_id": texts["server_id"], "repository_id": texts["repository_id"]},
        "AcceptIn": {"reason": WHY},
        "HoldIn": {"reason": WHY},
        "RestoreIn": RESTORE,
        "RestoreTestIn": {},
        "DownloadIn": {},
        "WizardIn": {"server_id": texts["server_id"], "pool_id": texts["pool_id"], "repository": "w", "job": job},
        "AcknowledgeIn": {},
        "WindowIn": {"starts_at": NOW.isoformat(), "ends_at": (NOW + timedelta(days=1)).isoformat()},
        "PoolChange": {"name": "another"},
    }
    bodies["BackupJobPut"] = bodies["BackupJobIn"]
    name = route.body_field.field_info.annotation.__name__ if route.body_field else ""  # type: ignore[union-attr] - FastAPI leaves what a body is open
    if name.endswith("Patch"):  # nothing has to be named
        return {}
    return bodies[name] if name else None


def about(route: GuardedRoute, ids: dict[str, uuid.UUID]) -> str:
    named = ids | {"other_id": ids["backup_id"]}
    return re.sub(r"\{(\w+)\}", lambda found: str(named[found.group(1)]), route.path)
