"""A nats-server that gives each service a user of its own, as `borgfleet nats-keys` and users.conf make it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from borgfleet.accounts import users_conf
from borgfleet.seeds import KEYS, make_seeds, seed_file
from shared.config.settings import NatsSettings
from tests.harness.nats_server import NatsCluster, NatsServer

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
        return NatsServer(directory, more=_users(tests_log_in=tests_log_in), environment=self.keys)

    def cluster(self, directory: Path) -> NatsCluster:
        """Three servers that are not started, who know the same users; tests log in without a seed."""
        return NatsCluster(directory, more=_users(tests_log_in=True), environment=self.keys)

    def settings(self, server: NatsServer | NatsCluster, user: str) -> NatsSettings:
        if isinstance(server, NatsCluster):
            where: dict[str, Any] = {"urls": server.urls, "monitor_urls": server.monitor_urls}
            return NatsSettings(**where, replicas=len(server.servers), nkey_seed_file=self.seed(user))
        return NatsSettings(url=server.url, monitor_url=server.monitor_url, nkey_seed_file=self.seed(user))


def violations(server: NatsServer | NatsCluster) -> list[str]:
    """What nats-server refused, as its own log has it."""
    if isinstance(server, NatsCluster):
        return [refused for one in server.servers for refused in violations(one)]
    return _VIOLATION.findall((server.directory / "nats.log").read_text())


def _users(*, tests_log_in: bool) -> str:
    users = users_conf()
    if tests_log_in:
        users = users.replace("  users: [", "  users: [\n    { user: tests, password: tests }", 1)
        users += "no_auth_user: tests\n"
    return users
