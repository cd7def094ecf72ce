"""A webhook's receiver that believes only what is signed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook

from tests.harness.fleet import Fleet


@contextmanager
def webhook_channel(fleet: Fleet, name: str, **rules: Any) -> Iterator[list[dict[str, Any]]]:
    """Add a channel for as long as the block lasts; yields what arrives, each message's signature checked."""
    arrived: list[dict[str, Any]] = []
    keys: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            arrived.append(Webhook(keys[0]).verify(body, {k.lower(): v for k, v in self.headers.items()}))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/hook-canary"
    channel = fleet.post("/api/notification-channels", {"name": name, "kind": "webhook", "url": url} | rules)
    keys.append(channel["signing_key"])
    try:
        yield arrived
    finally:
        fleet.call("DELETE", f"/api/notification-channels/{channel['id']}")
        server.shutdown()
        server.server_close()
