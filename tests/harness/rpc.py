"""A client that speaks borg's protocol frame by frame, and need not be honest."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from typing import Any, Self

import msgpack

from tests.harness.patience import WAIT

MANIFEST = bytes(32)


class RemoteError(Exception):
    """What the server answered instead of a result: its class and words."""

    def __init__(self, answer: dict[bytes, Any]) -> None:
        self.name = answer[b"exception_class"].decode()
        super().__init__(f"{self.name}: {b' '.join(answer[b'exception_short']).decode()}")


class Gone(Exception):
    """The server ended the session."""


class RawClient:
    """Frames to a process's input, answers from its output."""

    def __init__(self, argv: list[str], environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
            start_new_session=True,
        )  # fmt: skip
        assert self.process.stdin
        assert self.process.stdout
        self._in, self._out = self.process.stdin.fileno(), self.process.stdout.fileno()
        self._unpacker = msgpack.Unpacker(raw=True, use_list=False, max_buffer_size=1 << 28, strict_map_key=False)
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, method: str, **arguments: Any) -> Any:
        self._number += 1
        self.send(msgpack.packb({b"i": self._number, b"m": method, b"a": arguments}, use_bin_type=False))
        return self.answer()

    def send(self, data: bytes) -> None:
        """Write all of it, and go on where the server has gone."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._in, view[: 1 << 20]) :]
        except BrokenPipeError as error:
            raise Gone from error

    def answer(self) -> Any:
        for answer in self._unpacker:
            return _result(answer)
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self._out], [], [], deadline - time.monotonic())
            data = os.read(self._out, 1 << 20) if ready else b""
            if not data:
                raise Gone
            self._unpacker.feed(data)
            for answer in self._unpacker:
                return _result(answer)
        raise AssertionError("no answer")

    def negotiate(self) -> Any:
        return self.call("negotiate", client_data={b"client_version": (1, 4, 5, -1)})

    def open(self, path: str, **more: Any) -> Any:
        self.negotiate()
        arguments: dict[str, Any] = {
            "create": False,
            "lock_wait": 1,
            "lock": True,
            "exclusive": True,
            "append_only": False,
        }
        return self.call("open", path=path, **(arguments | more))

    def ids(self) -> list[bytes]:
        found: list[bytes] = []
        while batch := self.call("list", limit=10_000, marker=found[-1] if found else None):
            found += batch
        return found

    def close(self) -> tuple[int, str]:
        """End the session as a client does; return the status and what the server said."""
        assert self.process.stdin
        assert self.process.stdout
        assert self.process.stderr
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        said = self.process.stderr.read().decode(errors="replace")
        self.process.stdout.close()
        self.process.stderr.close()
        return self.process.wait(WAIT), said


def _result(answer: dict[bytes, Any]) -> Any:
    if b"exception_class" in answer:
        raise RemoteError(answer)
    return answer[b"r"]
