"""Hands bytes out of archives to whoever asks for them over the bus: opens transfers, and serves the chunks of each."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from services.backup.catalogue import lookup
from services.backup.catalogue.store import file_of, reading
from services.backup.node.apart import apart
from services.backup.plan import load_repository
from services.backup.transfer.lease import viewing
from services.backup.transfer.outgoing import Outgoing
from shared.borg.exit_codes import ROLLED_BACK
from shared.db.tables.storage import Archive
from shared.domain.downloads import (
    LATER_SECONDS,
    LOOK,
    LOOK_SECONDS,
    MOST_TRANSFERS,
    OF_ONE_FILE,
    OPEN,
    OPEN_SECONDS,
    PATIENCE,
    WINDOW,
    ChunkAsked,
    LookAnswer,
    Opened,
    TransferAsked,
    chunk_subject,
    subject,
)
from shared.domain.files import LONGEST_PATH
from shared.domain.messages.bus import INTERNAL_ANSWER
from shared.domain.messages.downloads import PATH_IS_NO_FILE, TRANSFERS_BUSY, VIEW_UNREADABLE
from shared.domain.messages.files import BACKUP_UNNAMED, BAD_PATH, PATH_NOT_IN_ARCHIVE
from shared.errors import AppError, Conflict, Internal, Invalid, Permanent, Transient
from shared.runtime.outcome import outcome
from shared.runtime.tasks import Supervised

if TYPE_CHECKING:
    from pathlib import Path

    from services.backup.node.view_keeper import ViewKeeper
    from services.backup.ports import RepositoryPlace, Storage
    from shared.bus.port import Bus
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

_log = structlog.get_logger()
Asked = TypeVar("Asked", bound=BaseModel)
_LEASE_SECONDS = 60.0
_STEPS = 10_000
_VIEW = (ROLLED_BACK, "repository_corrupt", "manifest_unreadable", "repository_missing")
"""What borg says of a view that it cannot read: it is taken anew once, and is no incident of the repository."""


class Transfers:
    """The transfers of one node."""

    def __init__(
        self,
        db: Database,
        bus: Bus,
        node: str,
        storage: Storage,
        keeper: ViewKeeper,
        directory: Path,
        *,
        patience: float = PATIENCE,
    ) -> None:
        """Take where repositories and catalogues are; `patience`: seconds after which nobody is thought to read on."""
        self._db, self._bus, self._node, self._storage, self._keeper = db, bus, node, storage, keeper
        self._directory = directory
        self._patience = patience
        self._open: dict[str, asyncio.Task[None]] = {}

    def task(self) -> Supervised:
        """Serve until the process stops."""
        return Supervised("transfers", self.serve)

    async def serve(self, stopping: asyncio.Event) -> None:
        """Serve from when the bus is there; what is under way when it ends is broken off."""
        async with contextlib.AsyncExitStack() as stack:
            for verb, answer, within in ((OPEN, self.opened, OPEN_SECONDS), (LOOK, self.looked, LOOK_SECONDS)):
                listening = await self._bus.serve(subject(verb, self._node), answer, within=within)
                stack.push_async_callback(listening.close)
            stack.push_async_callback(self.close)
            await stopping.wait()

    async def close(self) -> None:
        """Break off what is under way."""
        tasks = list(self._open.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def opened(self, payload: bytes) -> bytes:
        """Begin a transfer; Transient `transfers_busy` where too many are under way."""
        asked = _read(TransferAsked, payload)
        _check(asked)
        if len(self._open) >= MOST_TRANSFERS:
            raise Transient(TRANSFERS_BUSY(node=self._node, most=MOST_TRANSFERS))
        name, ready = uuid.uuid4().hex, asyncio.Event()
        self._open[name] = task = asyncio.create_task(self._transfer(name, asked, ready))
        task.add_done_callback(lambda _: self._open.pop(name, None))
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()  # who asked has left
            raise
        finally:
            waiting.cancel()
        if task.done():
            task.result()  # raises: it could not even be begun
        return Opened(transfer=name).model_dump_json().encode()

    async def looked(self, payload: bytes) -> bytes:
        """Say how much it would be, as far as a catalogue knows; Invalid where it is not in the archive."""
        asked = _read(TransferAsked, payload)
        _check(asked)
        place, archive = await self._db.run(lambda tx: _archive(tx, asked.archive_id))
        file, until = file_of(self._directory, place.id), time.monotonic() + LOOK_SECONDS / 2

        def read() -> LookAnswer:
            with reading(file) as connection:
                if connection is None:
                    return LookAnswer()
                connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
                at = lookup.place_of(connection, archive.borg_id or "")
                return LookAnswer() if at is None else LookAnswer(size=_size(connection, at, asked))

        try:
            return (await apart(read, LOOK_SECONDS - 1, "look")).model_dump_json().encode()
        except (sqlite3.DatabaseError, TimeoutError):
            return LookAnswer().model_dump_json().encode()  # too much to add up, or damaged: the archive knows

    async def _transfer(self, name: str, asked: TransferAsked, ready: asyncio.Event) -> None:
        """Serve the chunks of one transfer until whoever asks for them is done, or has been silent for too long."""
        outgoing = Outgoing(self._patience)
        pulse = _Pulse()

        async def answer(payload: bytes) -> bytes:
            chunk = _read(ChunkAsked, payload)
            if chunk.number is None:
                pulse.over.set()
                return b""
            with pulse.asked():
                return await outgoing.answer(chunk.number)

        about = chunk_subject(self._node, name)
        listening = await self._bus.serve(about, answer, within=LATER_SECONDS + 5, at_once=2 * WINDOW)
        making = asyncio.create_task(self._made(name, asked, outgoing))
        try:
            ready.set()
            await pulse.silent_for(self._patience)
        finally:
            making.cancel()
            await asyncio.wait({making})  # borg is gone then, and the view
            outgoing.forget()
            await listening.close()

    async def _made(self, name: str, asked: TransferAsked, outgoing: Outgoing) -> None:
        error = await outcome(self._exported(asked, outgoing))
        if isinstance(error, asyncio.CancelledError):
            raise error
        if error is None:
            return
        if not isinstance(error, AppError):
            _log.error("transfer_crashed", transfer=name, exc_info=error)
            error = Internal(INTERNAL_ANSWER())
        _log.warning("transfer_broken", transfer=name, archive=str(asked.archive_id), code=error.code,
                     reason=error.message)  # fmt: skip
        await outgoing.fail(error)

    async def _exported(self, asked: TransferAsked, outgoing: Outgoing) -> None:
        place, archive = await self._db.run(lambda tx: _archive(tx, asked.archive_id))
        chosen = asked.chosen(archive.name, archive.borg_id or "", by_id=archive.imported)
        for last in (False, True):
            try:
                async with viewing(self._db, self._storage, self._keeper, place, _LEASE_SECONDS) as read:
                    await self._storage.export_chosen(read.place, read.grant, chosen, outgoing.put)
            except Permanent as error:
                if error.code == "archive_missing":
                    raise Conflict(BACKUP_UNNAMED()) from error
                if error.code not in _VIEW or outgoing.begun:
                    raise
                if last:
                    raise Permanent(VIEW_UNREADABLE(repository=place.label, error=error.message)) from error
            else:
                break
        await outgoing.end()


class _Pulse:
    """When somebody last asked for a chunk, and whether he is done."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self._waiting = 0
        self._last = time.monotonic()

    @contextlib.contextmanager
    def asked(self) -> Any:
        """Count somebody who waits for a chunk: he is there."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            self._last = time.monotonic()

    async def silent_for(self, seconds: float) -> None:
        """Return when he is done, or nobody has asked for so long."""
        while not self.over.is_set():
            left = seconds if self._waiting else self._last + seconds - time.monotonic()
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.over.wait()


async def _archive(tx: UnitOfWork, archive_id: uuid.UUID) -> tuple[RepositoryPlace, Archive]:
    archive = await tx.session.get(Archive, archive_id)
    if archive is None or archive.borg_id is None or archive.missing:
        raise Conflict(BACKUP_UNNAMED())
    return await load_repository(tx, archive.repository_id), archive


def _size(connection: sqlite3.Connection, at: lookup.Place, asked: TransferAsked) -> int | None:
    """Add up what was chosen; None where time is over before."""
    size = 0
    for item in asked.items:
        node = lookup.node_of(connection, item.strip(b"/"))
        found = None if node is None else lookup.seen(connection, at, node)
        if asked.format in OF_ONE_FILE:
            if found is None:
                raise Invalid(PATH_NOT_IN_ARCHIVE(path=lookup.shown(item.strip(b"/"))))
            if found.type not in "-h":
                raise Invalid(PATH_IS_NO_FILE(path=lookup.shown(item.strip(b"/"))))
            if found.type == "h":
                return None  # its size stands with the first of its names
        if found is not None and found.type != "d":
            size += found.size if found.type == "-" else 0
            continue
        below = lookup.use_of(connection, at, item.strip(b"/"), 1)  # Invalid where there is no such thing
        if below.partial:
            return None
        size += below.size
    return size


def _check(asked: TransferAsked) -> None:
    for item in asked.items:
        path = item.strip(b"/")
        parts = path.split(b"/")
        if len(path) > LONGEST_PATH or b"\0" in path or any(part in (b"", b".", b"..") for part in parts):
            raise Invalid(BAD_PATH(most=LONGEST_PATH))


def _read(model: type[Asked], payload: bytes) -> Asked:
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        raise Invalid(BAD_PATH(most=LONGEST_PATH)) from error
