"""A server's borg, of either version, through a plain `borg serve`: an attacker where nothing refuses him."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.harness.patience import WAIT
from tests.harness.untraced import untraced

NODE = str(Path(sys.executable).parent / "borg")
DEBIAN = "/usr/bin/borg"
PASSPHRASE = "canary-passphrase"


@dataclass
class Client:
    """One borg with a cache of its own, on one repository."""

    borg: str
    repository: Path
    home: Path

    @property
    def url(self) -> str:
        return f"ssh://node{self.repository}"

    def environment(self) -> dict[str, str]:
        served = f"exec {shlex.quote(NODE)} serve --append-only --restrict-to-repository {self.repository}"
        return untraced(os.environ) | {  # nothing of ours runs in it
            "BORG_RSH": shlex.join(["sh", "-c", served]),
            "BORG_PASSPHRASE": PASSPHRASE,
            "BORG_NEW_PASSPHRASE": PASSPHRASE,
            "BORG_BASE_DIR": str(self.home),
            "BORG_EXIT_CODES": "modern",
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
            "TZ": "UTC",
        }

    def run(self, *argv: str, status: int = 0) -> str:
        """Run to the end, on the repository as its server sees it; `{repo}` stands for its URL."""
        done = subprocess.run(
            [self.borg, *(word.format(repo=self.url) for word in argv)],
            env=self.environment(), capture_output=True, text=True, check=False, timeout=WAIT,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done.stdout

    def create(self, name: str, *sources: Path, options: tuple[str, ...] = ()) -> None:
        self.run("create", *options, f"{{repo}}::{name}", *map(str, sources))

    def cut(self, name: str, source: Path, how: signal.Signals) -> None:
        """Begin an archive, with a checkpoint each second, and end borg as soon as a segment is being written."""
        argv = [self.borg, "create", "--checkpoint-interval=1", "--upload-ratelimit=300", f"{self.url}::{name}"]
        before = set(self.repository.glob("data/*/*"))
        process = subprocess.Popen(
            [*argv, str(source)], env=self.environment(), stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + WAIT
        while set(self.repository.glob("data/*/*")) <= before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):  # a test that was held up may find it ended
            os.killpg(process.pid, how)
        process.wait(WAIT)
        while (self.repository / "lock.exclusive").exists() and how is not signal.SIGKILL:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def node(repository: Path, home: Path, *argv: str) -> str:
    """Run the node's own borg on its repository: no serve, nothing append-only; `{repo}` stands for its path."""
    done = subprocess.run(
        [NODE, *(word.format(repo=repository) for word in argv)],
        env=Client(NODE, repository, home).environment(), capture_output=True, text=True, check=False, timeout=WAIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_behind(repository: Path, puts: dict[bytes, bytes], deletes: tuple[bytes, ...] = ()) -> None:
    """Put and delete objects as a patched client does: what it sends is stored as it is."""
    argv = [sys.executable, "-c", _WRITER, str(repository)]
    sent = json.dumps([{key.hex(): data.hex() for key, data in puts.items()}, [key.hex() for key in deletes]])
    done = subprocess.run(argv, input=sent, capture_output=True, text=True, check=False, timeout=WAIT)
    assert done.returncode == 0, done.stderr


_WRITER = """
import json, sys
from borg.logger import setup_logging
setup_logging()
from borg.repository import Repository
puts, deletes = json.load(sys.stdin)
with Repository(sys.argv[1], exclusive=True, append_only=True) as repository:
    for key, data in puts.items():
        repository.put(bytes.fromhex(key), bytes.fromhex(data))
    for key in deletes:
        repository.delete(bytes.fromhex(key))
    repository.commit(compact=False)
"""
