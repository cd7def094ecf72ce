"""Plain borg beside all that this node knows: a repository is read by what a recovery kit has, and is not touched."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from typing import IO, TYPE_CHECKING, Any

from shared.borg.commands import literal
from shared.borg.environment import common
from shared.borg.exit_codes import Speaker, failure
from shared.borg.handed import to_read
from shared.borg.output import LogLine, parse_line

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

_COPIED = ("index.", "hints.", "integrity.")
_LARGEST = 64 * 1024 * 1024
"""Bytes of a file that is read to try a repository."""
_BLOCK = 1024 * 1024


def mirror(repository: Path, view: Path, config: str) -> None:
    """Make a directory that borg takes for the repository, with a `config` of its own and links to the segments.

    Each segment is a link: whatever borg removes, as where a disk is full, it removes a link. OSError where the
    repository is not there.
    """
    (view / "data").mkdir(mode=0o700, parents=True)
    for directory in (repository / "data").iterdir():
        there = view / "data" / directory.name
        there.mkdir()
        for segment in directory.iterdir():
            (there / segment.name).symlink_to(segment)
    for entry in repository.iterdir():
        if entry.name.startswith(_COPIED) or entry.name in ("README", "nonce"):
            shutil.copy(entry, view / entry.name)
    (view / "config").write_text(config)


class PlainBorg:
    """Runs borg to its end; it remembers what it meets in a directory of its own."""

    def __init__(self, borg: str, base: Path, passphrase: str) -> None:
        """Take borg's path, the directory, and what opens the repository: no argument and no variable holds that."""
        self._borg, self._passphrase = borg, passphrase
        self._environment = common() | {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(base),
            "BORG_BASE_DIR": str(base),
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
            "BORG_DISPLAY_PASSPHRASE": "no",
        }

    def import_key(self, repository: Path, file: Path) -> None:
        """Put a key into the repository's `config`."""
        self._told("key", "import", "--log-json", "--", str(repository), str(file))

    def archives(self, repository: Path) -> list[str]:
        """Return the names of its archives, the oldest first."""
        listed: dict[str, Any] = json.loads(
            self._told("list", "--log-json", "--json", "--bypass-lock", "--", str(repository))
        )
        return [str(one["archive"]) for one in listed["archives"]]

    def a_file(self, repository: Path, archive: str) -> tuple[str, int] | None:
        """Return the first file of an archive that holds something, and its size; None if there is none."""
        argv = ("list", "--log-json", "--bypass-lock", "--json-lines", "--", f"{repository}::{literal(archive)}")
        with self._running(*argv, may_be_killed=True) as process:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            for line in process.stdout:
                entry = json.loads(line)
                path, size = str(entry["path"]), int(entry.get("size") or 0)
                if entry["type"] == "-" and 0 < size <= _LARGEST and path.isascii() and path.isprintable():
                    process.kill()
                    process.wait()
                    return path, size
        return None

    def digest_of(self, repository: Path, archive: str, path: str) -> tuple[int, str]:
        """Extract a file and return how many bytes came, and their SHA-256."""
        digest, size = hashlib.sha256(), 0
        argv = ("extract", "--log-json", "--bypass-lock", "--stdout", "--", _in(repository, archive), f"pp:{path}")
        with self._running(*argv) as process:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            while block := process.stdout.read(_BLOCK):
                digest.update(block)
                size += len(block)
        return size, digest.hexdigest()

    def recorded_digest(self, repository: Path, archive: str, path: str) -> str:
        """Return the SHA-256 of a file as borg's own listing of the archive tells it."""
        argv = ("list", "--log-json", "--bypass-lock", "--format={sha256}", "--", _in(repository, archive))
        return self._told(*argv, f"pp:{path}").strip()

    def extract(self, repository: Path, archive: str, target: Path) -> None:
        """Extract an archive into a directory, whoever owned it."""
        argv = ("extract", "--log-json", "--bypass-lock", "--numeric-ids", "--", _in(repository, archive))
        with self._running(*argv, cwd=target):
            pass

    def _told(self, *arguments: str) -> str:
        with self._running(*arguments) as process:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            return process.stdout.read().decode(errors="replace")

    @contextlib.contextmanager
    def _running(
        self, *arguments: str, cwd: Path | None = None, may_be_killed: bool = False
    ) -> Generator[subprocess.Popen[bytes]]:
        """Run borg; raise our error at the end if it failed, unless it was killed by whoever had enough."""
        # What it says goes into a file: nobody reads a second pipe while the first is read, and borg would wait.
        with tempfile.TemporaryFile() as said, self._started(arguments, said, cwd) as process:
            try:
                yield process
                killed = may_be_killed and process.poll() == -signal.SIGKILL
                process.wait()
            finally:
                process.kill()  # nothing happens if it has ended
            if not killed:
                said.seek(0)
                _raise(process.returncode, said.read(_LARGEST))

    def _started(self, arguments: Sequence[str], said: IO[bytes], cwd: Path | None) -> subprocess.Popen[bytes]:
        handed = to_read(self._passphrase.encode(errors="surrogateescape") + b"\n")
        try:
            return subprocess.Popen(
                [self._borg, *arguments],
                env=self._environment | {"BORG_PASSPHRASE_FD": str(handed)},
                pass_fds=[handed],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=cwd,
            )
        finally:
            os.close(handed)


def _in(repository: Path, archive: str) -> str:
    return f"{repository}::{literal(archive)}"


def _raise(status: int, said: bytes) -> None:
    lines = [one for line in said.splitlines() for one in parse_line(line) if isinstance(one, LogLine)]
    if error := failure(status, lines, speaker=Speaker.NODE, answered=True):
        raise error
