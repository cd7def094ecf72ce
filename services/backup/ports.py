"""What the handlers need: this node's storage, and the server that is backed up."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from services.backup.place import RepositoryPlace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from services.backup.create.hooks import HookOutput
    from services.backup.create.own_places import OwnPlace
    from services.backup.truth.evidence import Ended, Given, Source
    from services.backup.truth.reference import Reference
    from services.backup.window import Window
    from shared.borg.commands import CreateOptions
    from shared.borg.environment import Endpoint
    from shared.borg.journal import Entry as JournalEntry
    from shared.borg.journal import Past
    from shared.borg.node import Grant, OnAnswer, OnOutput
    from shared.borg.output import Listed, Listing, LogLine, Phase, Progress
    from shared.borg.segments import History
    from shared.borg.sessions import Garbage, SessionReport
    from shared.domain.archive import ArchiveFigures, RepositoryFigures
    from shared.errors import AppError
    from shared.ssh.port import Credentials, Target


@dataclass(frozen=True, slots=True)
class Prepared:
    """A repository that is there: which one, and what people should know of how it came to be."""

    borg_id: str
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hooks:
    """Commands of the administrator's, run on the server before and after; seconds each may take."""

    before: str | None
    after: str | None
    seconds: int


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """All that one run needs, read in one transaction."""

    job_id: uuid.UUID
    backup_job_id: uuid.UUID
    backup_job: str
    target: Target
    credentials: Credentials
    repository: RepositoryPlace
    options: CreateOptions
    transport: str
    endpoint: Endpoint
    hooks: Hooks
    time_limit: int | None
    window: Window
    reference: Reference | None
    run: int = 0
    """Which run of its job this is: each retry of an ended job begins a new one."""
    pools: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """Every storage pool, id -> name and path: none of them is to be backed up into one."""


@dataclass(frozen=True, slots=True)
class Made:
    """How a `borg create` ended that came to its end."""

    ended: Ended
    archive: ArchiveFigures | None = None
    """What borg said of the archive; None where it failed, or where its answer cannot be read."""
    repository: RepositoryFigures | None = None
    error: AppError | None = None
    """Why it failed."""


@dataclass(frozen=True, slots=True)
class Segments:
    """What a check of a repository's segments found."""

    damage: tuple[str, ...]
    continued: bool
    """It went on where an earlier one ended."""
    finished: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a recovery puts back."""

    key: str | None
    """As borg exports it; None: the one that is there stays."""
    recorded: Mapping[str, str]
    """Archives: borg id -> name."""
    rewritten_after: int | None
    """Undo what was deleted, replaced or stored as garbage after this transaction; None: nothing was."""

    def __repr__(self) -> str:
        """Show no key."""
        return f"Wanted({len(self.recorded)} archives)"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a recovery did."""

    archives: int
    """That the manifest names now."""
    put_back: int
    lost: int
    """Objects that stand nowhere any more."""
    removed: int
    """Objects that were none of borg's."""
    key: bool
    """It was another one, and is the recorded one again."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was found while a stretch of a repository's segments was read and decrypted."""

    reached: int
    """The last segment that was read."""
    objects: int
    garbage: tuple[tuple[str, int], ...]
    """Objects that are none of borg's, by id and segment; of many the first."""
    damaged: tuple[str, ...]
    damaged_segments: tuple[int, ...] = ()
    missing: tuple[tuple[int, int], ...] = ()
    """Segments that are not there, as first and last of each gap; compaction may have taken them."""


class Storage(Protocol):
    """This node's side: repositories as the node itself sees them.

    Nothing of it blocks the event loop: where a pool does not answer in time, it is Transient `pool_silent`.
    """

    def open(self, repository: RepositoryPlace, epoch: int) -> AbstractAsyncContextManager[Grant]:
        """Let processes work on a repository for as long as this context lasts."""
        ...

    def permit(self, repository: RepositoryPlace, epoch: int) -> str:
        """Extend the leave after each heartbeat; return why that has failed for long, or nothing."""
        ...

    def view_of(self, repository: RepositoryPlace, name: uuid.UUID) -> RepositoryPlace:
        """Say where a view of a repository stands, or would; see `services/backup/node/views.py`."""
        ...

    async def take_view(self, repository: RepositoryPlace, view: RepositoryPlace) -> int:
        """Make a view as of the last transaction, and return that; `CannotLink` where the pool makes no links."""
        ...

    async def remove_view(self, view: RepositoryPlace) -> None:
        """Remove a view and all that this node keeps of it; absent is success."""
        ...

    async def shut_out(self, repository: RepositoryPlace, grant: Grant) -> None:
        """End the server's part of a leave, and wait until its session is gone; this node's part goes on."""
        ...

    async def session_reports(self, repository: RepositoryPlace) -> list[SessionReport]:
        """Return what was refused and left out in the server's sessions and is not yet judged."""
        ...

    async def forget_session(self, report: SessionReport) -> None:
        """Remove a report that was judged."""
        ...

    async def garbage(self, repository: RepositoryPlace, grant: Grant, report: SessionReport) -> Garbage:
        """Open with the key what a session left out, and what lies there."""
        ...

    async def borg_id_of(self, repository: RepositoryPlace) -> str | None:
        """Make sure that the repository's pool is mounted, and return borg's id of what is there."""
        ...

    async def ensure(self, repository: RepositoryPlace, grant: Grant) -> Prepared:
        """Make the repository on first use."""
        ...

    async def listing(self, repository: RepositoryPlace, grant: Grant, known: Collection[str] = ()) -> Listing:
        """List what the manifest names, and how archives name themselves; of `known` ones only if they are there."""
        ...

    async def archives(self, repository: RepositoryPlace, grant: Grant) -> list[Listed]:
        """List what is really there; checkpoints are not among it."""
        ...

    async def archive(self, repository: RepositoryPlace, grant: Grant, name: str) -> ArchiveFigures:
        """Return one archive's figures."""
        ...

    async def delete(self, repository: RepositoryPlace, grant: Grant, name: str, borg_id: str) -> None:
        """Delete one archive; absent is success; Permanent `manifest_forged` where the name leads to another one."""
        ...

    async def compact(self, repository: RepositoryPlace, grant: Grant) -> None:
        """Free what deleted archives held."""
        ...

    async def check_segments(
        self, repository: RepositoryPlace, grant: Grant, seconds: int | None, on_output: OnOutput
    ) -> Segments:
        """Check the segments, all or for so long; say what is damaged."""
        ...

    async def check_archives(self, repository: RepositoryPlace, grant: Grant, on_output: OnOutput) -> tuple[str, ...]:
        """Look whether all that the archives need is there; say what is not."""
        ...

    async def read(self, repository: RepositoryPlace, grant: Grant, name: str) -> tuple[str, ...]:
        """Read all data of one archive; say what cannot be read."""
        ...

    async def segment(self, repository: RepositoryPlace) -> int | None:
        """Return the number of the repository's highest segment; None where it has none."""
        ...

    async def last_transaction(self, repository: RepositoryPlace) -> int | None:
        """Return the repository's last committed transaction; None where it has none."""
        ...

    async def has_segments(self, repository: RepositoryPlace, after: int, upto: int) -> bool:
        """Tell whether any segment is there after one, up to another, readable or not."""
        ...

    async def history(self, repository: RepositoryPlace, after: int) -> History:
        """Return what was written after a transaction; Permanent `segments_damaged`."""
        ...

    async def key(self, repository: RepositoryPlace) -> str | None:
        """Return the key as borg exports it; empty where there is none, None without a repository."""
        ...

    async def past(self, repository: RepositoryPlace) -> Past:
        """Return what this node remembers of its own work on a repository."""
        ...

    async def remember(self, repository: RepositoryPlace, *entries: JournalEntry) -> None:
        """Add to that; on disk when this returns, Permanent `node_disk_full` where it cannot be."""
        ...

    async def keep_manifest(self, repository: RepositoryPlace) -> int | None:
        """Keep a copy of the manifest outside the pool; return as of which transaction."""
        ...

    async def given(
        self, repository: RepositoryPlace, grant: Grant, name: str, sources: Sequence[str]
    ) -> tuple[Given, ...]:
        """Count the files and bytes that each source gave to an archive."""
        ...

    async def entries(
        self,
        repository: RepositoryPlace,
        grant: Grant | None,
        name: str,
        on_block: OnAnswer,
        below: Sequence[bytes] = (),
        *,
        borg_id: str = "",
    ) -> None:
        """List an archive in blocks for an `EntryReader`, or what is at and below some of its paths.

        The archive of `borg_id` where that is given, whatever its name.

        Without a grant only from a view, and briefly.
        """
        ...

    async def recover(self, repository: RepositoryPlace, grant: Grant, wanted: Wanted) -> Recovery:
        """Put back what was changed without our doing."""
        ...

    async def verify(
        self, repository: RepositoryPlace, key: str | None, *, after: int, upto: int, seconds: float
    ) -> Stretch:
        """Read and decrypt what stands after a segment, for so long; without the lock, and nothing is written."""
        ...

    async def count_chosen(
        self, repository: RepositoryPlace, grant: Grant, chosen: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Count what was chosen of an archive; `chosen` and the answer as in shared/borg/export_archive.py."""
        ...

    async def export_chosen(
        self, repository: RepositoryPlace, grant: Grant, chosen: Mapping[str, Any], on_block: OnAnswer
    ) -> None:
        """Hand what was chosen of an archive on as a tar, block by block."""
        ...

    async def figures(self, repository: RepositoryPlace, grant: Grant) -> RepositoryFigures:
        """Return the repository's sizes."""
        ...


class ServerSession(Protocol):
    """The server's side of one run, over one SSH connection."""

    async def probe_sources(self) -> tuple[Source, ...]:
        """Say what each of the plan's sources is; one that hangs costs no other."""
        ...

    async def hook(self, script: str, seconds: float, variables: Mapping[str, str], heard: HookOutput) -> None:
        """Run a hook with these variables in its environment, to its end or to the end of its time.

        `heard` is told what it says as it comes, so that nothing of it is lost however the run ends.
        """
        ...

    async def own_places(self, sources: Sequence[str]) -> tuple[OwnPlace, ...]:
        """Return what of ours lies below the sources; Permanent where a source lies in such a place."""
        ...

    async def create(
        self,
        grant: Grant,
        archive: str,
        sources: Sequence[str],
        left_out: Sequence[OwnPlace],
        on_output: Callable[[LogLine | Progress | Phase], None],
    ) -> Made:
        """Run `borg create` there; why it failed is part of the answer."""
        ...


class Servers(Protocol):
    """Opens sessions."""

    def session(self, plan: BackupPlan, gentle: Callable[[], bool]) -> AbstractAsyncContextManager[ServerSession]:
        """Connect to the plan's server; `gentle()` says how to stop borg when the run is cancelled."""
        ...
