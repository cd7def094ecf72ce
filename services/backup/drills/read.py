"""Reads what was chosen of one archive from a view, as borg's export-tar, and says what became of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.backup.drills.choose import CORRUPT, GONE, candidate
from services.backup.drills.expected import ByPath
from services.backup.drills.exports import Exports
from services.backup.drills.in_order import InOrder
from services.backup.drills.reader import DrillReader
from shared.borg.entries import EntryReader
from shared.domain.messages.proofs import TEST_TOO_LARGE
from shared.domain.proofs import Findings
from shared.domain.sampling import Candidate, Sampler
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from services.backup.drills.plan import DrilledArchive, DrillPlan
    from services.backup.node.views import View
    from services.backup.ports import Storage
    from shared.borg.entries import Entry
    from shared.runtime.context import Context

_NAMED = 200
_HASHED = 200
"""Files of what is named, or of all, that are hashed: each costs memory."""
_TRIES = 40
"""Exports of one archive to find out which of the files are damaged: half of them, half of that half..."""
_NO_LIMIT = 2**62


@dataclass
class ArchiveTested:
    """What became of what was chosen of an archive; lists hold the first ones."""

    archive: DrilledArchive
    tested: Findings = field(default_factory=Findings)
    damaged: list[bytes] = field(default_factory=list[bytes])
    missing: list[bytes] = field(default_factory=list[bytes])
    differing: list[bytes] = field(default_factory=list[bytes])
    reason: str = ""
    """In borg's words."""
    hashes: dict[bytes, tuple[Candidate, bytes]] = field(default_factory=dict[bytes, tuple[Candidate, bytes]])
    """SHA-256 of files that were read and are as recorded."""

    @property
    def hurt(self) -> bool:
        """Something could not be read: a view may be to blame, so it is looked at again."""
        return bool(self.tested.damaged or self.tested.unread or self.tested.missing)

    def differs(self, path: bytes) -> None:
        """Take back that a file is as it was."""
        self.tested.read -= 1
        self.tested.differing += 1
        self.differing.append(path)
        self.hashes.pop(path, None)


def broken(archive: DrilledArchive, error: Permanent) -> ArchiveTested:
    """Say that nothing at all can be read of an archive."""
    tested = Findings(chosen=1, missing=int(error.code == GONE), damaged=int(error.code != GONE))
    return ArchiveTested(archive, tested, reason=error.message)


class Reading:
    """Reads from one view."""

    def __init__(self, plan: DrillPlan, ctx: Context, storage: Storage, view: View, estimated: int | None) -> None:
        """Take where it reads from, and how many bytes that will be, if it is known."""
        self._plan, self._storage, self._view = plan, storage, view
        self._exports = Exports(ctx, storage, view, estimated)

    async def files(self, archive: DrilledArchive, chosen: Sequence[Candidate]) -> ArchiveTested:
        """Read a sample's files; where one breaks the run, the others are read all the same."""
        done = ArchiveTested(archive, Findings(chosen=len(chosen)))
        expected = ByPath.of(chosen)
        items = sorted(expected.files)
        try:
            zeros, found = await self._exports.counted(archive, items)
        except Permanent as error:
            if error.code == GONE:
                return broken(archive, error)
            if error.code not in CORRUPT:
                raise
            done.tested.unread, done.tested.damaged = len(items) - 1, 1
            done.reason = error.message
            return done
        done.missing += [item for item in items if item not in found]
        done.damaged += [item for item in items if item in zeros]
        began = time.monotonic()
        hashes = await self._reached(done, expected, [item for item in items if item in found and item not in zeros])
        whole = [item for item in items if item in expected.whole and item not in done.damaged]
        done.tested.seconds = time.monotonic() - began
        done.differing += [item for item in whole if not expected.agrees(item)]
        good = [item for item in whole if expected.agrees(item)]
        done.hashes = {item: (expected.files[item], hashes[item]) for item in good if item in hashes}
        tested = done.tested
        tested.read, tested.bytes = len(good), sum(expected.whole[item].size for item in whole)
        tested.differing, tested.damaged, tested.missing = len(done.differing), len(done.damaged), len(done.missing)
        self._exports.before.add(tested)
        return done

    async def _reached(self, done: ArchiveTested, expected: ByPath, items: list[bytes]) -> dict[bytes, bytes]:
        """Read these, by halves where something is damaged; what the tries do not suffice for is left unread."""
        hashes: dict[bytes, bytes] = {}
        waiting = [items] if items else []
        for _ in range(_TRIES):
            if not waiting:
                break
            part = waiting.pop(0)
            reader = DrillReader(expected, None)
            error = await self._exports.passed(done.archive, part, reader)
            hashes |= reader.passed.hashes
            left = expected.left(part)
            if error is None:
                done.missing += left
                continue
            done.reason = error.message
            if len(part) == 1:
                done.damaged += part
                expected.whole.pop(part[0], None)
            else:
                left = left or part
                middle = (len(left) + 1) // 2
                waiting[:0] = [half for half in (left[:middle], left[middle:]) if half]
        done.tested.unread = sum(len(expected.left(part)) for part in waiting)
        return hashes

    async def whole(self, archive: DrilledArchive, items: Sequence[bytes]) -> ArchiveTested:
        """Read what is named of an archive, or (nothing) all of it."""
        expected, sampler = InOrder(), Sampler(self._plan.seed, _HASHED, _NO_LIMIT, favour=False)

        def take(entry: Entry) -> None:
            if entry.path == b".":  # plain borg was told to save `.`: no export has it, as no restore makes it
                return
            expected.expect(entry)
            if entry.type == "-":
                sampler.add(candidate(entry))

        listing = EntryReader(take)
        try:
            view = self._view
            await self._storage.entries(view.place, view.grant, archive.name, listing, items, borg_id=archive.meant)
            listing.close()
            self._refuse_large(expected.size)
            zeros, found = await self._exports.counted(archive, items)
        except Permanent as error:
            if error.code not in (*CORRUPT, GONE):
                raise
            return broken(archive, error)
        self._exports.estimated = expected.size
        return await self._read_whole(archive, items, expected, sampler, zeros, found)

    async def _read_whole(
        self, archive: DrilledArchive, items: Sequence[bytes], expected: InOrder, sampler: Sampler,
        zeros: Collection[bytes], found: Collection[bytes],
    ) -> ArchiveTested:  # fmt: skip
        done = ArchiveTested(archive, damaged=sorted(zeros), missing=[item for item in items if item not in found])
        hashed = {one.path: one for one in sampler.chance}
        reader = DrillReader(expected, hashed)
        began = time.monotonic()
        error = (
            await self._exports.passed(archive, items, reader) if len(done.missing) < len(items) or not items else None
        )
        tested = done.tested
        tested.chosen = expected.files + len(done.missing)
        tested.read, tested.bytes = max(0, expected.read - len(zeros)), reader.passed.size
        tested.seconds = time.monotonic() - began
        tested.damaged, tested.missing, tested.differing = len(zeros), len(done.missing), expected.differ
        done.differing = expected.differing
        if error is None:
            tested.missing += max(0, expected.files - expected.read)
        else:
            done.reason = error.message
            done.damaged.append(reader.at or b"?")
            tested.damaged += 1
            tested.unread = max(0, expected.files - expected.read - 1)
        hashes = reader.passed.hashes
        done.hashes = {path: (hashed[path], one) for path, one in hashes.items() if path not in zeros}
        return done

    def _refuse_large(self, size: int) -> None:
        most = self._plan.asked.most_bytes
        if most is not None and size > most:
            raise Permanent(TEST_TOO_LARGE(size=size, most=most))
