"""Repositories that plain borg made, imported with real borgs: nothing in them changes until they are taken over."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from services.backup.handlers import PRUNE, drill_in, index_in, manage_by
from services.backup.importing.keeper import ImportedKeeper
from services.backup.importing.take import forget_import, import_repository
from services.backup.node.imports import Imports
from services.backup.work import work_on
from shared.borg import segments
from shared.db.stores.requests import request_backup, request_delete, request_import, request_maintenance
from shared.db.stores.secrets import repository_key, repository_passphrase
from shared.db.tables import Archive, Job, Repository, Secret
from shared.db.tables.base import db_now
from shared.domain.importing import ImportAsked, ImportSecrets
from shared.domain.job import JobType
from shared.errors import AppError, Conflict
from shared.events.repository import ArchiveIndex, RepositoryImport, RepositoryManage, RepositoryPrune, RestoreTest
from shared.runtime.context import Context
from tests.harness.untraced import tracing
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

    def rename_raw(self, name: str, raw: bytes) -> None:
        """Give an archive a name that no borg of today would."""
        script = (
            "import sys; from borg.logger import setup_logging; setup_logging(level='error')\n"
            "from borg.repository import Repository; from borg.helpers import Manifest\n"
            "with Repository(sys.argv[1], exclusive=True) as r:\n"
            "    m, k = Manifest.load(r, Manifest.NO_OPERATION_CHECK); d = m.archives._archives\n"
            "    d[bytes.fromhex(sys.argv[3])] = d.pop(sys.argv[2].encode()); m.write(); r.commit(compact=False)\n"
        )
        variables = {"BORG_BASE_DIR": str(self.home), "BORG_PASSPHRASE": self.word, "LANG": "C.UTF-8", "PATH": "/bin"}
        argv = [sys.executable, "-c", script, str(self.path), name, raw.hex()]
        done = subprocess.run(argv, env=variables, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

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
        try:
            await import_repository(
                RepositoryImport(job_id=job.id), ctx, storage=self.yard.storage, imports=self.imports
            )
        finally:
            await self.yard.db.run(ctx.release)  # as the kernel does
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
    # The node's copies of these scripts are measured as what they are copies of.
    for script in ("import_reader.py", "list_meant.py", "sealed.py"):
        copy = yard.node.state_dir / "fence" / script
        copy.unlink()
        copy.symlink_to(Path(segments.__file__).with_name(script))
    yard.node._environment |= tracing()
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


async def test_each_thing_that_is_none_is_refused_with_its_own_code_and_leaves_nothing(
    importing: Importing, yard: Yard, data: Path, tmp_path: Path
) -> None:
    owner, keyed = plain(yard), plain(yard, name="keyed")
    owner.init()
    owner.create("monday", data)
    keyed.init("keyfile")
    keyed.create("monday", data)
    other = plain(yard, name="other")
    other.init("keyfile")
    foreign_key = other.run("key", "export", str(other.path))
    bare = plain(yard, name="bare")
    bare.init("none")
    bare.create("monday", data)
    keyless = yard.pool / "keyless"
    subprocess.run(["cp", "-a", owner.path, keyless], check=True)
    config = (keyless / "config").read_text()
    (keyless / "config").write_text("\n".join(line for line in config.splitlines() if "key =" not in line and
                                              not line.startswith("\t")) + "\n")  # fmt: skip
    second = yard.pool / "second"
    subprocess.run(["cp", "-a", owner.path, second], check=True)
    (second / "config").write_text((second / "config").read_text().replace("version = 1", "version = 2"))
    outside = tmp_path / "outside"
    subprocess.run(["cp", "-a", owner.path, outside], check=True)
    (yard.pool / "link").symlink_to(outside)
    subprocess.run(["cp", "-a", keyed.path, owner.path / "inner"], check=True)
    (yard.pool / "empty").mkdir()
    before = {one: await importing.count(one) for one in (Repository, Archive, Secret)}
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (owner.path, {"word": "wrong"}, "passphrase_wrong"),
        (owner.path, {"word": ""}, "passphrase_wrong"),
        (keyed.path, {}, "key_needed"),
        (keyed.path, {"keyfile": foreign_key}, "keyfile_wrong"),
        (keyed.path, {"keyfile": "BORG_KEY 00\nnonsense\n"}, "keyfile_wrong"),
        (keyless, {}, "key_needed"),
        (bare.path, {}, "repository_unencrypted"),
        (second, {}, "repository_version"),
        (yard.pool / "empty", {}, "repository_invalid"),
        (yard.pool / "nothing", {}, "repository_invalid"),
        (yard.pool, {}, "import_path_refused"),
        (outside, {}, "import_path_refused"),
        ("/etc", {}, "import_path_refused"),
        (yard.pool / "link", {}, "import_path_refused"),
        (owner.path / "inner", {}, "import_path_inside"),
        (owner.path / "data", {}, "import_path_inside"),
    ]
    told = [(str(path), (await importing.refused(path, **more)).code) for path, more, _ in cases]
    assert told == [(str(path), code) for path, _, code in cases]
    assert {one: await importing.count(one) for one in before} == before
    assert not list(yard.pool.glob(".borgfleet-views/*"))
    repository = await importing.taken(owner.path)
    assert (await importing.refused(owner.path, name="again")).code == "repository_known"
    copy = yard.pool / "copy"
    subprocess.run(["cp", "-a", owner.path, copy], check=True)
    assert (await importing.refused(copy, name="copied")).code == "repository_known"
    assert (await importing.refused(bare.path, unencrypted=True)).code == "repository_known", "its name is taken"
    assert await importing.count(Repository) == 1 + before[Repository]
    assert repository.name == "old"


async def test_of_two_imports_of_one_repository_at_once_one_is_kept_and_a_message_twice_imports_once(
    importing: Importing, yard: Yard, data: Path
) -> None:
    owner = plain(yard)
    owner.init()
    owner.create("monday", data)
    copy = yard.pool / "copy"
    subprocess.run(["cp", "-a", owner.path, copy], check=True)
    jobs = [await importing.ask(path, name=f"n{number}") for number, path in enumerate((owner.path, copy))]
    ended = await asyncio.gather(*map(importing.run, jobs), return_exceptions=True)
    refused = [one for one in ended if isinstance(one, AppError)]
    assert [one.code for one in refused] == ["repository_known"], ended
    assert (await importing.count(Repository), await importing.count(Archive)) == (1, 1)
    (kept,) = [job for job, one in zip(jobs, ended, strict=True) if not isinstance(one, BaseException)]
    again = await importing.run(kept)
    assert again.state in ("succeeded", "warning")
    assert (await importing.count(Repository), await importing.count(Archive)) == (1, 1)


async def test_one_that_is_cut_short_leaves_nothing_and_may_be_run_again(
    importing: Importing, yard: Yard, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = plain(yard)
    owner.init()
    owner.create("monday", data)
    job = await importing.ask(owner.path)

    def die(_where: str) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr("services.backup.importing.take.crashpoint", die)
        with pytest.raises(asyncio.CancelledError):
            await importing.run(job)
    assert (await importing.count(Repository), await importing.count(Archive)) == (0, 0)
    lost = update(Job).where(Job.id == job.id).values(state="queued", lease=None, lease_until=None, sent_at=db_now())
    await yard.db.run(lambda tx: tx.session.execute(lost))
    ended = await importing.run(job)
    assert ended.state in ("succeeded", "warning")
    assert (await importing.count(Repository), await importing.count(Archive)) == (1, 1)


ODD = ["a b", "{now}", "-x", "caf\u00e9", 'it\'s "q" $(id)', "x" * 255, "monday.checkpoint", "\u202eabc"]


@pytest.mark.parametrize("version", BORGS)
async def test_archives_of_any_name_are_taken_in_and_their_files_are_listed(
    importing: Importing, yard: Yard, data: Path, tmp_path: Path, version: str
) -> None:
    owner = plain(yard, version)
    owner.init()
    names = ODD if version == "1.2" else ODD[:1] + ODD[3:4] + ODD[6:7]
    for name in names:
        owner.create(name.replace("{", "{{").replace("}", "}}"), data, "--comment", "")
    owner.rename_raw("monday.checkpoint", b"latin\xe9\n")
    repository = await importing.taken(owner.path)
    archives = await importing.archives(repository)
    assert len(archives) == len(names)
    assert {one.name for one in archives} >= {"a b", "caf\u00e9", "latin\\xe9\n"}, [one.name for one in archives]
    job = await yard.db.run(lambda tx: request_maintenance(tx, JobType.ARCHIVE_INDEX, repository.id))
    ctx = Context(yard.db, yard.bus, key="i", lease_seconds=600)
    await work_on(ArchiveIndex(job_id=job.id), ctx, work=index_in(tmp_path / "catalogue"), storage=yard.storage)
    ended = await yard.job(job)
    assert (ended.state, ended.result["archives"]) == ("succeeded", len(archives)), ended.warnings


@pytest.mark.parametrize("paths", [[], ["a/b"]])
async def test_one_that_is_read_only_is_proven_by_a_restore_test_and_stays_as_it_is(
    importing: Importing, yard: Yard, data: Path, paths: list[str]
) -> None:
    (data / "a").mkdir(exist_ok=True)
    (data / "a" / "b").write_text("named")
    owner = plain(yard)
    owner.init()
    owner.create("monday {{now}}", data)
    repository = await importing.taken(owner.path)
    before = tree_of(owner.path)
    asked = {"kind": "named", "paths": paths} if paths else {"kind": "all"}
    job = await yard.db.run(lambda tx: request_maintenance(tx, JobType.RESTORE_TEST, repository.id, **asked))
    ctx = Context(yard.db, yard.bus, key="t", lease_seconds=600)
    work = drill_in(yard.directory / "catalogue", yard.ssh)
    await work_on(RestoreTest(job_id=job.id), ctx, work=work, storage=yard.storage)
    ended = await yard.job(job)
    count = 1 if paths else sum(1 for one in data.rglob("*") if one.is_file())
    assert (ended.state, ended.result["proof"], ended.result["files"]) == ("succeeded", "good", count), ended.result
    assert tree_of(owner.path) == before


async def test_while_it_is_read_only_nobody_writes_to_it_and_its_owner_goes_on(
    importing: Importing, yard: Yard, data: Path
) -> None:
    owner = plain(yard)
    owner.init()
    owner.create("monday", data)
    repository = await importing.taken(owner.path)
    kinds = (JobType.REPOSITORY_PRUNE, JobType.REPOSITORY_COMPACT, JobType.REPOSITORY_CHECK, JobType.REPOSITORY_RECOVER,
             JobType.REPOSITORY_VERIFY)  # fmt: skip
    definition = await yard.backup_job(data, repository_id=repository.id)
    (archive,) = await importing.archives(repository)
    asks = [lambda tx, kind=kind: request_maintenance(tx, kind, repository.id) for kind in kinds]
    for ask in (*asks, lambda tx: request_backup(tx, definition), lambda tx: request_delete(tx, archive)):
        with pytest.raises(Conflict) as caught:
            await yard.db.run(ask)
        assert caught.value.code == "repository_read_only"
    keeper = ImportedKeeper(yard.db, "node1", yard.storage, 60)
    before = await importing.count(Job)
    await keeper.ask()
    assert await importing.count(Job) == before, "nothing has changed there"
    owner.create("tuesday", data)
    owner.run("delete", f"{owner.path}::monday")
    await keeper.ask()
    await keeper.ask()
    assert await importing.count(Job) == before + 1
    async with yard.db.read() as session:
        query = select(Job).where(Job.type == "repository_import", Job.state == "queued")
        (job,) = await session.scalars(query)
    ended = await importing.run(job)
    assert (ended.result["added"], ended.result["gone"]) == (1, 1)
    assert [one.name for one in await importing.archives(repository)] == ["tuesday"]
    seen = await importing.repository(repository.id)
    assert (seen.frozen_reason, seen.mode, seen.archive_count) == ("", "read_only", 1)


@pytest.mark.parametrize("encryption", ["repokey-blake2", "none", "authenticated"])
async def test_taken_over_it_is_backed_up_to_pruned_by_nobody_and_guarded(
    importing: Importing, yard: Yard, data: Path, encryption: str
) -> None:
    owner = plain(yard)
    owner.init(encryption)
    for name in ("monday", "tuesday", "wednesday"):
        owner.create(name, data)
    repository = await importing.taken(owner.path, unencrypted=encryption != "repokey-blake2")
    lock = owner.path / "lock.exclusive"
    lock.mkdir()
    (lock / f"{socket.gethostname()}@1.999999-0").touch()
    job = await importing.manage(repository)
    assert job.state == "succeeded", (job.code, job.reason, job.warnings)
    repository = await importing.repository(repository.id)
    assert (repository.mode, repository.managed_by, repository.managed_reason) == ("managed", "me", "cron is off")
    assert not lock.exists()
    assert repository.proven_transaction == segments.last_transaction(str(owner.path), lambda: None)
    assert repository.manifest_transaction is not None
    async with yard.db.read() as session:
        assert (await session.get(Secret, repository_key(repository.id)) is not None) is (encryption != "none")
        queued = await session.scalar(select(Job.type).where(Job.state == "queued"))
    assert queued == "repository_check"
    keep = {"keep_last": 1}
    await yard.db.run(
        lambda tx: tx.session.execute(update(Repository).where(Repository.id == repository.id).values(retention=keep))
    )
    definition = await yard.backup_job(data, name="own", repository_id=repository.id)
    await yard.run(definition, "succeeded")
    pruned = await yard.prune(definition)
    assert (pruned.state, pruned.result["deleted"]) == ("succeeded", 0), pruned.warnings
    listed = owner.run("list", "--short", str(owner.path)).split()
    assert {"monday", "tuesday", "wednesday"} < set(listed)
    confirmed = update(Repository).where(Repository.id == repository.id).values(retention_confirmed_at=db_now())
    await yard.db.run(lambda tx: tx.session.execute(confirmed))
    accepted = update(Archive).where(Archive.imported.is_(True)).values(accepted_at=db_now())
    await yard.db.run(lambda tx: tx.session.execute(accepted))
    asked = {"override_deletion_limit": True}
    job = await yard.db.run(lambda tx: request_maintenance(tx, JobType.REPOSITORY_PRUNE, repository.id, **asked))
    ctx = Context(yard.db, yard.bus, key="p", lease_seconds=600)
    await work_on(RepositoryPrune(job_id=job.id), ctx, work=PRUNE, storage=yard.storage)
    assert (await yard.job(job)).result["deleted"] == 2


async def test_one_with_a_key_file_or_with_a_borg_at_work_is_not_taken_over(
    importing: Importing, yard: Yard, data: Path
) -> None:
    owner, keyed = plain(yard), plain(yard, name="keyed")
    owner.init()
    owner.create("monday", data)
    keyed.init("keyfile")
    keyfile = keyed.run("key", "export", str(keyed.path))
    repository = await importing.taken(owner.path)
    sealed = await importing.taken(keyed.path, keyfile=keyfile, name="keyed")
    before = tree_of(owner.path)
    busy = subprocess.Popen(
        [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", "borg", str(owner.path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=owner.path,
    )  # fmt: skip
    assert busy.stdout is not None
    busy.stdout.readline()
    held = (owner.path / "config").open()
    with held, subprocess.Popen(["sleep", "600"], stdin=held) as sleeper:
        with pytest.raises(AppError) as caught:
            await importing.manage(repository)
        sleeper.kill()
    busy.communicate()
    assert caught.value.code == "repository_locked"
    with pytest.raises(AppError) as caught:
        await importing.manage(sealed)
    assert caught.value.code == "manage_needs_repokey"
    assert tree_of(owner.path) == before
    assert (await importing.repository(repository.id)).read_only
    assert (await importing.repository(sealed.id)).read_only
    async with yard.db.read() as session:
        assert await session.get(Secret, repository_passphrase(sealed.id)) is not None


async def test_outside_of_the_pool_where_the_settings_open_it_and_on_another_disk(
    yard: Yard, data: Path, tmp_path: Path
) -> None:
    importing = Importing(yard, (str(tmp_path / "roots"),))
    owner = Plain(Path("/dev/shm") / f"borgfleet-{uuid.uuid4().hex}" / "repo", yard.directory / "home")
    try:
        owner.init()
        owner.create("monday", data)
        (tmp_path / "roots").mkdir()
        (tmp_path / "roots" / "link").symlink_to(owner.path)
        assert (await importing.refused(tmp_path / "roots" / "link")).code == "import_path_refused"
        importing = Importing(yard, (str(owner.path.parent),))
        before = tree_of(owner.path)
        repository = await importing.taken(owner.path)
        assert (repository.path, len(await importing.archives(repository))) == (str(owner.path), 1)
        assert tree_of(owner.path) == before
    finally:
        subprocess.run(["rm", "-rf", str(owner.path.parent)], check=True)
