"""A TCP proxy before a MariaDB server that cuts the connection after a statement was done: as a kill of the client."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from shared.db.migrations.progress import TABLE as PROGRESS

_CHANGE = re.compile(r"(?:CREATE|ALTER|DROP|INSERT|REPLACE|UPDATE|DELETE|COMMIT)\b")
_HEAD = 5
"""Of a packet: its length, its number, and what it is."""
_QUERY, _DONE = 3, 0


class StatementCutter:
    """Cuts once after each change that it has not cut after before, one in each connection: give `url` to `migrate`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.port
        self._server = ("127.0.0.1", parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = urlunsplit(parts._replace(netloc=f"root@127.0.0.1:{self._listener.getsockname()[1]}"))
        self.only: tuple[str, ...] = ("",)
        """Cut only after statements that begin with one of these."""
        self.cuts: list[str] = []
        self._before: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, socket.create_connection(self._server) as server, contextlib.suppress(EOFError):
                    self._pass(client, server)

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        """Pass question by question: the protocol gives each one its answer before the next is asked."""
        answered = threading.Event()
        asked: list[tuple[str, str]] = []

        def answers() -> None:
            with contextlib.suppress(OSError):
                for block in _blocks(server):
                    if asked and self._is_to_be_cut(asked.pop(), block):
                        break
                    client.sendall(block)
                client.shutdown(socket.SHUT_RDWR)
            answered.set()

        threading.Thread(target=answers, daemon=True).start()
        last = ""
        with contextlib.suppress(OSError):
            for block in _blocks(client):
                if len(block) > _HEAD and block[_HEAD - 1] == _QUERY:
                    text = block[_HEAD:].decode(errors="replace").lstrip()
                    asked[:] = [(last, text)]
                    if _CHANGE.match(text) and PROGRESS not in text and not text.startswith("COMMIT"):
                        last = text
                server.sendall(block)
            server.shutdown(socket.SHUT_RDWR)
        answered.wait()

    def _is_to_be_cut(self, question: tuple[str, str], answer: bytes) -> bool:
        """Tell it by the question and by the change before it: COMMIT and the counts look all alike."""
        text = question[1]
        if answer[_HEAD - 1] != _DONE or not _CHANGE.match(text) or question in self._before:
            return False
        if not text.startswith(self.only):
            return False
        self._before.add(question)
        self.cuts.append(text)
        return True


def _blocks(stream: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while block := stream.recv(65536):
            yield block
