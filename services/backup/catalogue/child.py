"""Runs the child process that writes a catalogue, and hands it an archive's listing as borg gives it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, cast

from services.backup.catalogue.indexer import LENGTH
from shared.domain.messages.files import CATALOGUE_UNWRITABLE, INDEXER_DIED
from shared.errors import Permanent, Transient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from shared.borg.node import OnAnswer

    Feed = Callable[[OnAnswer], Awaitable[None]]

_END = LENGTH.pack(0)
_GONE = (BrokenPipeError, ConnectionResetError)


async def merge_in_child(file: Path, archive: dict[str, Any], feed: Feed) -> dict[str, Any]:
    """Merge an archive; `feed` calls what it is given with each block of the listing. Returns what the child says."""
    return await _ask({"file": str(file)} | archive, feed)


async def drop_in_child(file: Path, borg_ids: list[str]) -> None:
    """Take archives out of a catalogue."""
    await _ask({"file": str(file), "drop": borg_ids}, None)


async def _ask(asked: dict[str, Any], feed: Feed | None) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BORGFLEET_")}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.backup.catalogue.indexer",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment,
    )  # fmt: skip
    stdin, stdout = cast("asyncio.StreamWriter", child.stdin), cast("asyncio.StreamReader", child.stdout)

    async def write(block: bytes) -> None:
        stdin.write(LENGTH.pack(len(block)) + block)
        await stdin.drain()

    try:
        with contextlib.suppress(*_GONE):  # it has ended, and may have said why
            stdin.write(json.dumps(asked).encode() + b"\n")
            if feed is not None:
                await feed(write)
            stdin.write(_END)
            await stdin.drain()
        said = await stdout.read()
        await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
        cast("Any", child)._transport.close()  # noqa: SLF001 - asyncio's own way to it is not public
    return _read(said)


def _read(said: bytes) -> dict[str, Any]:
    if not said:
        raise Transient(INDEXER_DIED())
    answer: dict[str, Any] = json.loads(said)
    if answer.get("code") in ("unwritable", "garbled"):
        raise Permanent(CATALOGUE_UNWRITABLE(reason=answer["reason"]))
    return answer
