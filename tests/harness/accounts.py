"""A nats-server that gives each service a user of its own, as `borgfleet nats-keys` and users.conf make it."""

from __future__ import annotations

import re
from pathlib import Path

from borgfleet.accounts import users_conf
from borgfleet.seeds import KEYS, make_seeds, seed_file
from shared.config.settings import NatsSettings
from tests.harness.nats_server import NatsServer

_VIOLATION = re.compile(r".*(?:Violation|violation).*")


class Accounts:
    """The seeds of all users, and what nats-server needs to know them."""

    def __init__(self, directory: Path) -> None:
        make_seeds(directory)
        self._directory = directory
        lines = (directory / KEYS).read_text().splitlines()
        self.keys = dict(line.split("=", 1) for line in lines)

    def seed(self, user: str) -> Path:
        return seed_file(self._directory, user)

    def server(self, directory: Path, *, tests_log_in: bool = False) -> NatsServer:
        """A server that is not started; who comes without a seed is let in, as a user of the tests, or not at all."""
        users = users_conf()
        if tests_log_in:
            users = users.replace("  users: [", "  users: [\n    { user: tests, password: tests }", 1)
            users += "no_auth_user: tests\n"
        return NatsServer(directory, more=users, environment=self.keys)

    def settings(self, server: NatsServer, user: str) -> NatsSettings:
        return NatsSettings(url=server.url, monitor_url=server.monitor_url, nkey_seed_file=self.seed(user))


def violations(server: NatsServer) -> list[str]:
    """What nats-server refused, as its own log has it."""
    return _VIOLATION.findall((server.directory / "nats.log").read_text())
