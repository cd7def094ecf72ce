"""Answers what is inside backups, over request and reply: from a repository's catalogue, at once.

A directory of a backup that is not indexed is listed by borg, from a view that is taken for the question.
"""

from __future__ import annotations

import contextlib
import heapq
import secrets
import sqlite3
import time
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from services.backup.catalogue import history, lookup, search
from services.backup.catalogue.directory import Directory
from services.backup.catalogue.store import file_of, reading
from services.backup.node.apart import apart
from services.backup.node.views import take
from services.backup.plan import load_repository
from shared.borg.entries import EntryReader
from shared.borg.views import CannotLink
from shared.db.tables.storage import Archive
from shared.domain.files import (
    CATALOGUE_SECONDS,
    DIFF,
    LIST,
    LIST_SECONDS,
    LONGEST_PATH,
    SEARCH,
    USAGE,
    VERSIONS,
    DiffAsked,
    Hit,
    ListAnswer,
    ListAsked,
    SearchAnswer,
    SearchAsked,
    UsageAsked,
    VersionsAsked,
    subject,
)
from shared.domain.messages.files import (
    BACKUP_UNNAMED,
    BAD_PATH,
    CATALOGUE_BUILDING,
    CATALOGUE_MISSING,
    CATALOGUE_SLOW,
    REPOSITORY_BUSY,
    VIEW_IMPOSSIBLE,
)
from shared.errors import Conflict, Invalid, Permanent, Transient
from shared.runtime.tasks import Supervised

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from services.backup.node.view_keeper import ViewKeeper
    from services.backup.ports import RepositoryPlace, Storage
    from shared.bus.port import Bus
    from shared.db.session import Database
    from shared.db.unit_of_work import UnitOfWork

T = TypeVar("T")
Asked = TypeVar("Asked", bound=BaseModel)
_HELD_SECONDS = 60.0
"""Longer than a view takes: a pool that gives no sign of life is given up before."""
_AT_ONCE = 4
_STEPS = 10_000
"""Of SQLite's machine between two looks at the clock: some tenth of a millisecond."""
_SEARCHED_BYTES = 400 * 1024


class Brief:
    """Holds leases for a question, which has no job and no heartbeat."""

    def __init__(self, db: Database) -> None:
        """Take a name that nobody else has."""
        self._db = db
        self._holder = secrets.token_hex(16)

    async def run(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Run one transaction."""
        return await self._db.run(work)

    async def hold(self, name: str, label: str, *, on_beat: Callable[[int], None]) -> int:
        """Take a lease for a minute; nobody waits here: who asks may ask again."""
        del on_beat
        epoch = await self._db.run(lambda tx: tx.leases.acquire(name, self._holder, _HELD_SECONDS, gently=True))
        if epoch is None:
            raise Transient(REPOSITORY_BUSY(repository=label))
        return epoch

    async def let_go(self, name: str) -> None:
        """Give it back."""
        await self._db.run(lambda tx: tx.leases.release(name, self._holder))


class Answers:
    """Serves the questions of one node."""

    def __init__(
        self, db: Database, bus: Bus, node: str, storage: Storage, keeper: ViewKeeper, directory: Path
    ) -> None:
        """Take where repositories and catalogues are, and who must know which views are in use."""
        self._db, self._bus, self._node, self._storage, self._keeper = db, bus, node, storage, keeper
        self._directory = directory

    def task(self) -> Supervised:
        """Answer until the process stops."""
        return Supervised("catalogue", self.serve)

    async def serve(self, stopping: asyncio.Event) -> None:
        """Answer from when the bus is there; the supervisor begins anew where it is not."""
        async with contextlib.AsyncExitStack() as stack:
            for verb, answer in (
                (LIST, self.listed), (VERSIONS, self.versions), (SEARCH, self.searched), (DIFF, self.differs),
                (USAGE, self.used),
            ):  # fmt: skip
                within = LIST_SECONDS if verb == LIST else CATALOGUE_SECONDS
                listening = await self._bus.serve(subject(verb, self._node), answer, within=within, at_once=_AT_ONCE)
                stack.push_async_callback(listening.close)
            await stopping.wait()

    async def listed(self, payload: bytes) -> bytes:
        """Return one page of a directory."""
        asked = _read(ListAsked, payload)
        path = _checked(asked.path)
        place, archive = await self._db.run(lambda tx: _archive(tx, asked.archive_id))

        def kept(connection: sqlite3.Connection) -> ListAnswer | None:
            at = lookup.place_of(connection, archive.borg_id or "")
            return at and lookup.list_directory(connection, at, path, asked.after, asked.limit)

        answer = await self._catalogued(place.id, kept) or await self._from_archive(place, archive, asked, path)
        return answer.model_dump_json().encode()

    async def versions(self, payload: bytes) -> bytes:
        """Return what a path was in all backups of a repository."""
        asked = _read(VersionsAsked, payload)
        path = _checked(asked.path)
        answer = await self._catalogued(asked.repository_id, lambda db: history.versions_of(db, path, asked.limit))
        return _there(answer)

    async def used(self, payload: bytes) -> bytes:
        """Return how much stands below each name of a directory."""
        asked = _read(UsageAsked, payload)
        path = _checked(asked.path)
        answer = await self._catalogued(
            asked.repository_id, lambda db: lookup.use_of(db, _place(db, asked.borg_id), path, asked.limit)
        )
        return _there(answer)

    async def differs(self, payload: bytes) -> bytes:
        """Return what differs between two archives."""
        asked = _read(DiffAsked, payload)
        answer = await self._catalogued(
            asked.repository_id,
            lambda db: history.diff(db, _place(db, asked.before), _place(db, asked.after), asked.limit),
        )
        return _there(answer)

    async def searched(self, payload: bytes) -> bytes:
        """Search the names of several repositories, one after the other."""
        asked = _read(SearchAsked, payload)
        until = time.monotonic() + CATALOGUE_SECONDS - 2
        hits: list[Hit] = []
        unknown: list[uuid.UUID] = []
        more = False
        for of in asked.repository_ids:
            found = await self._catalogued(
                of, lambda db, of=of: search.search(db, of, asked.wanted, asked.limit), until - time.monotonic()
            )
            if found is None:
                unknown.append(of)
            else:
                hits, more = hits + found[0], more or found[1]
        best = heapq.nsmallest(asked.limit, hits, key=lambda hit: (not hit.whole, -hit.last_at, hit.path))
        fitting = _fitting(best)
        more = more or len(fitting) < len(hits)
        return SearchAnswer(rows=fitting, more=more, unknown=unknown).model_dump_json().encode()

    async def _catalogued(
        self, repository_id: uuid.UUID, work: Callable[[sqlite3.Connection], T], seconds: float = CATALOGUE_SECONDS - 2
    ) -> T | None:
        """Read a catalogue; None where there is none that can be read."""
        file, until = file_of(self._directory, repository_id), time.monotonic() + seconds

        def read() -> T | None:
            with reading(file) as connection:
                if connection is None:
                    return None
                connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
                return work(connection)

        try:
            return await apart(read, max(0.0, seconds) + 1, "catalogue")
        except (sqlite3.DatabaseError, TimeoutError) as error:
            if isinstance(error, TimeoutError) or "interrupted" in str(error):
                raise Transient(CATALOGUE_SLOW(seconds=CATALOGUE_SECONDS)) from error
            return None  # damaged: the next job builds it again

    async def _from_archive(
        self, place: RepositoryPlace, archive: Archive, asked: ListAsked, path: bytes
    ) -> ListAnswer:
        directory = Directory(path)
        view = self._storage.view_of(place, uuid.uuid4())
        with self._keeper.using(view.id):
            try:
                await take(Brief(self._db), self._storage, place, view)
                reader = EntryReader(directory)
                meant = archive.borg_id or "" if archive.imported else ""
                await self._storage.entries(view, None, archive.name, reader, [path] if path else [], borg_id=meant)
                reader.close()
            except CannotLink as error:
                raise Conflict(VIEW_IMPOSSIBLE(repository=place.label)) from error
            except Permanent as error:
                if error.code == "archive_missing":
                    raise Conflict(BACKUP_UNNAMED()) from error
                raise
            finally:
                await self._storage.remove_view(view)
        return directory.page(asked)


async def _archive(tx: UnitOfWork, archive_id: uuid.UUID) -> tuple[RepositoryPlace, Archive]:
    archive = await tx.session.get(Archive, archive_id)
    if archive is None:
        raise Conflict(BACKUP_UNNAMED())
    return await load_repository(tx, archive.repository_id), archive


def _read(model: type[Asked], payload: bytes) -> Asked:
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        raise Invalid(BAD_PATH(most=LONGEST_PATH)) from error


def _checked(path: bytes) -> bytes:
    path = path.strip(b"/")
    if len(path) > LONGEST_PATH or b"\0" in path or b".." in path.split(b"/"):
        raise Invalid(BAD_PATH(most=LONGEST_PATH))
    return path


def _place(connection: sqlite3.Connection, borg_id: str) -> lookup.Place:
    place = lookup.place_of(connection, borg_id)
    if place is None:
        raise Conflict(CATALOGUE_BUILDING())
    return place


def _there(answer: BaseModel | Any) -> bytes:
    if answer is None:
        raise Conflict(CATALOGUE_MISSING())
    return answer.model_dump_json().encode()


def _fitting(hits: list[Hit]) -> list[Hit]:
    """Return as many as one message carries."""
    size, fitting = 0, list[Hit]()
    for hit in hits:
        size += 500 + 2 * len(hit.path)
        if fitting and size > _SEARCHED_BYTES:
            break
        fitting.append(hit)
    return fitting
