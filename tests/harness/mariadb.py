"""A real mariadbd on loopback, in a directory of its own; one database a test."""

from __future__ import annotations

import getpass
import itertools
import shutil
import signal
import subprocess
import time
from pathlib import Path

from shared.db.migrations import migrate
from shared.testing.sshd import free_port
from tests.harness.commands import CommandFailedError, said
from tests.harness.patience import WAIT


class ServerSilentError(Exception):
    """A client program failed; holds what it said."""


class MariaServer:
    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self._options = options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)
        self._schema = ""
        self._rows = ""
        self._tables: list[str] = []
        self._spare: list[str] = []

    def start(self) -> MariaServer:
        data, temporary = self.directory / "data", self.directory / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        # One that starts removes all temporary tables in its directory: of a common one, also those that others use.
        own = ["--no-defaults", f"--datadir={data}", f"--tmpdir={temporary}", f"--user={getpass.getuser()}"]
        if not data.exists():
            said(
                ["mariadb-install-db", *own,
                 "--auth-root-authentication-method=normal", "--skip-test-db"]
            )  # fmt: skip
        mariadbd = shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        assert mariadbd, "no mariadbd"
        self.process = subprocess.Popen(
            [mariadbd, *own, f"--port={self.port}",
             "--bind-address=127.0.0.1", f"--socket={self._socket}", f"--pid-file={self.directory / 'pid'}",
             "--innodb-buffer-pool-size=256M", "--skip-name-resolve", "--max-connections=200",
             # What was written outlives a killed mariadbd; no test takes the power away.
             "--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=2",
             f"--log-error={self.directory / 'log'}", *self._options],
        )  # fmt: skip
        self._wait()
        return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=WAIT)
            self.process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def database(self) -> str:
        """Create a database and return its URL."""
        name = f"borgfleet_{next(self._names)}"
        self.sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return f"mariadb+aiomysql://root@127.0.0.1:{self.port}/{name}"

    def migrated(self) -> str:
        """Create a database with the newest schema and return its URL: the second one on is a copy of the first's."""
        if self._spare:
            return self._spare.pop()
        url = self.database()
        name = url.rpartition("/")[2]
        if not self._schema:
            migrate(url)
            self._schema = self.dump(name)
            self._rows = self._client("mariadb-dump", "--no-create-info", "--hex-blob", name)
            self._tables = self.sql("SHOW TABLES", name).split()
        else:
            self.sql(self._schema, name)
        return url

    def give_back(self, url: str) -> None:
        """Make a migrated database, that nobody uses any more, as it was, for the next: 70 tables take their time."""
        name = url.rpartition("/")[2]
        emptied = "".join(f"DELETE FROM `{table}`;" for table in self._tables)  # noqa: S608 - our own tables
        counted = self.sql(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND auto_increment > 1",
            name,
        ).split()
        again = "".join(f"TRUNCATE `{table}`;" for table in counted)
        self.sql(f"SET FOREIGN_KEY_CHECKS = 0; {emptied} {again}\n{self._rows}", name)
        self._spare.append(url)

    def sql(self, statement: str, database: str = "") -> str:
        return self._client("mariadb", "-N", database, given=statement)

    def dump(self, database: str) -> str:
        # By default it would lock every table against the services that work meanwhile.
        return self._client("mariadb-dump", "--single-transaction", "--hex-blob", database)

    def _client(self, program: str, *arguments: str, given: str = "") -> str:
        argv = [program, "--no-defaults", f"--socket={self._socket}", "-uroot", *arguments]
        try:
            return said(argv, given=given)
        except CommandFailedError as error:
            raise ServerSilentError(str(error)) from error

    @property
    def _socket(self) -> Path:
        return self.directory / "s"

    def _wait(self) -> None:
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            try:
                self.sql("SELECT 1")
            except ServerSilentError:
                time.sleep(0.1)
            else:
                return
        raise TimeoutError((self.directory / "log").read_text()[-2000:])
