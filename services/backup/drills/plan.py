"""Reads what a restore test needs: which archives it looks into, and how the server is reached."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import ValidationError
from sqlalchemy import select

from services.backup.catalogue.index import readable
from services.backup.plan import load_repository, reach_server
from shared.db.clock import read_now
from shared.db.stores.secrets import FLEET_KEY
from shared.db.tables.server import Server
from shared.db.tables.storage import Archive, Repository
from shared.domain.messages.files import REPOSITORY_FORGOTTEN
from shared.domain.messages.jobs import JOB_PARAMS_INVALID
from shared.domain.proofs import RestoreTestAsked
from shared.domain.scheduled import asked_for
from shared.errors import Permanent
from shared.ssh.port import Credentials

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence
    from datetime import datetime

    from services.backup.ports import RepositoryPlace
    from shared.db.tables.job import Job
    from shared.db.unit_of_work import UnitOfWork
    from shared.ssh.port import Target

_FAVOURED, _OTHERS = 5, 4
"""Archives of which a sample takes the newest and largest files, and others of which it takes some by chance."""


@dataclass(frozen=True, slots=True)
class DrilledArchive:
    """An archive that is looked into."""

    id: uuid.UUID
    name: str
    borg_id: str
    backup_job_id: uuid.UUID | None
    original_size: int
    favoured: bool
    """It is its backup job's newest one."""
    by_id: bool = False
    """Its name is of plain borg's own making, and may be any."""

    @property
    def meant(self) -> str:
        """By which id it is asked for; empty where its name tells."""
        return self.borg_id if self.by_id else ""


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """All that one restore test needs, read in one transaction."""

    job_id: uuid.UUID
    repository: RepositoryPlace
    asked: RestoreTestAsked
    archives: tuple[DrilledArchive, ...]
    """The favoured ones first, the newest before."""
    target: Target | None
    """The server whose files are compared; None: that was not asked for, or it is not set up."""
    credentials: Credentials
    began_at: datetime

    @property
    def seed(self) -> str:
        """What chance comes from: a retry tests the same files."""
        return str(self.job_id)


async def place_to_test(tx: UnitOfWork, job: Job) -> RepositoryPlace:
    """Return where the repository lies; a frozen one is tested too: nothing of it is changed."""
    if job.repository_id is None or await tx.session.get(Repository, job.repository_id) is None:
        raise Permanent(REPOSITORY_FORGOTTEN())
    return replace(await load_repository(tx, job.repository_id), to_server=False)


async def load_test(tx: UnitOfWork, job: Job, place: RepositoryPlace) -> DrillPlan:
    """Read which archives there were when the test was asked for: each attempt looks into the same."""
    try:
        asked = RestoreTestAsked.model_validate(asked_for(job.params))
    except ValidationError as error:
        raise Permanent(JOB_PARAMS_INVALID(wrong=error.errors()[0]["msg"])) from error
    query = select(Archive).where(Archive.repository_id == place.id, readable(), Archive.created_at <= job.created_at)
    if asked.archive_id is not None:
        query = query.where(Archive.id == asked.archive_id)
    if asked.backup_job_id is not None:
        query = query.where(Archive.backup_job_id == asked.backup_job_id)
    rows = list(await tx.session.scalars(query.order_by(Archive.created_at.desc(), Archive.id)))
    server = await tx.session.get(Server, place.server_id) if asked.compare_source else None
    return DrillPlan(
        job_id=job.id,
        repository=place,
        asked=asked,
        archives=_chosen(rows, asked, str(job.id)),
        target=_reached(server),
        credentials=Credentials(private_key=await tx.secrets.get(FLEET_KEY)),
        began_at=await read_now(tx.session),
    )


def _chosen(rows: Sequence[Archive], asked: RestoreTestAsked, seed: str) -> tuple[DrilledArchive, ...]:
    """Take the newest archive of each backup job and, for a sample, some others by chance.

    What is known to be damaged is no news: it is left to its alert, unless it is the newest one.
    """
    newest: dict[uuid.UUID | None, Archive] = {}
    for row in rows:
        newest.setdefault(row.backup_job_id, row)
    favoured = list(newest.values())[: _FAVOURED if asked.kind == "sample" else 1]
    others = [row for row in rows if row not in favoured and not row.damage] if asked.kind == "sample" else []
    others.sort(key=lambda row: hashlib.sha256(f"{seed}:{row.id}".encode()).digest())
    tested = [(row, True) for row in favoured] + [(row, False) for row in others[:_OTHERS]]
    return tuple(
        DrilledArchive(row.id, row.name, row.borg_id or "", row.backup_job_id, row.original_size, first, row.imported)
        for row, first in tested
    )


def _reached(server: Server | None) -> Target | None:
    return reach_server(server) if server is not None and server.host_key and server.state == "ready" else None
