"""This node's repositories, through the node's own borg."""

from __future__ import annotations

import asyncio
import contextlib
from configparser import ConfigParser
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from services.backup.given import GivenCounter
from services.backup.init import ensure_repository
from services.backup.pools import borg_id_of, claim_pool, told
from services.backup.ports import Prepared, Recovery, Segments, Stretch
from shared.borg import commands, output, segments, vault
from shared.borg.node import BorgNode, Grant
from shared.borg.scripts import run_script
from shared.borg.sessions import parse_garbage
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from services.backup.evidence import Given
    from services.backup.ports import RepositoryPlace, Storage, Wanted
    from shared.borg.node import OnOutput
    from shared.borg.output import Listed
    from shared.borg.sessions import Garbage, SessionReport
    from shared.domain.archive import ArchiveFigures, RepositoryFigures


class NodeStorage:
    """Repositories under this node's storage pools; every process on them ends with the lease."""

    def __init__(self, node: BorgNode, lease_seconds: float) -> None:
        """Take the node and how long a leave lasts without a heartbeat."""
        self._node = node
        self._lease_seconds = lease_seconds

    @contextlib.asynccontextmanager
    async def open(self, repository: RepositoryPlace, epoch: int) -> AsyncGenerator[Grant]:
        """Permit when nothing of an earlier lease is at work any more, and revoke at the end whatever happens."""
        grant = _grant(repository, epoch)
        self._node.permit(grant, self._lease_seconds)  # what has an earlier grant ends by that
        try:
            await self._node.sessions.over(repository.id)
            yield grant
        finally:
            self._node.revoke(grant)

    def permit(self, repository: RepositoryPlace, epoch: int) -> None:
        """Extend the leave."""
        self._node.permit(_grant(repository, epoch), self._lease_seconds)

    async def shut_out(self, repository: RepositoryPlace, grant: Grant) -> None:
        """End the server's part of a leave, and wait until its session is gone."""
        if grant.to_server and self._node.shut_out(grant, self._lease_seconds):
            await self._node.sessions.over(repository.id)

    def session_reports(self, repository: RepositoryPlace) -> list[SessionReport]:
        """Return what was refused and left out and is not yet judged."""
        return self._node.sessions.reports(repository.id)

    def forget_session(self, report: SessionReport) -> None:
        """Remove a report that was judged."""
        self._node.sessions.forget(report)

    async def garbage(self, repository: RepositoryPlace, grant: Grant, report: SessionReport) -> Garbage:
        """Open with the key what a session left out, and what lies there."""
        argv = self._node.script("left_out.py", repository.path, str(report.file))
        stdout, _ = await self._node.run(grant, argv, passphrase=repository.passphrase)
        return parse_garbage(stdout)

    def look(self, repository: RepositoryPlace) -> str | None:
        """Make sure that the repository's pool is mounted, and return borg's id of what is there; blocking."""
        if repository.pool is None:
            return borg_id_of(repository.path)
        claim_pool(repository.pool)
        with told(repository.pool):
            return borg_id_of(repository.path)

    async def ensure(self, repository: RepositoryPlace, grant: Grant) -> Prepared:
        """Make the repository on first use."""
        return await ensure_repository(self._node, repository, grant)

    async def archives(self, repository: RepositoryPlace, grant: Grant) -> list[Listed]:
        """List what is really there."""
        return output.parse_list(await self._json(repository, grant, commands.list_archives))

    async def checkpoints(self, repository: RepositoryPlace, grant: Grant) -> list[str]:
        """List what interrupted runs left behind."""
        return output.parse_checkpoints(await self._json(repository, grant, commands.list_all))

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
        argv = commands.list_files(self._node.borg, repository.path, name)
        await self._node.run(grant, argv, passphrase=repository.passphrase, on_answer=count)
        return count.given

    async def figures(self, repository: RepositoryPlace, grant: Grant) -> RepositoryFigures:
        """Return the repository's sizes."""
        return output.parse_info(await self._json(repository, grant, commands.info))[1]

    async def delete(self, repository: RepositoryPlace, grant: Grant, name: str) -> None:
        """Delete one archive; absent is success."""
        argv = commands.delete(self._node.borg, repository.path, name)
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
        continued = seconds is not None and self._unfinished(repository)
        argv = commands.check_segments(self._node.borg, repository.path, seconds)
        damage = await self._check(repository, grant, argv, on_output)
        return Segments(damage, continued=continued, finished=not self._unfinished(repository))

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

    def _unfinished(self, repository: RepositoryPlace) -> bool:
        """Tell whether a check of the segments ended at its time limit: borg keeps in its configuration how far."""
        config = ConfigParser(interpolation=None)
        config.read(Path(repository.path) / "config")
        return config.has_option("repository", "last_segment_checked")

    def segment(self, repository: RepositoryPlace) -> int | None:
        """Return the number of the repository's highest segment; None where it has none."""
        groups = _numbered(Path(repository.path) / "data")
        for group in sorted(groups, reverse=True):  # borg may leave an empty one behind
            if segments := _numbered(groups[group]):
                return max(segments)
        return None

    def last_transaction(self, repository: RepositoryPlace) -> int | None:
        """Return the repository's last committed transaction; None where it has none."""
        return segments.last_transaction(repository.path)

    def history(self, repository: RepositoryPlace, after: int) -> segments.History:
        """Return what was written after a transaction."""
        return segments.history(repository.path, after)

    def key(self, repository: RepositoryPlace) -> str | None:
        """Return the key as borg exports it."""
        return vault.exported_key(repository.path)

    def keep_manifest(self, repository: RepositoryPlace) -> int | None:
        """Keep a copy of the manifest in the state directory; return as of which transaction."""
        upto = segments.last_transaction(repository.path)
        if upto is None or not vault.keep_manifest(self._manifests(repository), repository.path, upto):
            return None
        return upto

    async def recover(self, repository: RepositoryPlace, grant: Grant, wanted: Wanted) -> Recovery:
        """Put back what was changed without our doing, by borg's own hand."""
        originals: list[segments.Entry] = []
        gone = 0
        if wanted.rewritten_after is not None:
            originals, gone = await asyncio.to_thread(segments.originals, repository.path, wanted.rewritten_after)
        plan = {
            "encryption": repository.encryption,
            "key": wanted.key,
            "recorded": wanted.recorded,
            "copies": [str(file) for file in vault.kept_manifests(self._manifests(repository))],
            "since": wanted.rewritten_after,
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
        return await run_script(
            self._node, "verify.py", grant, plan, Stretch, passphrase=repository.passphrase, guarded=False
        )

    def _manifests(self, repository: RepositoryPlace) -> Path:
        return self._node.state_dir / "manifests" / repository.id.hex

    async def _json(self, repository: RepositoryPlace, grant: Grant, command: _Command) -> str:
        argv = command(self._node.borg, repository.path)
        stdout, _ = await self._node.run(grant, argv, passphrase=repository.passphrase)
        return stdout


def _numbered(directory: Path) -> dict[int, Path]:
    if not directory.is_dir():
        return {}
    return {int(entry.name): entry for entry in directory.iterdir() if entry.name.isdecimal()}


def _grant(repository: RepositoryPlace, epoch: int) -> Grant:
    return Grant(repository.server_id, repository.id, repository.path, epoch, repository.to_server, repository.quota)


if TYPE_CHECKING:
    from collections.abc import Callable

    _Command = Callable[[str, str], list[str]]
    _: type[Storage] = NodeStorage
