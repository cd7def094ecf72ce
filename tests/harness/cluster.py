"""A fleet that goes on without any one of its parts: three nats-servers, two of each service but the backup node."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httpx2

from shared.testing.sshd import free_port
from tests.harness.fleet import Fleet, asked, until
from tests.harness.mariadb import MariaServer
from tests.harness.nats_server import NatsCluster, NatsServer
from tests.harness.patience import WAIT


class ClusterFleet(Fleet):
    """Asks the first gateway that answers, as behind a load balancer."""

    names = ("api", "api-2", "scheduler", "scheduler-2", "setup", "setup-2", "stats", "stats-2", "backup")

    def __init__(self, directory: Path, maria: MariaServer) -> None:
        self.cluster = NatsCluster(directory)
        self.second_port = free_port()
        super().__init__(directory, maria)
        self.second = httpx2.Client(base_url=f"http://127.0.0.1:{self.second_port}", timeout=WAIT)

    def bus(self) -> NatsServer:
        self.cluster = self.accounts.cluster(self.directory)
        return cast("NatsServer", self.cluster)  # started, stopped and asked for alike

    def own(self, name: str) -> dict[str, str]:
        return {"BORGFLEET_API__PORT": str(self.second_port)} if name == "api-2" else {}

    def stop(self) -> None:
        self.second.close()
        super().stop()

    def request(self, method: str, path: str, body: Any = None) -> httpx2.Response:
        """Ask again, also the other gateway, with one key: what was done before an answer was lost is not done twice."""
        key = str(uuid.uuid4())
        self.second.headers["Authorization"] = self.http.headers["Authorization"]

        def answered() -> httpx2.Response | None:
            for http in (self.http, self.second):
                try:
                    return asked(http, method, path, body, key)
                except httpx2.TransportError:
                    continue  # it is being restarted
            return None

        return until(answered, f"a gateway answers {method} {path}")

    def leader(self, stream: str = "") -> NatsServer:
        """Return the server that leads a stream, or the cluster, as soon as one does."""
        name: str = until(lambda: self.cluster.leads(stream), f"{stream or 'the cluster'} has a leader")
        return self.cluster.named(name)

    def whole(self) -> None:
        """Wait until each server holds all of each stream again."""
        self.cluster.start()
        until(self.cluster.whole, "all replicas hold all")

    def each(self, do: Callable[[str], None]) -> None:
        """Do something with one process after another, each ready again before the next."""
        for name in self.names:
            do(name)
            self.services[name].wait_ready()
