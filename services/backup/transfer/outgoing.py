"""The bytes of one transfer, cut into chunks that are made only once they are asked for."""

from __future__ import annotations

import asyncio
import hashlib

from shared.domain.downloads import CHUNK_BYTES, DATA, END, LATER, LATER_SECONDS, PATIENCE, WINDOW, Ended
from shared.domain.messages.downloads import TRANSFER_ABANDONED, TRANSFER_UNKNOWN
from shared.errors import AppError, Gone, Transient


class Outgoing:
    """Between who makes the bytes and who asks for them; holds no more chunks than were asked for."""

    def __init__(self, patience: float = PATIENCE) -> None:
        """Take for how many seconds it may be that nobody asks for more."""
        self._patience = patience
        self._chunks: dict[int, bytes] = {}
        self._buffer = bytearray()
        self._made = 0
        self._asked = 0
        self._size = 0
        self._digest = hashlib.sha256()
        self._end: bytes | None = None
        self._error: AppError | None = None
        self._news = asyncio.Condition()

    @property
    def begun(self) -> bool:
        """Whether any byte came: then it cannot be begun anew."""
        return self._size > 0 or bool(self._buffer)

    async def put(self, block: bytes) -> None:
        """Take the next bytes, and wait until they are wanted; Transient `transfer_abandoned` if they never are."""
        self._buffer += block
        while len(self._buffer) >= CHUNK_BYTES:
            await self._give(bytes(self._buffer[:CHUNK_BYTES]))
            del self._buffer[:CHUNK_BYTES]

    async def end(self) -> None:
        """Hand on what is left, and say that this was all."""
        if self._buffer:
            await self._give(bytes(self._buffer))
            self._buffer.clear()
        async with self._news:
            self._end = END + Ended(size=self._size, sha256=self._digest.hexdigest()).model_dump_json().encode()
            self._news.notify_all()

    async def fail(self, error: AppError) -> None:
        """Tell whoever asks for more that there is none, and why."""
        async with self._news:
            self.forget()
            self._error = error
            self._news.notify_all()

    def forget(self) -> None:
        """Hold none of the bytes any more: nobody asks for them again."""
        self._chunks.clear()
        self._buffer.clear()

    async def answer(self, number: int) -> bytes:
        """Return what is asked for: a chunk, the end, or `LATER` where it takes long; raise why there is none."""
        async with self._news:
            if number >= self._asked + 2 * WINDOW:
                raise Gone(TRANSFER_UNKNOWN())
            self._asked = max(self._asked, number + 1)
            self._news.notify_all()
            try:
                async with asyncio.timeout(LATER_SECONDS):
                    await self._news.wait_for(lambda: number < self._made or self._over)
            except TimeoutError:
                return LATER
            if number in self._chunks:
                return DATA + self._chunks.pop(number)
            if self._error is not None:
                raise self._error
            if self._end is None or number < self._made:
                raise Gone(TRANSFER_UNKNOWN())
            return self._end

    @property
    def _over(self) -> bool:
        return self._end is not None or self._error is not None

    async def _give(self, chunk: bytes) -> None:
        async with self._news:
            try:
                async with asyncio.timeout(self._patience):
                    await self._news.wait_for(lambda: self._made < self._asked)
            except TimeoutError as error:
                raise Transient(TRANSFER_ABANDONED(seconds=self._patience)) from error
            self._chunks[self._made] = chunk
            self._made += 1
            self._size += len(chunk)
            self._digest.update(chunk)
            self._news.notify_all()
