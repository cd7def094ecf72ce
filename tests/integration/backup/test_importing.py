"""Repositories that plain borg made, imported with real borgs: nothing in them changes until they are taken over."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from services.backup.handlers import manage_by
from services.backup.importing.take import forget_import, import_repository
from services.backup.node.imports import Imports
from services.backup.work import work_on
from shared.db.stores.requests import request_import, request_maintenance
from shared.db.tables import Archive, Job, Repository
from shared.domain.importing import ImportAsked, ImportSecrets
from shared.domain.job import JobType
from shared.errors import AppError
from shared.events.repository import RepositoryImport, RepositoryManage
from shared.runtime.context import Context
from tests.integration.backup.yard import NODES_BORG, SERVERS_BORG, Yard, files

BORGS = {"1.2": SERVERS_BORG, "1.4": NODES_BORG}
WORD = "correct horse"


@dataclass
class Plain:
    """A person with a borg of his own."""

    path: Path
    home: Path
    borg: str = SERVERS_BORG
    word: str = WORD
    variables: dict[str, str] = field(default_factory=dict[str, str])

    def run(self, *arguments: str, cwd: Path | None = None) -> str:
        variables = {
            "PATH": "/usr/bin:/bin", "BORG_BASE_DIR": str(self.home), "BORG_PASSPHRASE": self.word,
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
            "LANG": "C.UTF-8", "BORG_DELETE_I_KNOW_WHAT_I_AM_DOING": "YES", **self.variables,
        }  # fmt: skip
        done = subprocess.run(
            [self.borg, *arguments], env=variables, cwd=cwd, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    def init(self, encryption: str = "repokey-blake2") -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.run("init", f"--encryption={encryption}", str(self.path))

    def create(self, name: str, source: Path, *options: str) -> None:
        self.run("create", *options, f"{self.path}::{name}", ".", cwd=source)


def tree_of(path: Path) -> dict[str, str]:
    """Return a hash of each file of a repository."""
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


class Importing:
    """Imports into a yard as a worker would."""

    def __init__(self, yard: Yard, roots: tuple[str, ...] = ()) -> None:
        self.yard, self.imports = yard, Imports(yard.node, roots)

    async def ask(self, path: Path | str, *, word: str = WORD, keyfile: str = "", **more: Any) -> Job:
        asked = ImportAsked(pool_id=self.yard.pool_id, server_id=self.yard.server_id, path=str(path),
                            **{"name": "old"} | more)  # fmt: skip
        return await self.yard.db.run(lambda tx: request_import(tx, asked, ImportSecrets(word, keyfile), by="me"))

    async def run(self, job: Job) -> Job:
        ctx = Context(self.yard.db, self.yard.bus, key=f"k{job.id}", lease_seconds=600)
        await import_repository(RepositoryImport(job_id=job.id), ctx, storage=self.yard.storage, imports=self.imports)
        return await self.yard.job(job)

    async def taken(self, path: Path | str, **more: Any) -> Repository:
        job = await self.run(await self.ask(path, **more))
        assert job.state in ("succeeded", "warning"), job.code
        return await self.repository(job.result["repository_id"])

    async def refused(self, path: Path | str, **more: Any) -> AppError:
        """Import what is refused; nothing of it may be left."""
        job = await self.ask(path, **more)
        with pytest.raises(AppError) as caught:
            await self.run(job)
        await self.yard.db.run(lambda tx: forget_import(tx, job, caught.value))
        return caught.value

    async def repository(self, repository_id: Any) -> Repository:
        import uuid

        async with self.yard.db.read() as session:
            return await session.get_one(Repository, uuid.UUID(str(repository_id)))

    async def look(self, repository: Repository) -> Job:
        job = await self.yard.db.run(lambda tx: request_maintenance(tx, JobType.REPOSITORY_IMPORT, repository.id))
        return await self.run(job)

    async def manage(self, repository: Repository) -> Job:
        asked = {"reason": "cron is off", "by": "me"}
        job = await self.yard.db.run(
            lambda tx: request_maintenance(tx, JobType.REPOSITORY_MANAGE, repository.id, **asked)
        )
        ctx = Context(self.yard.db, self.yard.bus, key=f"m{job.id}", lease_seconds=600)
        work = manage_by(self.imports)
        await work_on(RepositoryManage(job_id=job.id), ctx, work=work, storage=self.yard.storage)
        return await self.yard.job(job)

    async def archives(self, repository: Repository) -> list[Archive]:
        async with self.yard.db.read() as session:
            query = select(Archive).where(Archive.repository_id == repository.id).order_by(Archive.started_at)
            return list(await session.scalars(query))

    async def count(self, table: Any) -> int:
        async with self.yard.db.read() as session:
            return await session.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
def importing(yard: Yard) -> Importing:
    return Importing(yard)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return files(tmp_path / "srv", 5, 1000)


def plain(yard: Yard, version: str = "1.2", name: str = "plain") -> Plain:
    return Plain(yard.pool / "by-hand" / name, yard.directory / "home", BORGS[version])


KINDS = ["repokey", "repokey-blake2", "keyfile", "keyfile-blake2", "none", "authenticated", "authenticated-blake2"]


@pytest.mark.parametrize("version", BORGS)
@pytest.mark.parametrize("encryption", KINDS)
async def test_of_every_kind_it_is_taken_in_and_nothing_in_it_changes(
    importing: Importing, yard: Yard, data: Path, encryption: str, version: str
) -> None:
    owner = plain(yard, version)
    owner.init(encryption)
    owner.create("monday", data)
    keyfile = owner.run("key", "export", str(owner.path)) if encryption.startswith("keyfile") else ""
    before = tree_of(owner.path)
    repository = await importing.taken(owner.path, keyfile=keyfile, unencrypted=encryption in KINDS[4:])
    assert (repository.mode, repository.encryption) == ("read_only", encryption)
    assert repository.path == str(owner.path)
    (archive,) = await importing.archives(repository)
    assert (archive.name, archive.files, archive.imported, archive.trusted) == ("monday", 5, True, False)
    assert tree_of(owner.path) == before
    assert not list(yard.pool.glob(".borgfleet-views/*"))
