"""This node's repositories, through the node's own borg."""

from __future__ import annotations

import contextlib
import json
import shutil
from configparser import ConfigParser
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from services.backup.node.apart import Disks, silent_state
from services.backup.node.init import ensure_repository
from services.backup.node.leaves import Leaves
from services.backup.node.pools import borg_id_of, claim_pool, silent_pool, told
from services.backup.ports import Prepared, Recovery, Segments, Stretch
from services.backup.truth.given import GivenCounter
from shared.borg import commands, journal, output, segments, vault, views
from shared.borg.dead_locks import remove_dead_locks
from shared.borg.entries import ENVIRONMENT, list_entries
from shared.borg.node import BorgNode, Grant
from shared.borg.scripts import parse_counted, run_script, script_answer
from shared.borg.sessions import parse_garbage
from shared.errors import Permanent

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence

    from services.backup.node.pools import PoolPlace
    from services.backup.ports import RepositoryPlace, Storage, Wanted
    from services.backup.truth.evidence import Given
    from shared.borg.node import OnAnswer, OnOutput
    from shared.borg.output import Listed, Listing
    from shared.borg.sessions import Garbage, SessionReport
    from shared.domain.archive import ArchiveFigures, RepositoryFigures

_log = structlog.get_logger()
T = TypeVar("T")
_VERIFY_SILENCE = 120.0
_AHEAD = timedelta(days=1)
"""By how much a server's clock may be ahead: borg writes the time of its own clock into the manifest."""


class NodeStorage:
    """Repositories under this node's storage pools; every process on them ends with the lease.

    A pool's files are read through `_read` alone, and what is on the state disk through `_read_state`: see `Disks`.
    """

    _disks = Disks()
    """Of the whole process: a disk hangs for all of it."""

    def __init__(self, node: BorgNode, lease_seconds: float, look_seconds: float | None = None) -> None:
        """Take the node, how long a leave lasts without a heartbeat, and how long a pool may give no answer."""
        self._node = node
        self._leaves = Leaves(node)
        self._lease_seconds = lease_seconds
        if look_seconds is not None:
            self._disks = Disks(look_seconds)

    @contextlib.asynccontextmanager
    async def open(self, repository: RepositoryPlace, epoch: int) -> AsyncGenerator[Grant]:
        """Permit when nothing of an earlier lease is at work any more, and revoke at the end whatever happens."""
        grant = _grant(repository, epoch)
        self._node.begin(grant)
        try:
            await self._read_state(lambda: self._node.permit(grant, self._lease_seconds))  # ends an earlier grant's
            await self._node.sessions.over(repository.id, self._read_state)
            await self._remove_dead_locks(repository)  # nothing of ours works here now, so that none of ours holds one
            yield grant
        finally:
            await self._leaves.revoke(grant, self._disks.seconds)

    async def _remove_dead_locks(self, repository: RepositoryPlace) -> None:
        host_id, path = self._node.host_id, Path(repository.path)
        removed = await self._read(repository, lambda _alive: remove_dead_locks([path], host_id))
        if repository.borg_id and views.DIRECTORY not in repository.path:  # a view has a cache of its own
            cache = self._node.state_dir / "borg" / ".cache" / "borg" / repository.borg_id
            removed += await self._read_state(lambda: remove_dead_locks([cache], host_id))
        if removed:
            _log.warning("dead_locks_removed", repository=repository.path, locks=removed)

    def permit(self, repository: RepositoryPlace, epoch: int) -> str:
        """Extend the leave, in a thread: a heartbeat waits for no disk."""
        return self._leaves.renew(_grant(repository, epoch), self._lease_seconds)

    async def shut_out(self, repository: RepositoryPlace, grant: Grant) -> None:
        """End the server's part of a leave, and wait until its session is gone."""
        if grant.to_server and await self._read_state(lambda: self._node.shut_out(grant, self._lease_seconds)):
            await self._node.sessions.over(repository.id, self._read_state)

    def view_of(self, repository: RepositoryPlace, name: uuid.UUID) -> RepositoryPlace:
        """Say where a view of a repository stands: in its pool, and what borg remembers of it apart."""
        path = views.path_of(repository.home, name)
        base = str(views.base_of(self._node.state_dir, name))
        return replace(repository, id=name, path=path, to_server=False, quota=None, base_dir=base)

    async def take_view(self, repository: RepositoryPlace, view: RepositoryPlace) -> int:
        """Make a view as of the last transaction."""
        path, soft = Path(repository.path), repository.read_only
        return await self._read(repository, lambda alive: views.take(path, Path(view.path), alive, soft=soft))

    async def remove_view(self, view: RepositoryPlace) -> None:
        """Remove a view and what borg and its sessions left of it on this node."""
        await self._read(view, lambda alive: views.remove(Path(view.path), alive))
        await self._read_state(lambda: self._forget(view.id))

    async def views_in(self, pool: PoolPlace) -> set[uuid.UUID]:
        """Return the views that a pool holds, and those of which only this node keeps traces."""

        def found() -> set[uuid.UUID]:
            claim_pool(pool)  # or the mount point's own directory would be looked at
            return set(views.names(Path(pool.path)))

        there = await self._of(pool, lambda _alive: found())
        return there | await self._read_state(lambda: views.traces(self._node.state_dir))

    async def remove_view_named(self, pool: PoolPlace, name: uuid.UUID) -> None:
        """Remove a view that nobody uses any more."""
        path = Path(views.path_of(pool.path, name))
        await self._of(pool, lambda alive: views.remove(path, alive))
        await self._read_state(lambda: self._forget(name))

    async def can_link(self, pool: PoolPlace) -> bool:
        """Tell whether views can be made in a pool."""
        return await self._of(pool, lambda _alive: views.can_link(Path(pool.path)))

    async def _of(self, pool: PoolPlace, work: Callable[[Callable[[], None]], T]) -> T:
        return await self._disks.read(pool.path, work, partial(silent_pool, pool.name, pool.path))

    def _forget(self, view: uuid.UUID) -> None:
        self._node.forget(view)
        shutil.rmtree(views.base_of(self._node.state_dir, view), ignore_errors=True)

    async def session_reports(self, repository: RepositoryPlace) -> list[SessionReport]:
        """Return what was refused and left out and is not yet judged."""
        return await self._read_state(lambda: self._node.sessions.reports(repository.id))

    async def forget_session(self, report: SessionReport) -> None:
        """Remove a report that was judged."""
        await self._read_state(lambda: self._node.sessions.forget(report))

    async def garbage(self, repository: RepositoryPlace, grant: Grant, report: SessionReport) -> Garbage:
        """Open with the key what a session left out, and what lies there."""
        argv = self._node.script("left_out.py", repository.path, str(report.file), repository.encryption)
        stdout, _ = await self._node.run(grant, argv, passphrase=repository.passphrase)
        return parse_garbage(stdout)

    async def borg_id_of(self, repository: RepositoryPlace) -> str | None:
        """Make sure that the repository's pool is mounted, and return borg's id of what is there."""
        return await self._read(repository, lambda _alive: _looked(repository))

    async def ensure(self, repository: RepositoryPlace, grant: Grant) -> Prepared:
        """Make the repository on first use."""
        return await ensure_repository(self._node, repository, grant, self._read)

    async def listing(self, repository: RepositoryPlace, grant: Grant, known: Collection[str] = ()) -> Listing:
        """List what the manifest names, and hold it against what the archives say of themselves."""
        plan = {"encryption": repository.encryption, "known": sorted(known), "latest": _latest()}
        answer, _ = await script_answer(self._node, "manifest_reader.py", grant, plan, passphrase=repository.passphrase)
        return output.parse_listing(answer)

    async def archives(self, repository: RepositoryPlace, grant: Grant) -> list[Listed]:
        """List what is really there."""
        found = await self.listing(repository, grant)
        return [one for one in found.archives if one.there and not one.is_checkpoint]

    async def archive(self, repository: RepositoryPlace, grant: Grant, name: str) -> ArchiveFigures:
        """Return one archive's figures."""
        argv = commands.info(self._node.borg, repository.path, name)
        stdout, _ = await self._node.run(grant, argv, passphrase=repository.passphrase)
        return output.parse_info(stdout)[0][0]

    async def given(
        self, repository: RepositoryPlace, grant: Grant, name: str, sources: Sequence[str]
    ) -> tuple[Given, ...]:
        """Count what each source gave to an archive."""
        count = GivenCounter(sources)
        _, *arguments = commands.list_files(self._node.borg, repository.path, name)
        argv = self._node.script("list_whole.py", *arguments)
        await self._node.run(grant, argv, passphrase=repository.passphrase, on_answer=count)
        return count.given

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
        """List an archive, or what is at and below some of its paths, in blocks for an `EntryReader`."""
        argv = list_entries(self._node.borg, repository.path, "by its id" if borg_id else name, below)
        argv = self._node.script("list_meant.py", borg_id, *argv[1:]) if borg_id else argv
        more: dict[str, Any] = {"guarded": grant is not None, "on_answer": on_block, "environment": ENVIRONMENT}
        await self._node.run(grant or _grant(repository, 0), argv, passphrase=repository.passphrase, **more)

    async def figures(self, repository: RepositoryPlace, grant: Grant) -> RepositoryFigures:
        """Return the repository's sizes."""
        return output.parse_info(await self._json(repository, grant, commands.info))[1]

    async def delete(self, repository: RepositoryPlace, grant: Grant, name: str, borg_id: str) -> None:
        """Delete one archive, if it is the one of that id; absent is success."""
        _, *arguments = commands.delete(self._node.borg, repository.path, name)
        argv = self._node.script("delete_meant.py", borg_id, *arguments)
        try:
            await self._node.run(grant, argv, passphrase=repository.passphrase)
        except Permanent as error:
            if error.code != "archive_missing":
                raise

    async def compact(self, repository: RepositoryPlace, grant: Grant) -> None:
        """Free what deleted archives held."""
        argv = commands.compact(self._node.borg, repository.path, repository.compact_threshold)
        await self._node.run(grant, argv, passphrase=repository.passphrase)

    async def check_segments(
        self, repository: RepositoryPlace, grant: Grant, seconds: int | None, on_output: OnOutput
    ) -> Segments:
        """Check the segments, all or for so long; say what is damaged."""
        continued = seconds is not None and await self._unfinished(repository)
        argv = commands.check_segments(self._node.borg, repository.path, seconds)
        damage = await self._check(repository, grant, argv, on_output)
        return Segments(damage, continued=continued, finished=not await self._unfinished(repository))

    async def check_archives(self, repository: RepositoryPlace, grant: Grant, on_output: OnOutput) -> tuple[str, ...]:
        """Look whether all that the archives need is there; say what is not."""
        argv = commands.check_archives(self._node.borg, repository.path)
        return await self._check(repository, grant, argv, on_output)

    async def read(self, repository: RepositoryPlace, grant: Grant, name: str) -> tuple[str, ...]:
        """Read all data of one archive; say what cannot be read."""
        argv = commands.read_archive(self._node.borg, repository.path, name)
        return await self._check(repository, grant, argv, None)

    async def _check(
        self, repository: RepositoryPlace, grant: Grant, argv: list[str], on_output: OnOutput | None
    ) -> tuple[str, ...]:
        """Run a command that ends with a warning, or breaks off, where something is damaged."""
        run = self._node.run(grant, argv, passphrase=repository.passphrase, on_output=on_output)
        try:
            _, lines = await run
        except Permanent as error:
            if error.code not in ("repository_corrupt", "manifest_unreadable"):
                raise
            return (error.message,)
        return tuple(line.message for line in lines if line.is_error or line.is_warning)

    async def _unfinished(self, repository: RepositoryPlace) -> bool:
        """Tell whether a check of the segments ended at its time limit: borg keeps in its configuration how far."""
        return await self._read(repository, lambda _alive: _unfinished(repository.path))

    async def segment(self, repository: RepositoryPlace) -> int | None:
        """Return the number of the repository's highest segment; None where it has none."""
        return await self._read(repository, lambda _alive: segments.highest(repository.path))

    async def last_transaction(self, repository: RepositoryPlace) -> int | None:
        """Return the repository's last committed transaction; None where it has none."""
        return await self._read(repository, lambda alive: segments.last_transaction(repository.path, alive))

    async def has_segments(self, repository: RepositoryPlace, after: int, upto: int) -> bool:
        """Tell whether any segment is there after one, up to another, readable or not."""
        return await self._read(repository, lambda _alive: bool(segments.segments(repository.path, after, upto)))

    async def history(self, repository: RepositoryPlace, after: int) -> segments.History:
        """Return what was written after a transaction."""
        return await self._read(repository, lambda alive: segments.history(repository.path, after, alive=alive))

    async def key(self, repository: RepositoryPlace) -> str | None:
        """Return the key as borg exports it."""
        return await self._read(repository, lambda _alive: vault.exported_key(repository.path))

    async def keep_manifest(self, repository: RepositoryPlace) -> int | None:
        """Keep a copy of the manifest in the state directory; return as of which transaction."""

        def newest(alive: Callable[[], None]) -> tuple[int, bytes | None]:
            upto = segments.last_transaction(repository.path, alive)
            return (0, None) if upto is None else (upto, segments.manifest(repository.path, upto, alive))

        upto, sealed = await self._read(repository, newest)
        if sealed is None:
            return None
        await self._read_state(lambda: vault.keep_manifest(self._manifests(repository), sealed, upto))
        return upto

    async def past(self, repository: RepositoryPlace) -> journal.Past:
        """Return what the node's journal says of a repository."""
        return await self._read_state(lambda: journal.read(self._journal(repository)))

    async def remember(self, repository: RepositoryPlace, *entries: journal.Entry) -> None:
        """Add to the node's journal of a repository."""
        await self._read_state(lambda: journal.append(self._journal(repository), entries))

    async def recover(self, repository: RepositoryPlace, grant: Grant, wanted: Wanted) -> Recovery:
        """Put back what was changed without our doing, by borg's own hand."""
        originals: list[segments.Entry] = []
        gone = 0
        if wanted.rewritten_after is not None:
            since = wanted.rewritten_after
            originals, gone = await self._read(
                repository, lambda alive: segments.originals(repository.path, since, alive)
            )
        plan = {
            "encryption": repository.encryption,
            "key": wanted.key,
            "recorded": dict(wanted.recorded),
            "copies": await self._read_state(lambda: list(map(str, vault.kept_manifests(self._manifests(repository))))),
            "since": wanted.rewritten_after,
            "latest": _latest(),
            "originals": [(one.id.hex(), one.segment, one.offset) for one in originals],
        }
        answer = await run_script(self._node, "recover.py", grant, plan, Recovery, passphrase=repository.passphrase)
        return replace(answer, lost=answer.lost + gone)

    async def verify(
        self, repository: RepositoryPlace, key: str | None, *, after: int, upto: int, seconds: float
    ) -> Stretch:
        """Read and decrypt what stands after a segment, for so long."""
        plan = {"encryption": repository.encryption, "key": key, "after": after, "upto": upto, "seconds": seconds}
        grant = _grant(repository, 0)  # names the place: nothing was granted, and nothing is needed
        # It gives signs of life as it reads: a pool that hangs, and not a large segment, keeps it silent for so long.
        return await run_script(
            self._node, "verify.py", grant, plan, Stretch,
            passphrase=repository.passphrase, guarded=False, silence=seconds + _VERIFY_SILENCE,
        )  # fmt: skip

    async def count_chosen(
        self, repository: RepositoryPlace, grant: Grant, chosen: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Count what was chosen of an archive."""
        stdout, lines = await script_answer(
            self._node, "export_archive.py", grant, chosen, passphrase=repository.passphrase
        )
        return parse_counted(stdout, lines)

    async def export_chosen(
        self, repository: RepositoryPlace, grant: Grant, chosen: Mapping[str, Any], on_block: OnAnswer
    ) -> None:
        """Hand what was chosen of an archive on as a tar."""
        argv = self._node.script("export_archive.py", grant.path)
        plan = json.dumps(chosen).encode()
        await self._node.run(grant, argv, passphrase=repository.passphrase, on_answer=on_block, plan=plan)

    async def _read(self, repository: RepositoryPlace, work: Callable[[Callable[[], None]], T]) -> T:
        """Read from a repository's pool; Transient `pool_silent` where it does not answer."""
        path = repository.disk
        name = repository.pool.name if repository.pool else path
        return await self._disks.read(path, work, partial(silent_pool, name, path))

    async def _read_state(self, work: Callable[[], T]) -> T:
        """Read from the node's state directory; Transient `state_silent` where its disk does not answer."""
        path = str(self._node.state_dir)
        return await self._disks.read(path, lambda _alive: work(), lambda seconds: silent_state(path, seconds))

    def _manifests(self, repository: RepositoryPlace) -> Path:
        return self._node.state_dir / "manifests" / repository.id.hex

    def _journal(self, repository: RepositoryPlace) -> Path:
        return self._node.state_dir / "journals" / f"{repository.id.hex}.jsonl"

    async def _json(self, repository: RepositoryPlace, grant: Grant, command: _Command) -> str:
        argv = command(self._node.borg, repository.path)
        stdout, _ = await self._node.run(grant, argv, passphrase=repository.passphrase)
        return stdout


def _looked(repository: RepositoryPlace) -> str | None:
    if repository.pool is None:
        return borg_id_of(repository.path)
    claim_pool(repository.pool)
    with told(repository.pool):
        return borg_id_of(repository.path)


def _unfinished(path: str) -> bool:
    config = ConfigParser(interpolation=None)
    config.read(Path(path) / "config")
    return config.has_option("repository", "last_segment_checked")


def _latest() -> str:
    return (datetime.now(UTC).replace(tzinfo=None) + _AHEAD).isoformat()


def _grant(repository: RepositoryPlace, epoch: int) -> Grant:
    return Grant(repository.server_id, repository.id, repository.path, epoch, repository.to_server, repository.quota,
                 repository.base_dir, repository.key, repository.expected)  # fmt: skip


if TYPE_CHECKING:
    _Command = Callable[[str, str], list[str]]
    _: type[Storage] = NodeStorage
