"""A real nats-server on loopback that can be killed, wiped and started again on the same port."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2

from shared.testing.sshd import free_port, wait_for_listener
from tests.harness.patience import WAIT

_CONFIG = """\
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor}"
server_name: {name}
jetstream {{ store_dir: "{store}", {sync} }}
{more}
"""
DEBIAN_NATS = "/usr/sbin/nats-server"
"""Debian 12's own package: too old for us, and so of use in tests."""


def newest_server() -> str:
    """Return the binary that is tested with: of this environment, else of the machine."""
    own = Path(sys.executable).parent / "nats-server"
    binary = str(own) if own.exists() else shutil.which("nats-server")
    assert binary, "no nats-server"
    return binary


class NatsServer:
    def __init__(
        self,
        directory: Path,
        *,
        sync: str = "sync_interval: always",
        binary: str = "",
        more: str = "",
        environment: Mapping[str, str] | None = None,
        name: str = "test",
    ) -> None:
        self.directory = directory
        self.port, self.monitor = free_port(), free_port()
        self.sync = sync
        self.more = more
        self.name = name
        self.environment = os.environ | dict(environment or {})
        self.binary = binary or newest_server()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def urls(self) -> tuple[str, ...]:
        return (self.url,)

    @property
    def monitor_url(self) -> str:
        return f"http://127.0.0.1:{self.monitor}"

    @property
    def settings(self) -> dict[str, str]:
        """What a service's environment says of it."""
        return {"BORGFLEET_NATS__URL": self.url, "BORGFLEET_NATS__MONITOR_URL": self.monitor_url}

    @property
    def store(self) -> Path:
        return self.directory / "store"

    def start(self) -> NatsServer:
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "nats.conf"
        config.write_text(
            _CONFIG.format(
                port=self.port, monitor=self.monitor, store=self.store, sync=self.sync, more=self.more, name=self.name
            )
        )
        self.process = subprocess.Popen(
            [self.binary, "-c", str(config), "-l", str(self.directory / "nats.log")], env=self.environment
        )
        wait_for_listener("127.0.0.1", self.port)
        return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=WAIT)
            self.process = None

    def publish_raw(self, subject: str, block: bytes, payload: bytes = b"{}") -> bytes:
        """Publish with a header block as it stands, and return what the stream answered."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=WAIT) as wire:
            connect = b'CONNECT {"headers":true,"verbose":false,"no_responders":true}\r\nSUB answer 1\r\n'
            size = f"{len(block)} {len(block) + len(payload)}"
            wire.sendall(connect + f"HPUB {subject} answer {size}\r\n".encode() + block + payload + b"\r\n")
            said = b""
            while (answer := said.rpartition(b"MSG answer")[2]).count(b"\r\n") < 2 or answer == said:
                more = wire.recv(65536)
                assert more, said
                said += more
            return answer.split(b"\r\n")[1]

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def wipe(self) -> None:
        assert self.process is None, "stop it first"
        shutil.rmtree(self.store)


class NatsCluster:
    """Several nats-servers that know each other; each can be killed and started again. Told of together, like one."""

    def __init__(
        self, directory: Path, size: int = 3, *, more: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        ports = [free_port() for _ in range(size)]
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
        self.servers = [
            NatsServer(
                directory / f"nats-{number}",
                name=f"nats-{number}",
                more=f'cluster {{ name: test, listen: "127.0.0.1:{port}", routes: [{routes}] }}\n{more}',
                environment=environment,
            )
            for number, port in enumerate(ports)
        ]

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(server.url for server in self.servers)

    @property
    def monitor_urls(self) -> tuple[str, ...]:
        return tuple(server.monitor_url for server in self.servers)

    @property
    def settings(self) -> dict[str, str]:
        """What a service's environment says of them."""
        return {
            "BORGFLEET_NATS__URLS": ",".join(self.urls),
            "BORGFLEET_NATS__MONITOR_URLS": ",".join(self.monitor_urls),
            "BORGFLEET_NATS__REPLICAS": str(len(self.servers)),
        }

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """None if one of them does not run."""
        return min((server.process for server in self.servers), key=lambda process: process is not None)

    def start(self) -> NatsCluster:
        """Start whoever does not run."""
        for server in self.servers:
            if server.process is None:
                server.start()
        return self

    def stop(self) -> None:
        for server in self.servers:
            server.stop()

    def named(self, name: str) -> NatsServer:
        return next(server for server in self.servers if server.name == name)

    def leads(self, stream: str = "") -> str | None:
        """Return which server leads a stream, or the cluster itself; None while none does or none answers."""
        for told in self._told():
            if not stream:
                return told.get("meta_cluster", {}).get("leader") or None
            if leader := next(
                (one["leader"] for name, one in _streams(told) if name == stream and one["leader"]), None
            ):
                return leader
        return None

    def whole(self) -> bool:
        """Whether each stream is held by all servers, as its leader knows."""
        led = {name: one for told in self._told() for name, one in _streams(told) if one["leader"] == told["server"]}
        others = [one.get("replicas", []) for one in led.values()]
        return bool(led) and all(
            len(replicas) == len(self.servers) - 1 and all(peer["current"] for peer in replicas) for replicas in others
        )

    def _told(self) -> Iterator[dict[str, Any]]:
        """What each server that answers says of JetStream."""
        for server in self.servers:
            if server.process is not None:
                with contextlib.suppress(httpx2.HTTPError):
                    told = httpx2.get(f"{server.monitor_url}/jsz?streams=1", timeout=WAIT).json()
                    yield told | {"server": server.name}


def _streams(told: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for account in told.get("account_details", []):
        for stream in account.get("stream_detail", []):
            yield stream["name"], {"leader": ""} | stream.get("cluster", {})
