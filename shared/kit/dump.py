"""The database as one file, and back: SQLite by its own copy of itself, MariaDB by its own dump."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from shared.borg.handed import in_memory
from shared.domain.messages.recovery_kit import DUMP_CLIENT_MISSING, DUMP_CUT_SHORT, DUMP_FAILED, LOAD_FAILED
from shared.errors import Permanent, Transient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import URL

    from shared.db.engines import Link

SQLITE, MARIADB = "sqlite", "mariadb"
FILES = {SQLITE: "borgfleet.db", MARIADB: "borgfleet.sql"}
"""The name of what is dumped, by the kind of the database."""
_LAST_LINE = b"-- Dump completed"
_TAIL = 500
_SAID = 2000
_DUMP = (
    "--single-transaction", "--quick", "--routines", "--events", "--triggers", "--hex-blob",
    "--default-character-set=utf8mb4", "--skip-lock-tables",
)  # fmt: skip


def kind_of(url: str) -> str:
    """Return which kind of database a URL names."""
    return SQLITE if make_url(url).get_backend_name() == SQLITE else MARIADB


async def dump(url: str, link: Link, directory: Path) -> Path:
    """Write the whole database, as of one moment, into a file of the directory; Transient if that broke off."""
    kind = kind_of(url)
    target = directory / FILES[kind]
    if kind == SQLITE:
        try:
            await asyncio.to_thread(_copied, Path(make_url(url).database or ""), target)
        except (sqlite3.Error, OSError) as error:
            raise Transient(DUMP_FAILED(status=1, said=str(error))) from error
    else:
        await _dumped(make_url(url), link, target)
    return target


async def load(url: str, link: Link, file: Path) -> None:
    """Run a dump of MariaDB's in a database that is empty; Permanent says what the server refused."""
    argv = [_client("mariadb", "mysql"), "--defaults-extra-file={options}", "--default-character-set=utf8mb4"]
    with file.open("rb") as given:
        status, said = await _run(
            make_url(url), link, [*argv, "--", make_url(url).database or ""], stdin=given.fileno()
        )
    if status:
        raise Permanent(LOAD_FAILED(said=said))


async def _dumped(url: URL, link: Link, target: Path) -> None:
    argv = [_client("mariadb-dump", "mysqldump"), "--defaults-extra-file={options}", *_DUMP]
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        status, said = await _run(url, link, [*argv, "--", url.database or ""], stdout=descriptor)
    finally:
        os.close(descriptor)
    if status:
        raise Transient(DUMP_FAILED(status=status, said=said))
    _require_end(target)


def _require_end(target: Path) -> None:
    """Hold a dump for whole only if its last line says so: a client may end with 0 and half of the tables."""
    with target.open("rb") as file:
        file.seek(max(0, target.stat().st_size - _TAIL))
        lines = file.read().rstrip().splitlines()
    if not lines or not lines[-1].startswith(_LAST_LINE):
        raise Transient(DUMP_CUT_SHORT())


def _copied(source: Path, target: Path) -> None:
    """Copy a SQLite database that others write to; what was copied is looked through."""
    # Opened as one that exists: connecting to a file that is gone would make an empty one.
    with (
        contextlib.closing(sqlite3.connect(f"file:{_quoted(source)}?mode=ro", uri=True, timeout=60)) as one,
        contextlib.closing(sqlite3.connect(target)) as other,
    ):
        target.chmod(0o600)
        # All at once: who writes meanwhile waits for nobody, and copied in parts it would begin anew at each write.
        one.backup(other, pages=-1)
        other.execute("PRAGMA journal_mode=DELETE")
        found = other.execute("PRAGMA quick_check").fetchone()
    if found != ("ok",):
        raise Transient(DUMP_FAILED(status=0, said=str(found[0])))


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _client(*names: str) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise Permanent(DUMP_CLIENT_MISSING(program=names[0]))
    return found


async def _run(
    url: URL, link: Link, argv: Sequence[str], *, stdin: int = asyncio.subprocess.DEVNULL, stdout: int | None = None
) -> tuple[int, str]:
    """Run a client of MariaDB; password and place reach it by a file that stands on no disk."""
    handed = in_memory(_options(url, link).encode())
    try:
        process = await asyncio.create_subprocess_exec(
            *(one.format(options=f"/proc/self/fd/{handed}") for one in argv),
            stdin=stdin,
            stdout=asyncio.subprocess.DEVNULL if stdout is None else stdout,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=[handed],
            start_new_session=True,
        )
    finally:
        os.close(handed)
    try:
        said = b""
        while process.stderr is not None and (block := await process.stderr.read(_SAID)):
            said = (said + block)[-_SAID:]
        return await process.wait(), said.decode(errors="replace").strip()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _options(url: URL, link: Link) -> str:
    """Return an option file of MariaDB's clients."""
    certificates = link.certificates
    given = {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "socket": url.query.get("unix_socket"),
        "ssl-ca": certificates.ca_file if certificates else None,
        "ssl-cert": certificates.cert_file if certificates else None,
        "ssl-key": certificates.key_file if certificates else None,
    }
    lines = [f"{name}={_value(str(value))}" for name, value in given.items() if value]
    secure = ["ssl", "ssl-verify-server-cert"] if certificates else []
    return "\n".join(["[client]", *lines, *secure, ""])


def _value(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
