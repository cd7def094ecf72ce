"""The bytes of a transfer as they come from a backup node: in order, whole, and never more than a window ahead."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import deque
from typing import TYPE_CHECKING

from pydantic import ValidationError

from services.api.features.files.asking import ask_node
from shared.domain.downloads import (
    DATA,
    END,
    LATER,
    LATER_SECONDS,
    OPEN,
    OPEN_SECONDS,
    WINDOW,
    ChunkAsked,
    Ended,
    Opened,
    chunk_subject,
    subject,
)
from shared.domain.messages.downloads import TRANSFER_GARBLED
from shared.errors import AppError, Permanent
from shared.runtime.outcome import cancelled

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from shared.bus.port import Bus
    from shared.domain.downloads import TransferAsked

_CHUNK_SECONDS = LATER_SECONDS + 20.0
_STOP_SECONDS = 5.0


class Incoming:
    """One transfer from a node."""

    def __init__(self, bus: Bus, node: str) -> None:
        """Take whom to ask; `open` begins."""
        self._bus, self._node = bus, node
        self._about = ""
        self._size = 0
        self._digest = hashlib.sha256()

    async def open(self, asked: TransferAsked) -> None:
        """Begin; `Refused` with 429 where the node has enough to do."""
        payload = await ask_node(
            self._bus, self._node, subject(OPEN, self._node), asked.model_dump_json().encode(), OPEN_SECONDS
        )
        self._about = chunk_subject(self._node, Opened.model_validate_json(payload).transfer)

    async def close(self) -> None:
        """Say that nobody wants more; without this the node finds out by itself, later."""
        if self._about:
            with contextlib.suppress(AppError):
                await self._bus.request(self._about, ChunkAsked().model_dump_json().encode(), _STOP_SECONDS)

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield chunk after chunk; each is asked for when one before it was taken. Ends in order only if all came."""
        asked: deque[asyncio.Task[bytes]] = deque()
        number = 0
        try:
            while True:
                while len(asked) < WINDOW:
                    asked.append(asyncio.create_task(self._chunk(number)))
                    number += 1
                answer = await asked.popleft()
                if answer[:1] == END:
                    self._require_all(answer[1:])
                    return
                chunk = answer[1:]
                self._size += len(chunk)
                self._digest.update(chunk)
                yield chunk
        finally:
            await cancelled(*asked)
            await asyncio.gather(*asked, return_exceptions=True)  # what made one fail made all of them fail

    async def _chunk(self, number: int) -> bytes:
        payload = ChunkAsked(number=number).model_dump_json().encode()
        while True:
            answer = await ask_node(self._bus, self._node, self._about, payload, _CHUNK_SECONDS)
            if answer[:1] in (DATA, END):
                return answer
            if answer[:1] != LATER:
                raise Permanent(TRANSFER_GARBLED(node=self._node, what="an answer of no kind"))

    def _require_all(self, told: bytes) -> None:
        try:
            ended = Ended.model_validate_json(told)
        except ValidationError as error:
            raise Permanent(TRANSFER_GARBLED(node=self._node, what="its end cannot be read")) from error
        if (ended.size, ended.sha256) != (self._size, self._digest.hexdigest()):
            what = f"{self._size} bytes came of {ended.size}, or others"
            raise Permanent(TRANSFER_GARBLED(node=self._node, what=what))
