"""Carries a session between a client and `borg serve`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BLOCK = 256 * 1024
_SMALL = 32 * 1024
_GATHER_SECONDS = 0.002


async def pipe(
    process: asyncio.subprocess.Process,
    read: Callable[[int], Awaitable[bytes]],
    write: Callable[[bytes], Awaitable[None]],
) -> None:
    """Pass on what a client sends to `borg serve`, and what that answers, until it has no more to say."""
    stdin, stdout = cast("asyncio.StreamWriter", process.stdin), cast("asyncio.StreamReader", process.stdout)

    async def up() -> None:
        try:
            while data := await read(BLOCK):
                stdin.write(data)
                await stdin.drain()
        finally:
            stdin.close()  # whatever ended the client's side, borg serve must hear of it

    async def down() -> None:
        while data := await stdout.read(BLOCK):
            await write(data)
            if len(data) < _SMALL:  # borg answers each of thousands of puts: together they cost a packet, not one each
                await asyncio.sleep(_GATHER_SECONDS)

    sending = asyncio.create_task(up())
    try:
        await down()
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
