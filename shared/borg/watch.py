"""Ends a borg of this node that hangs: no sign of life for too long, or far longer than its work can take."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Self

from shared.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

SILENCE_SECONDS = 900.0
_HOUR, _DAY = 3600.0, 86_400.0
_SECONDS = {
    "init": _HOUR, "list": 6 * _HOUR, "info": _DAY, "delete": 2 * _DAY, "compact": 4 * _DAY,
    "check": 8 * _DAY, "extract": 8 * _DAY,
}  # fmt: skip
"""How long each verb may take altogether, whatever it says meanwhile. A check with a budget ends by itself."""
_SCRIPTS = {
    "left_out": _HOUR, "verify": _DAY, "recover": 2 * _DAY, "manifest_reader": 6 * _HOUR, "delete_meant": 2 * _DAY,
    "list_whole": 6 * _HOUR, "list_meant": 6 * _HOUR, "import_reader": _DAY,
    "export_archive": 8 * _DAY,
}  # fmt: skip
"""The same for our own scripts, which give signs of life as borg does: see `alive` in each of them."""
_SILENT_SCRIPTS = {"recover": _HOUR}
"""What may be mute for longer than a borg: without its index a large repository is opened for a long time."""


class Watch:
    """Surrounds the reading of what a process says: `async with watch`, and reads through `watch.reading`."""

    def __init__(self, argv: Sequence[str], path: str, silence: float, own: float | None = None) -> None:
        """Take what runs, on which repository, how long a borg may say nothing, and how long this very run may."""
        verb = next(iter(argv[1:2]), "")
        self._verb = verb if verb in _SECONDS else Path(next(iter(argv[2:3]), verb)).stem
        self._path = path
        self._total = (_SECONDS | _SCRIPTS).get(self._verb, _HOUR)
        self._silence = own if own is not None else max(silence, _SILENT_SCRIPTS.get(self._verb, 0.0))
        self._timeout = asyncio.timeout(None)
        self._ends_at = 0.0

    async def __aenter__(self) -> Self:
        """Begin to watch."""
        self._ends_at = asyncio.get_running_loop().time() + self._total
        await self._timeout.__aenter__()
        self._heard()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """End it; TimeoutError if it was too long."""
        return await self._timeout.__aexit__(kind, error, trace)

    def reading(self, read: Callable[[int], Awaitable[bytes]]) -> Callable[[int], Awaitable[bytes]]:
        """Return the same reader, whose every block is a sign of life."""

        async def listen(size: int) -> bytes:
            block = await read(size)
            self._heard()
            return block

        return listen

    def _heard(self) -> None:
        if not self._timeout.expired():
            self._timeout.reschedule(min(asyncio.get_running_loop().time() + self._silence, self._ends_at))

    def error(self) -> Transient:
        """Say what took too long, and where to look."""
        pool = Path(self._path).parent.parent
        remedy = f"see whether the disk or the network share of the storage pool {pool} answers on the backup node"
        if asyncio.get_running_loop().time() >= self._ends_at:
            message = f"borg {self._verb} on {self._path} was stopped after {self._total / _HOUR:.0f} hours"
            return Transient(message, code="command_too_long", remedy=remedy)
        message = f"borg {self._verb} on {self._path} said nothing for {self._silence:.0f} seconds and was stopped"
        return Transient(message, code="command_silent", remedy=remedy)
