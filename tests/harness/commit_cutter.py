"""A TCP proxy before a MariaDB server that loses what a test says of one COMMIT, or of the answer to it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

_COMMIT = b"\x07\x00\x00\x00\x03COMMIT"
"""The packet: length, number, COM_QUERY, text."""


@dataclass
class Cut:
    """What is to be lost."""

    asked: int = len(_COMMIT)
    """So many bytes of the COMMIT still reach the server."""
    answered: int = 0
    """So many bytes of its answer still reach the client; -1: the client waits for ever."""
    every: bool = False
    """Of each COMMIT; else of the first one alone."""


@dataclass
class CommitCutter:
    """Give `url` to a Database; `cut` says what is lost, None nothing."""

    port_of_server: int
    cut: Cut | None = None
    cuts: int = 0
    _server: asyncio.Server | None = None
    _over: list[asyncio.Event] = field(default_factory=list)

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for over in self._over:
            over.set()
        while self._over:
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over = asyncio.Event()
        self._over.append(over)
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self.port_of_server)
        doomed: asyncio.Queue[Cut] = asyncio.Queue()
        tasks = [
            asyncio.create_task(one)
            for one in (
                self._ask(reader, upstream_writer, doomed),
                self._answer(upstream_reader, writer, doomed),
                over.wait(),
            )
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in (writer, upstream_writer):
            one.close()
        self._over.remove(over)

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Queue[Cut]
    ) -> None:
        connecting = True  # the driver commits once by itself, after the statement that it begins with
        while block := await reader.read(65536):
            if block == _COMMIT and connecting:
                connecting = False
            elif block == _COMMIT and self.cut is not None:
                cut = self.cut
                self.cut = cut if cut.every else None
                self.cuts += 1
                writer.write(block[: cut.asked])
                await writer.drain()
                if cut.asked < len(block):
                    return
                doomed.put_nowait(cut)
                continue
            writer.write(block)
            await writer.drain()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Queue[Cut]
    ) -> None:
        while block := await reader.read(65536):
            with contextlib.suppress(asyncio.QueueEmpty):
                cut = doomed.get_nowait()
                if cut.answered < 0:
                    await asyncio.Event().wait()
                writer.write(block[: cut.answered])
                await writer.drain()
                return
            writer.write(block)
            await writer.drain()
