"""Restores by the real handler: real borg, sshd, tar; the same bytes and metadata, in one place, or nothing at all."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select

from services.backup.handlers import restore_by
from services.backup.node.storage import NodeStorage
from services.backup.plan import load_repository
from services.backup.ports import RepositoryPlace
from services.backup.restore.server import RestoreServers
from services.backup.work import work_on
from shared.borg.node import Grant, OnAnswer
from shared.db.stores.jobs import Jobs
from shared.db.stores.requests import request_restore
from shared.db.tables import Archive, Job, RestoreProof, Server
from shared.errors import Transient
from shared.events.archive import ArchiveRestore
from shared.runtime.context import Abort, Context
from tests.harness.patience import WAIT
from tests.harness.trees import SPARSE, tree
from tests.integration.backup.yard import SERVERS_BORG, Yard, files
from tests.unit.services.backup.restore.test_tar import entry, tar


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


class Restores:
    """Restores of one backup."""

    def __init__(self, yard: Yard, archive: Archive, directory: Path) -> None:
        self.yard, self.archive, self.directory = yard, archive, directory
        self.storage: NodeStorage = yard.storage
        self.parent = directory / "target"
        self.parent.mkdir(parents=True)

    @property
    def target(self) -> Path:
        return self.parent / "place"

    async def request(self, *items: bytes, **params: Any) -> Job:
        asked = {"items": [base64.b64encode(item).decode() for item in items], "target_path": str(self.target)} | params
        return await self.yard.db.run(lambda tx: request_restore(tx, self.archive, asked))

    def start(self, job: Job) -> tuple[Context, asyncio.Task[None]]:
        ctx = Context(self.yard.db, self.yard.bus, key="k", lease_seconds=600)
        work = restore_by(RestoreServers(self.yard.ssh, WAIT))
        return ctx, asyncio.create_task(
            work_on(ArchiveRestore(job_id=job.id), ctx, work=work, storage=self.storage)
        )  # fmt: skip

    async def run(self, *items: bytes, states: tuple[str, ...] = ("succeeded",), **params: Any) -> Job:
        return await self.end(await self.request(*items, **params), *states)

    async def end(self, job: Job, *states: str) -> Job:
        while (ended := await self.yard.job(job)).state == "queued":
            ctx, task = self.start(job)
            await self.yard.dispose(ctx, task, job)
        assert ended.state in states, (
            f"{ended.state} {ended.code} {ended.reason} {ended.warnings}\n{await self.yard.log(job)}"
        )
        return ended

    def left(self) -> list[str]:
        """What a restore must not leave behind."""
        views = self.yard.pool / ".borgfleet-views"
        return [
            str(path)
            for path in (*self.parent.glob(".borgfleet-restore-*"), *(views.iterdir() if views.is_dir() else ()))
        ]


@pytest.fixture
def restores(backed_up: tuple[Yard, Archive], tmp_path: Path) -> Iterator[Restores]:
    made = Restores(*backed_up, tmp_path)
    yield made
    assert made.left() == []


def inside(restores: Restores) -> bytes:
    return os.fsencode(restores.yard.directory / "src" / "data").lstrip(b"/")


async def test_all_of_every_entry_comes_back(restores: Restores) -> None:
    job = await restores.run(inside(restores), verify="all")
    assert tree(restores.target / "data") == tree(restores.yard.directory / "src" / "data")
    assert job.result["lost"] == []
    assert job.result["verified"] == {"counted": 18, "hashed": 13, "differing": []}
    async with restores.yard.db.read() as session:
        proof = (await session.scalars(select(RestoreProof).where(RestoreProof.job_id == job.id))).one()
    assert (proof.kind, proof.state, proof.hashed, proof.archive_id) == ("restore", "good", 13, restores.archive.id)


async def test_a_plain_tar_loses_what_is_told_and_nothing_else(restores: Restores) -> None:
    job = await restores.run(inside(restores), metadata="basic", states=("warning",))
    source = restores.yard.directory / "src" / "data"
    assert tree(restores.target / "data", basic=True) == tree(source, basic=True)
    assert [text.rpartition(" of ")[0] for text in job.result["lost"]] == [
        "extended attributes and capabilities", "access control lists", "fractions of seconds",
    ]  # fmt: skip


async def test_what_is_chosen_comes_alone_with_its_directories_and_data_of_its_hard_link(restores: Restores) -> None:
    top = inside(restores)
    job = await restores.run(
        top + b"/sub/hard", top + b"/caf\xe9", top + b"/new\nline", top + b"/no-such", states=("warning",)
    )
    assert sorted(os.fsencode(path.relative_to(restores.target)) for path in restores.target.rglob("*")) == sorted(
        [b"sub", b"sub/hard", b"caf\xe9", b"new\nline"]
    )
    assert (restores.target / "sub" / "hard").read_bytes() == b"plain"
    source = restores.yard.directory / "src" / "data"
    for name in (".", "sub"):
        was, now = (source / name).stat(), (restores.target / name).stat()
        assert (was.st_mode, was.st_uid, was.st_mtime_ns) == (now.st_mode, now.st_uid, now.st_mtime_ns), name
    assert job.result["missing"] == [os.fsdecode(top + b"/no-such")]
    assert "no-such" in job.warnings[0]


async def test_nothing_of_what_was_chosen_is_there(restores: Restores) -> None:
    job = await restores.run(b"no/such", states=("failed",))
    assert job.code == "path_not_in_archive"
    assert not restores.target.exists()


async def test_whole_paths_and_roots_alone(restores: Restores) -> None:
    await restores.run(inside(restores), layout="full", owner="root")
    restored = restores.target / os.fsdecode(inside(restores))
    assert {path.lstat().st_uid for path in restored.rglob("*")} == {0}


async def test_an_empty_directory_becomes_the_place_and_a_full_one_is_left_alone(restores: Restores) -> None:
    restores.target.mkdir()
    await restores.run(inside(restores) + b"/plain")
    assert names(restores.target) == ["plain"]
    job = await restores.run(inside(restores) + b"/empty", states=("failed",))
    assert job.code == "target_exists"
    assert names(restores.target) == ["plain"]


@pytest.mark.parametrize("what", ["link to a directory", "link to nothing", "file", "mount"])
async def test_a_place_that_is_something_else_is_refused(restores: Restores, what: str) -> None:
    outside = files(restores.directory / "outside", 1)
    if what == "file":
        restores.target.write_text("kept")
    elif what == "mount":
        restores.target.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", str(restores.target)], check=True)
    else:
        restores.target.symlink_to(outside if "directory" in what else "nowhere")
    try:
        job = await restores.run(inside(restores), states=("failed",))
    finally:
        if what == "mount":
            subprocess.run(["umount", str(restores.target)], check=True)
    assert job.code in ("target_exists", "target_refused")
    assert len(names(outside)) == 1


@pytest.mark.parametrize("where", ["parent", "above"])
async def test_a_planted_link_on_the_way_is_refused(restores: Restores, where: str) -> None:
    outside = restores.directory / "outside"
    (outside / "b").mkdir(parents=True)
    (restores.parent / "a").symlink_to(outside)
    path = restores.parent / ("a/place" if where == "parent" else "a/b/place")
    job = await restores.run(inside(restores), states=("failed",), target_path=str(path))
    assert job.code == "parent_symlink"
    assert names(outside) == ["b"]
    assert names(outside / "b") == []


@pytest.mark.parametrize("planted", ["directory", "link", "link to roots own"])
async def test_a_planted_staging_directory_is_refused_and_left_alone(restores: Restores, planted: str) -> None:
    job = await restores.request(inside(restores))
    staging = restores.parent / f".borgfleet-restore-{job.id.hex}"
    outside = restores.directory / "outside"
    outside.mkdir(mode=0o700 if "root" in planted else 0o755)
    (outside / "kept").write_text("kept")
    if planted == "directory":
        staging.mkdir()
        (staging / "kept").write_text("kept")
    else:
        staging.symlink_to(outside)
    ended = await restores.end(job, "failed")
    assert ended.code == "staging_exists"
    assert (outside / "kept").read_text() == "kept"
    assert staging.is_symlink() or (staging / "kept").exists()
    staging.unlink() if staging.is_symlink() else shutil.rmtree(staging)


class Crafted(NodeStorage):
    """A node whose archive is whatever a hostile server made."""

    data = b""

    async def count_chosen(
        self, repository: RepositoryPlace, grant: Grant, chosen: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        return {"files": 2, "size": 2, "links": 0, "directories": 0, "others": 1, "attributes": 0, "lists": 0, "flags": 0,
                "damaged": [], "found": [], "sample": []}  # fmt: skip

    async def export_chosen(
        self, repository: RepositoryPlace, grant: Grant, chosen: Mapping[str, Any], on_block: OnAnswer
    ) -> None:
        if (taken := on_block(self.data)) is not None:
            await taken


@pytest.mark.parametrize("name", ["link/victim", "../victim", "/victim"])
async def test_a_hostile_archive_places_nothing_and_touches_nothing(restores: Restores, name: str) -> None:
    outside = files(restores.directory / "outside", 1)
    before = tree(outside)
    crafted = restores.storage = Crafted(restores.yard.node, 600)
    link = entry("link", b"2", link=str(outside))
    crafted.data = tar(entry("fine", data=b"f"), link, entry(name, data=b"x"))
    job = await restores.run(states=("failed",))
    assert job.code == "hostile_archive", job.reason
    assert names(restores.parent) == []
    assert tree(outside) == before


@pytest.mark.parametrize("cut", [512, 1024, 1536, 2560])
async def test_half_of_a_stream_is_never_placed(restores: Restores, cut: int) -> None:
    crafted = restores.storage = Crafted(restores.yard.node, 600)
    crafted.data = tar(entry("a", data=b"1"), entry("b", data=b"2"), entry("c", b"2", link="x"))[:cut]
    job = await restores.run(states=("failed",))
    assert job.code == "restore_partial", job.reason
    assert names(restores.parent) == []


class Paused(NodeStorage):
    """A node that stops in the middle of a tar until it is let go."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.in_the_middle = asyncio.Event()
        self.go_on = asyncio.Event()

    async def export_chosen(
        self, repository: RepositoryPlace, grant: Grant, chosen: Mapping[str, Any], on_block: OnAnswer
    ) -> None:
        async def halting(block: bytes) -> None:
            half = len(block) // 2
            if (taken := on_block(block[:half])) is not None:
                await taken
            self.in_the_middle.set()
            await self.go_on.wait()
            if (taken := on_block(block[half:])) is not None:
                await taken

        await super().export_chosen(repository, grant, chosen, halting)


async def unpacking(restores: Restores, paused: Paused) -> psutil.Process:
    """Wait for the middle of a tar, and for the server's tar: what is sent may come before that has begun."""
    async with asyncio.timeout(WAIT):
        await paused.in_the_middle.wait()
        while not (found := tars(restores)):
            await asyncio.sleep(0.05)
    return found[0]


def tars(restores: Restores) -> list[psutil.Process]:
    """Return the server's tars that unpack."""
    return [
        one
        for one in psutil.process_iter(["cmdline", "cwd"])
        if (one.info["cmdline"] or [])[:2] == ["tar", "-xpf"] and str(restores.parent) in (one.info["cwd"] or "")
    ]


async def test_cancelled_in_the_middle_nothing_is_left_nor_runs_on(restores: Restores) -> None:
    paused = restores.storage = Paused(restores.yard.node, 600)
    job = await restores.request(inside(restores))
    ctx, task = restores.start(job)
    await unpacking(restores, paused)
    restores.yard.cancel(ctx, task)
    await restores.yard.dispose(ctx, task, job)
    assert (await restores.yard.job(job)).state == "cancelled"
    assert tars(restores) == []
    assert names(restores.parent) == []


async def test_a_connection_that_is_cut_in_the_middle_places_nothing_and_is_tried_again(restores: Restores) -> None:
    paused = restores.storage = Paused(restores.yard.node, 600)
    job = await restores.request(inside(restores))
    ctx, task = restores.start(job)
    process = await unpacking(restores, paused)
    session = next(one for one in process.parents() if one.name().startswith("sshd"))
    session.kill()
    paused.go_on.set()
    error = await restores.yard.dispose(ctx, task, job)
    assert isinstance(error, Transient), repr(error)
    assert names(restores.parent) in ([], [f".borgfleet-restore-{job.id.hex}"])
    restores.storage = restores.yard.storage
    await restores.end(job, "succeeded")
    assert tree(restores.target / "data") == tree(restores.yard.directory / "src" / "data")


async def test_to_another_server_come_bytes_and_no_keys(restores: Restores) -> None:
    """It has no borg, no key of any repository, and gets neither: nothing of ours runs there but tar and a shell."""

    async def add(tx: Any) -> uuid.UUID:
        own = await tx.session.get_one(Server, restores.yard.server_id)
        other = Server(name="other", host="::1" if own.host == "::1" else "127.0.0.1", port=own.port, facts=own.facts,
                       username=own.username, host_key=own.host_key, state="ready")  # fmt: skip
        tx.session.add(other)
        await tx.session.flush()
        return other.id

    other = await restores.yard.db.run(add)
    borg = restores.yard.tools / "borg"
    borg.unlink()
    borg.symlink_to("/bin/false")
    paused = restores.storage = Paused(restores.yard.node, 600)
    try:
        job = await restores.request(inside(restores), target_server_id=str(other))
        ctx, task = restores.start(job)
        process = await unpacking(restores, paused)
        place = await restores.yard.db.run(lambda tx: load_repository(tx, restores.archive.repository_id))
        for one in (process, *process.parents()[:3]):
            assert place.passphrase not in " ".join([*one.cmdline(), *one.environ().values()])
            assert not any("BORG" in name for name in one.environ() if one is process)
        paused.go_on.set()
        await restores.yard.dispose(ctx, task, job)
        ended = await restores.end(job, "succeeded")
    finally:
        borg.unlink()
        borg.symlink_to(SERVERS_BORG)
    assert ended.result["server"] == "other"
    assert tree(restores.target / "data") == tree(restores.yard.directory / "src" / "data")


async def test_a_worker_that_died_in_the_middle_is_followed_by_one_that_begins_anew(restores: Restores) -> None:
    paused = restores.storage = Paused(restores.yard.node, 600)
    job = await restores.request(inside(restores))
    ctx, task = restores.start(job)
    await unpacking(restores, paused)
    restores.yard.cancel(ctx, task, Abort.LEASE_LOST)
    await restores.yard.dispose(ctx, task, job)
    assert list(restores.parent.glob(".borgfleet-restore-*")), "who lost the job leaves it to the next"
    restores.storage = restores.yard.storage
    await restores.end(job, "succeeded")
    assert tree(restores.target / "data") == tree(restores.yard.directory / "src" / "data")


async def test_a_worker_that_died_just_behind_the_rename_is_followed_by_one_that_records_it(
    restores: Restores, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, to_be_noted = await restores.request(inside(restores)), asyncio.Event()
    with monkeypatch.context() as dies:

        async def never(*_arguments: Any, **_more: Any) -> None:
            to_be_noted.set()
            await asyncio.Event().wait()

        dies.setattr(Jobs, "note_result", never)
        ctx, task = restores.start(job)
        async with asyncio.timeout(WAIT):
            await to_be_noted.wait()
        assert restores.target.exists()
        restores.yard.cancel(ctx, task, Abort.LEASE_LOST)
        await restores.yard.dispose(ctx, task, job)
    (restores.target / "mine").write_text("a person works with it already")
    ended = await restores.end(job, "succeeded")
    assert (restores.target / "mine").exists()
    assert ended.result["files"] == 14
    assert ended.result["target"] == str(restores.target)


@pytest.mark.parametrize("limit", ["size=3m", "nr_inodes=12"])
async def test_a_target_that_is_too_small_is_refused_before_the_first_byte(restores: Restores, limit: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", limit, "none", str(restores.parent)], check=True)
    try:
        job = await restores.run(inside(restores), states=("failed",))
        assert job.code == "target_full", job.reason
        assert names(restores.parent) == []
    finally:
        subprocess.run(["umount", str(restores.parent)], check=True)


async def test_a_disk_that_somebody_fills_meanwhile_leaves_nothing_half_done(restores: Restores) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "none", str(restores.parent)], check=True)
    try:
        paused = restores.storage = Paused(restores.yard.node, 600)
        job = await restores.request(inside(restores))
        ctx, task = restores.start(job)
        await unpacking(restores, paused)
        with (restores.parent / "full").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 79 * 1024 * 1024 - SPARSE // 2)
        paused.go_on.set()
        await restores.yard.dispose(ctx, task, job)
        ended = await restores.end(job, "failed")
        assert ended.code == "target_full", f"{ended.code} {ended.reason}"
        assert names(restores.parent) == ["full"]
    finally:
        subprocess.run(["umount", str(restores.parent)], check=True)


async def test_busybox_says_what_would_be_lost_and_then_restores_without_it(restores: Restores) -> None:
    for tool in ("tar", "mv", "find", "stat", "sha256sum", "df", "awk", "sort", "rm", "mkdir", "cat", "head", "tr"):
        (restores.yard.tools / tool).symlink_to("/usr/bin/busybox")
    try:
        refused = await restores.run(inside(restores), states=("failed",))
        assert refused.code == "metadata_would_be_lost"
        await restores.run(
            inside(restores) + b"/sub",
            inside(restores) + b"/plain",
            metadata="basic",
            states=("warning",),
            verify="all",
        )
    finally:
        for tool in restores.yard.tools.iterdir():
            if tool.name != "borg":
                tool.unlink()
    assert (restores.target / "plain").read_bytes() == b"plain"
    assert (restores.target / "sub" / "hard").stat().st_ino == (restores.target / "plain").stat().st_ino
