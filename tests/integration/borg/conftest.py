"""A repository on a node, for tests of what a server can do to it."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from shared.borg.node import BorgNode, Grant
from shared.borg.sessions import SessionReport, Sessions
from shared.domain.ids import new_id
from tests.harness.borg_many import borg_many
from tests.harness.rpc import RawClient
from tests.harness.stage import Stage
from tests.harness.untraced import untraced

BORG = str(Path(sys.executable).parent / "borg")
SCRIPTS = Path(__file__).parents[3] / "shared" / "borg"
PASSPHRASE = "canary-right"


@dataclass
class World:
    """One repository with one archive, and what its server has."""

    directory: Path
    node: BorgNode
    grant: Grant
    files: dict[str, bytes] = field(default_factory=dict)

    def client(self, *, epoch: int | None = None, path: str | None = None) -> RawClient:
        """Speak to a fence of one's own, as sshd or the tunnel starts it."""
        file = self.node.state_dir / "grants" / self.grant.file_name
        argv = [self.node.python, "-I", str(SCRIPTS / "fence.py"), str(file), str(epoch or self.grant.epoch),
                "serve", "--append-only", "--umask=077", "--restrict-to-repository", path or self.grant.path]  # fmt: skip
        return RawClient(argv, os.environ | self.node._environment)

    def opened(self) -> RawClient:
        client = self.client()
        client.open(self.grant.path)
        return client

    def reports(self) -> list[SessionReport]:
        return self.node.sessions.reports(self.grant.repository_id)

    def refused(self) -> str:
        return " | ".join(what for report in self.reports() for what in report.refused)

    def borg(self, *arguments: str, borg: str = BORG, base: str = "client", status: int | None = 0, **more: Any) -> str:
        """Run a borg on the repository itself, not through the fence."""
        environment = untraced(os.environ) | {
            "BORG_PASSPHRASE": PASSPHRASE, "BORG_BASE_DIR": str(self.directory / base), "TZ": "UTC",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes", "BORG_EXIT_CODES": "modern",
        }  # fmt: skip
        done = subprocess.run([borg, *arguments], env=environment, capture_output=True, text=True, check=False, **more)
        assert status is None or done.returncode == status, (
            f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def assert_whole(self) -> None:
        """The archive from before extracts byte for byte, and the repository is sound."""
        target = self.directory / "extracted"
        target.mkdir(exist_ok=True)
        commands = [["check", "--verify-data", self.grant.path], ["extract", f"{self.grant.path}::before"]]
        answers = borg_many(commands, self.directory / "client", passphrase=PASSPHRASE, cwd=target)
        assert [status for status, _ in answers] == [0, 0], answers
        assert {file.name: file.read_bytes() for file in target.rglob("*") if file.is_file()} == self.files


def make_files(directory: Path, count: int = 12, size: int = 3000) -> dict[str, bytes]:
    directory.mkdir(parents=True, exist_ok=True)
    files = {f"file{number}": os.urandom(size) for number in range(count)}
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return files


@pytest.fixture(scope="session")
def stage(scratch: Path) -> Stage:
    return Stage(scratch / "stage")


@pytest.fixture(scope="session")
def pristine(scratch: Path) -> World:
    """A world to copy: to make one takes seconds, to copy it none."""
    directory = scratch / "pristine"
    grant = Grant(new_id(), new_id(), str(directory / "pool" / "web1" / "system"), 3)
    made = World(directory, BorgNode(BORG, directory / "state"), grant)
    made.borg("init", "--encryption=repokey-blake2", "--make-parent-dirs", grant.path)
    made.files = make_files(directory / "source")
    made.borg("create", f"{grant.path}::before", "source", cwd=directory)
    return made


@pytest.fixture
def world(pristine: World, tmp_path: Path) -> Iterator[World]:
    shutil.copytree(pristine.directory / "pool", tmp_path / "pool")
    shutil.copytree(pristine.directory / "state", tmp_path / "state")
    node = copy.copy(pristine.node)
    node.state_dir, node.sessions = tmp_path / "state", Sessions(tmp_path / "state")
    node._shut_out, node._ended, node._environment = {}, {}, node._prepare()
    grant = replace(pristine.grant, path=str(tmp_path / "pool" / "web1" / "system"))
    node.permit(grant, 600)
    yield World(tmp_path, node, grant, pristine.files)
    node.revoke(grant)
