"""What a recipe made, found by each test as the recipe left it: made once in a process, and put back in a moment.

The path of a repository stands in borg's caches, in its security records, in archives and in the database. A copy in
another place would be a repository that moved, and that is another test: so the copy is put back in the place of the
first one, with the caches and the security records of all who work on it.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy.engine import make_url

from tests.harness.fleet import until
from tests.harness.mariadb import MariaServer


class Stage:
    """A directory of this name for one test after the other, and what recipes left in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "live"
        self._kept = directory / "kept"

    def set(self, recipe: str) -> bool:
        """Put back what was kept of a recipe; where nothing was, leave the directory empty and return False."""
        until(lambda: not self._at_work(), lambda: f"the processes of the last test end: {self._at_work()}")
        shutil.rmtree(self.directory, ignore_errors=True)
        kept = self._kept / recipe
        if kept.exists():
            _copy(kept, self.directory)
            return True
        self.directory.mkdir(parents=True)
        return False

    def has(self, recipe: str) -> bool:
        """Tell whether this was kept."""
        return (self._kept / recipe).exists()

    def beside(self, recipe: str) -> Path:
        """Return the name of a file to be kept with it."""
        return self._kept / f"{recipe}.rows"

    def keep(self, recipe: str) -> None:
        """Keep what is there."""
        self._kept.mkdir(exist_ok=True)
        _copy(self.directory, self._kept / recipe)

    def _at_work(self) -> list[list[str]]:
        """Return the command lines of processes that still work here; what they would do, the next test would see."""
        mark = f"{self.directory}/"
        lines: list[list[str]] = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
        return [line for line in lines if any(mark in word for word in line)]


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)


class Prepared:
    """What was done on a stage and in a database, once in a process: the second test on finds it done."""

    def __init__(self, stage: Stage, url: Any, maria: MariaServer | None) -> None:
        """Begin with an empty stage; `maria` is the server of the database, where it has one."""
        self._stage, self._url, self._maria = stage, make_url(url), maria
        self._recipe = self._url.get_backend_name()

    async def once(self, what: str, do: Callable[[], Awaitable[None]]) -> None:
        """Do it after all that was named before, or put back what it led to; nothing else was done meanwhile."""
        before, self._recipe = self._recipe, f"{self._recipe}-{what}"
        rows = DatabaseCopy(self._url, self._stage.beside(self._recipe), self._maria)
        if not self._stage.has(self._recipe):
            if not self._stage.has(before):
                self._stage.set(before)
            await do()
            self._stage.keep(self._recipe)
            await asyncio.to_thread(rows.keep)
        self._stage.set(self._recipe)  # the first one, too, finds what the others find
        await asyncio.to_thread(rows.put_back)


class DatabaseCopy:
    """All tables of a database, kept in a file and put back by the database's own means."""

    def __init__(self, url: Any, file: Path, maria: MariaServer | None = None) -> None:
        self._url, self._file, self._maria = make_url(url), file, maria

    def keep(self) -> None:
        if self._maria is None:
            copy_sqlite(Path(str(self._url.database)), self._file)
        else:
            self._file.write_text(self._maria.dump(str(self._url.database)))

    def put_back(self) -> None:
        if self._maria is None:
            copy_sqlite(self._file, Path(str(self._url.database)))
        else:
            self._maria.sql(self._file.read_text(), str(self._url.database))


def copy_sqlite(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as one, sqlite3.connect(target) as other:
        one.backup(other)
    one.close()
    other.close()
