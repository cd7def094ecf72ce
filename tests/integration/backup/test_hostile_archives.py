"""Archives that a hostile server made with a borg of its own: nothing outside the target is touched, nothing is placed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.backup.plan import load_repository
from shared.db.tables import Archive, db_now
from shared.testing.sshd import PrivateSshd
from tests.harness.trees import tree
from tests.integration.backup.conftest import yard_at
from tests.integration.backup.test_restore import Restores, names
from tests.integration.backup.yard import Yard, files
from tests.unit.services.backup.restore.test_tar import entry, tar

UNSAFE_BORG = """
import sys
import borg.archive, borg.archiver
borg.archive.make_path_safe = lambda path: path
sys.exit(borg.archiver.main())
"""
"""borg that takes any path as it is, as whoever controls a server may make it write."""
LINK, HARD, DIRECTORY = b"2", b"1", b"5"
OUT = "OUT"
CRAFTED: dict[str, list[tuple[Any, ...]]] = {
    "absolute link": [("link", LINK, b"", OUT), ("link/victim", b"0", b"x")],
    "relative link": [("link", LINK, b"", "../../outside"), ("link/victim", b"0", b"x")],
    "new file through a link": [("link", LINK, b"", OUT), ("link/new", b"0", b"x")],
    "chained links": [("one", LINK, b"", "two"), ("two", LINK, b"", OUT), ("one/victim", b"0", b"x")],
    "link below a directory": [("a", DIRECTORY), ("a/b", LINK, b"", OUT), ("a/b/victim", b"0", b"x")],
    "directory that turns into a link": [("a", DIRECTORY), ("a", LINK, b"", OUT), ("a/victim", b"0", b"x")],
    "link that turns into a file": [("a", LINK, b"", f"{OUT}/victim"), ("a", b"0", b"x")],
    "directory through a link": [("link", LINK, b"", OUT), ("link/made", DIRECTORY)],
    "link through a link": [("link", LINK, b"", OUT), ("link/made", LINK, b"", "/etc")],
    "hard link to a victim": [("hard", HARD, b"", f"{OUT}/victim"), ("hard", b"0", b"x")],
    "relative hard link to a victim": [("hard", HARD, b"", "../../outside/victim"), ("hard", b"0", b"x")],
    "hard link through a link": [("link", LINK, b"", OUT), ("hard", HARD, b"", "link/victim"), ("hard", b"0", b"x")],
    "above": [("../../outside/victim", b"0", b"x")],
    "absolute": [(f"{OUT}/victim", b"0", b"x")],
    "device through a link": [("link", LINK, b"", OUT), ("link/null", b"3")],
}


@pytest.fixture(scope="module")
async def prepared(
    yard_sshd: PrivateSshd, yard_schema: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Yard, Archive]]:
    if os.geteuid() != 0:
        pytest.skip("a restore is root's")
    async with yard_at(tmp_path_factory.mktemp("hostile"), yard_sshd, yard_schema) as yard:
        definition = await yard.backup_job(files(yard.directory / "src", 1))
        await yard.run(definition, "succeeded", "warning")
        yield yard, (await yard.archives(definition))[0]


async def crafted(yard: Yard, genuine: Archive, data: bytes) -> Archive:
    """Put an archive of these entries into the repository, with the key that its server has, and onto our records."""
    place = await yard.db.run(lambda tx: load_repository(tx, genuine.repository_id))
    environment = os.environ | {
        "BORG_PASSPHRASE": place.passphrase, "BORG_BASE_DIR": str(yard.directory / "hostile"),
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes", "BORG_EXIT_CODES": "modern",
    }  # fmt: skip
    name = f"crafted-{uuid.uuid4().hex}"

    def borg(*arguments: str, given: bytes = b"") -> bytes:
        argv = [sys.executable, "-c", UNSAFE_BORG, *arguments]
        done = subprocess.run(argv, env=environment, input=given, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    borg("import-tar", f"{place.path}::{name}", "-", given=data)
    (info,) = json.loads(borg("info", "--json", f"{place.path}::{name}"))["archives"]
    own = {"id": uuid.uuid4(), "name": name, "borg_id": info["id"], "created_at": db_now(), "job_id": None}

    async def add(tx: Any) -> Archive:
        row = await tx.session.get_one(Archive, genuine.id)
        columns = [column.name for column in Archive.__table__.columns if column.name not in (*own, "evidence")]
        made = Archive(**{column: getattr(row, column) for column in columns}, **own)
        tx.session.add(made)
        await tx.session.flush()
        return made

    return await yard.db.run(add)


@pytest.mark.parametrize("name", CRAFTED)
async def test_an_archive_of_a_hostile_borg_touches_nothing_outside(
    prepared: tuple[Yard, Archive], tmp_path: Path, name: str
) -> None:
    yard, genuine = prepared
    outside = files(tmp_path / "outside", 1)
    (outside / "victim").write_text("untouched")
    entries = [entry("fine", data=b"fine")]
    for path, kind, *more in CRAFTED[name]:
        made, data = entry(path.replace(OUT, str(outside)), kind, *more[:1])
        made.linkname = more[1].replace(OUT, str(outside)) if len(more) > 1 else ""
        entries.append((made, data))
    before = tree(outside)
    archive = await crafted(yard, genuine, tar(*entries))
    for metadata in ("full", "basic") if name in ("chained links", "above") else ("full",):
        restores = Restores(yard, archive, tmp_path / metadata)
        job = await restores.run(metadata=metadata, states=("failed",))
        assert job.code == "hostile_archive", f"{job.code} {job.reason}"
        assert names(restores.parent) == []
        assert tree(outside) == before
        assert restores.left() == []
