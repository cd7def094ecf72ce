"""A storage and a server in memory, for the handlers."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.backup.create.hooks import HookOutput
from services.backup.create.own_places import OwnPlace
from services.backup.ports import (
    BackupPlan,
    Made,
    Prepared,
    Recovery,
    RepositoryPlace,
    Segments,
    Stretch,
    Wanted,
)
from services.backup.truth.evidence import Given, Kind, Source
from services.backup.truth.tally import Tally
from shared.borg.journal import Entry, Past, append, read
from shared.borg.node import Grant, OnAnswer, OnOutput
from shared.borg.output import Listed, Listing, LogLine, Phase, Progress
from shared.borg.segments import History
from shared.borg.sessions import Garbage, SessionReport
from shared.domain.archive import ArchiveFigures, RepositoryFigures
from shared.errors import AppError
from tests.harness.listing import as_listed

BORG_ID = "b" * 64
SIZES = RepositoryFigures(original_size=30, compressed_size=20, deduplicated_size=10)


def figures(name: str, files: int = 3) -> ArchiveFigures:
    now = datetime.now(UTC)
    return ArchiveFigures(
        name=name, borg_id=f"{abs(hash(name)):064x}"[-64:], started_at=now, ended_at=now, duration=1.0, files=files,
        original_size=30, compressed_size=20, deduplicated_size=10,
    )  # fmt: skip


class Broken(Exception):
    """The worker dies here."""


@dataclass
class FakeStorage:
    """Repositories as lists of archives."""

    kept: dict[str, ArchiveFigures] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    listed_entries: list[Any] = field(default_factory=list)
    also: str = ""
    """What vanishes by another's hand at the next deletion."""
    lost_by_compaction: str = ""
    dies_at: str = ""
    left_behind: list[str] = field(default_factory=list)
    """Checkpoints."""
    also_listed: list[Listed] = field(default_factory=list)
    """What else the manifest names."""
    wrong: list[str] = field(default_factory=list)
    """With the manifest."""
    fails_to_delete: AppError | None = None
    segments: list[Segments] = field(default_factory=list)
    """What the next checks of the segments find; sound, when there are no more."""
    archives_damage: tuple[str, ...] = ()
    unreadable: dict[str, str] = field(default_factory=dict)
    """Archive -> why."""
    slow: float = 0.0
    """Seconds that a check of the archives, and each reading, takes."""
    transaction: int | None = None
    """The last one."""
    uncommitted: bool = False
    """There are segments above the last transaction."""
    rewritten: frozenset[bytes] | AppError = frozenset()
    wanted: list[Wanted] = field(default_factory=list)
    recovery: Recovery = field(default_factory=lambda: Recovery(2, 0, 0, 0, key=False))
    stretches: list[Stretch] = field(default_factory=list)
    copies: int = 0
    """Of the manifest."""
    journal: Path | None = None
    """Where the node remembers what it did; it has no state directory without."""
    forgets: AppError | None = None
    exported: str | None = None
    """The key."""
    reports: list[SessionReport] = field(default_factory=list)
    """What the fence told of the server's sessions."""
    found_garbage: Garbage | AppError = field(default_factory=Garbage)
    shut_out_of: list[str] = field(default_factory=list)
    gave: dict[str, int] | AppError = field(default_factory=dict[str, int])
    """Source -> how many files it gave; two, where nothing is said."""
    there: str | AppError | None = BORG_ID
    """Which repository is found in its place, or why its pool cannot be used."""
    told: tuple[str, ...] = ()
    not_renewed: str = ""
    """Why a leave cannot be extended."""
    on_list: Callable[[], Awaitable[None]] | None = None
    """What happens elsewhere while the repository is listed."""
    on_count: Callable[[], Awaitable[None]] | None = None

    @contextlib.asynccontextmanager
    async def open(self, repository: RepositoryPlace, epoch: int) -> AsyncIterator[Grant]:
        self.calls.append("open")
        yield Grant(repository.server_id, repository.id, repository.path, epoch)
        self.calls.append("close")

    def permit(self, repository: RepositoryPlace, epoch: int) -> str:
        self.calls.append(f"permit {epoch}")
        return self.not_renewed

    def view_of(self, repository: RepositoryPlace, name: uuid.UUID) -> RepositoryPlace:
        return replace(repository, id=name, path=f"/pool/.borgfleet-views/{name.hex}", to_server=False)

    async def take_view(self, repository: RepositoryPlace, view: RepositoryPlace) -> int:
        self.calls.append(f"take view of {repository.label}")
        return 1

    async def entries(
        self, repository: RepositoryPlace, grant: Any, name: str, on_block: Any, below: Any = (), *, borg_id: str = ""
    ) -> None:
        for one in self.listed_entries:
            if (taken := on_block(as_listed(one))) is not None:
                await taken

    async def remove_view(self, view: RepositoryPlace) -> None:
        self.calls.append("remove view")

    async def shut_out(self, repository: RepositoryPlace, grant: Grant) -> None:
        self.shut_out_of.append(repository.label)

    async def session_reports(self, repository: RepositoryPlace) -> list[SessionReport]:
        return list(self.reports)

    async def forget_session(self, report: SessionReport) -> None:
        self.reports.remove(report)

    async def garbage(self, repository: RepositoryPlace, grant: Grant, report: SessionReport) -> Garbage:
        if isinstance(self.found_garbage, AppError):
            raise self.found_garbage
        return self.found_garbage

    async def borg_id_of(self, repository: RepositoryPlace) -> str | None:
        if isinstance(self.there, AppError):
            raise self.there
        return self.there

    async def ensure(self, repository: RepositoryPlace, grant: Grant) -> Prepared:
        self.calls.append("ensure")
        return Prepared(BORG_ID, self.told)

    async def count_chosen(
        self, repository: RepositoryPlace, grant: Grant, chosen: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        raise NotImplementedError  # restores are tried on real parts

    async def export_chosen(
        self, repository: RepositoryPlace, grant: Grant, chosen: Mapping[str, Any], on_block: OnAnswer
    ) -> None:
        raise NotImplementedError

    async def archives(self, repository: RepositoryPlace, grant: Grant) -> list[Listed]:
        if self.on_list is not None:
            await self.on_list()
        return [Listed(archive.name, archive.borg_id) for archive in self.kept.values()]

    async def listing(self, repository: RepositoryPlace, grant: Grant, known: Collection[str] = ()) -> Listing:
        found = await self.archives(repository, grant)
        left = [Listed(name, f"{number:064x}") for number, name in enumerate(self.left_behind)]
        return Listing([*found, *left, *self.also_listed], self.wrong)

    async def archive(self, repository: RepositoryPlace, grant: Grant, name: str) -> ArchiveFigures:
        return self.kept[name]

    async def delete(self, repository: RepositoryPlace, grant: Grant, name: str, borg_id: str) -> None:
        if isinstance(self.fails_to_delete, AppError):
            raise self.fails_to_delete
        self.calls.append(f"delete {name}")
        self.kept.pop(name, None)
        self.kept.pop(self.also, None)

    async def compact(self, repository: RepositoryPlace, grant: Grant) -> None:
        if self.dies_at == "compact":
            raise Broken
        self.calls.append("compact")
        self.kept.pop(self.lost_by_compaction, None)

    async def check_segments(
        self, repository: RepositoryPlace, grant: Grant, seconds: int | None, on_output: OnOutput
    ) -> Segments:
        self.calls.append(f"check segments {seconds}")
        on_output(Phase("Checking segments 10.0%"))
        on_output(LogLine("info", "Starting repository check"))
        return self.segments.pop(0) if self.segments else Segments((), continued=False, finished=True)

    async def check_archives(self, repository: RepositoryPlace, grant: Grant, on_output: OnOutput) -> tuple[str, ...]:
        self.calls.append("check archives")
        await asyncio.sleep(self.slow)
        return self.archives_damage

    async def read(self, repository: RepositoryPlace, grant: Grant, name: str) -> tuple[str, ...]:
        self.calls.append(f"read {name}")
        await asyncio.sleep(self.slow)
        return (self.unreadable[name],) if name in self.unreadable else ()

    async def given(
        self, repository: RepositoryPlace, grant: Grant, name: str, sources: Sequence[str]
    ) -> tuple[Given, ...]:
        if self.on_count is not None:
            await self.on_count()
        if isinstance(self.gave, AppError):
            raise self.gave
        return tuple(Given(path=path, files=self.gave.get(path, 2), size=20) for path in sources)

    async def segment(self, repository: RepositoryPlace) -> int | None:
        return len(self.calls)

    async def last_transaction(self, repository: RepositoryPlace) -> int | None:
        return self.transaction

    async def has_segments(self, repository: RepositoryPlace, after: int, upto: int) -> bool:
        return self.uncommitted

    async def history(self, repository: RepositoryPlace, after: int) -> History:
        if isinstance(self.rewritten, AppError):
            raise self.rewritten
        return History(self.transaction, self.rewritten)

    async def key(self, repository: RepositoryPlace) -> str | None:
        return self.exported

    async def recover(self, repository: RepositoryPlace, grant: Grant, wanted: Wanted) -> Recovery:
        self.wanted.append(wanted)
        return self.recovery

    async def verify(
        self, repository: RepositoryPlace, key: str | None, *, after: int, upto: int, seconds: float
    ) -> Stretch:
        return self.stretches.pop(0) if self.stretches else Stretch(upto, 1, (), ())

    async def past(self, repository: RepositoryPlace) -> Past:
        if self.journal is None:
            return Past()
        return read(self.journal)

    async def remember(self, repository: RepositoryPlace, *entries: Entry) -> None:
        if isinstance(self.forgets, AppError):
            raise self.forgets
        if self.journal is not None:
            append(self.journal, entries)

    async def keep_manifest(self, repository: RepositoryPlace) -> int | None:
        self.copies += 1
        return self.transaction

    async def figures(self, repository: RepositoryPlace, grant: Grant) -> RepositoryFigures:
        return SIZES


@dataclass
class FakeServer:
    """One server; `statuses` are what its hooks end with, by script."""

    storage: FakeStorage
    missing: list[str] = field(default_factory=list)
    hanging: list[str] = field(default_factory=list)
    unreachable: AppError | None = None
    looks: list[dict[str, Any]] = field(default_factory=list)
    """What the next looks find of every source, beyond that it is a directory with something in it."""
    statuses: dict[str, int | Exception | None] = field(default_factory=dict)
    """None: stopped at the end of its time."""
    said: dict[str, list[str]] = field(default_factory=dict)
    """What they say to stderr, by script."""
    fails: AppError | None = None
    output: list[Any] = field(default_factory=list)
    status: int = 0
    garbled: bool = False
    hooks: list[str] = field(default_factory=list)
    variables: list[Mapping[str, str]] = field(default_factory=list)
    created: int = 0
    on_create: int | None = None
    """The repository's last transaction afterwards."""
    sessions: int = 0
    on_hook: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    on_borg: Callable[[], Awaitable[None]] | None = None
    """What happens while borg works, after its archive is there."""
    given: list[Sequence[str]] = field(default_factory=list)
    ours: tuple[OwnPlace, ...] | AppError = ()
    """What of ours lies below the sources."""
    left_out: Sequence[OwnPlace] = ()
    sources: list[str] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def session(self, plan: BackupPlan, gentle: Callable[[], bool]) -> AsyncIterator[FakeServer]:
        assert gentle() is False
        if self.unreachable:
            raise self.unreachable
        self.sessions += 1
        self.sources = list(plan.options.sources)
        yield self

    async def probe_sources(self) -> tuple[Source, ...]:
        more = self.looks.pop(0) if self.looks else {}
        return tuple(
            Source(path=path, kind=Kind.MISSING if path in self.missing else Kind.HANGS)
            if path in self.missing + self.hanging
            else Source.model_validate({"path": path, "kind": "directory", "empty": False, "mounted": False} | more)
            for path in self.sources
        )

    async def hook(self, script: str, seconds: float, variables: Mapping[str, str], heard: HookOutput) -> None:
        self.hooks.append(script)
        self.variables.append(variables)
        for line in self.said.get(script, ()):
            heard.add(line.encode(), error=True)
        if script in self.on_hook:
            await self.on_hook[script]()
        status = self.statuses.get(script, 0)
        if isinstance(status, Exception):
            raise status
        heard.status = status

    async def own_places(self, sources: Sequence[str]) -> tuple[OwnPlace, ...]:
        if isinstance(self.ours, AppError):
            raise self.ours
        return self.ours

    async def create(
        self,
        grant: Grant,
        archive: str,
        sources: Sequence[str],
        left_out: Sequence[OwnPlace],
        on_output: Callable[[LogLine | Progress | Phase], None],
    ) -> Made:
        tally = Tally(sources)
        self.given.append(sources)
        self.left_out = left_out
        for line in self.output:
            on_output(line)
            if isinstance(line, LogLine):
                tally(line)
        self.storage.transaction = self.on_create or self.storage.transaction
        if self.fails:
            if not isinstance(self.fails, AppError):
                raise self.fails
            return Made(tally.ended(2), error=self.fails)
        self.created += 1
        self.storage.kept[archive] = figures(archive, files=0 if set(self.missing) >= set(sources) else 3)
        if self.on_borg:
            await self.on_borg()
        ended = tally.ended(self.status)
        return Made(ended) if self.garbled else Made(ended, self.storage.kept[archive], SIZES)
