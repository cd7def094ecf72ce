"""What the gate says of each source: gone, emptied, unmounted, a link, left out by a rule, or much smaller. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.backup.truth.collapse import fell
from services.backup.truth.evidence import Given, Kind, Line, Source, Trouble
from services.backup.truth.mount_reasons import mount_reasons
from services.backup.truth.reference import SourceReference, lies_below
from services.backup.truth.rules import excluding_rule
from shared.domain.backup_state import Reason, doubt, note
from shared.domain.messages import source_reasons as say
from shared.domain.messages.counts import FILES, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.backup.truth.gate import Evidence
    from shared.borg.commands import CreateOptions
    from shared.domain.message import Said

_NAMED = 10
_NOTHING_THERE = {
    Kind.MISSING: say.SOURCE_MISSING,
    Kind.HANGS: say.SOURCE_HANGS,
    Kind.OTHER: say.SOURCE_NO_DIRECTORY,
}
_OF_ITSELF = {
    Trouble.MISSING: say.SOURCE_MISSING_MEANWHILE,
    Trouble.UNREADABLE: say.SOURCE_UNREADABLE,
}
"""What borg complained of about a source itself."""
_KINDS = {
    Kind.DIRECTORY: say.A_DIRECTORY,
    Kind.FILE: say.A_FILE,
    Kind.LINK: say.A_LINK,
    Kind.OTHER: say.SOMETHING_ELSE,
    Kind.MISSING: say.NOT_THERE,
    Kind.HANGS: say.NOT_ANSWERING,
}
_FAMILIES = {"nfs4": "nfs", "ext2": "ext", "ext3": "ext", "ext4": "ext", "smb3": "cifs"}
"""Types under which one and the same file system may be mounted."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One source: what it is now, what it gave, and what it was and gave before."""

    now: Source
    given: Given | None
    before: SourceReference | None
    options: CreateOptions
    told: Line | None = None
    """What borg said of the source itself."""

    @property
    def held(self) -> Said | None:
        """What it held last time; None if it is not known to have held anything."""
        last = self.before.last_files if self.before else None
        return number(last, FILES) if last else None

    @property
    def unmounted(self) -> Said | None:
        """What it was mounted from and is not any more; None where it is as it was."""
        return _unmounted(self.before.latest, self.now) if self.before else None

    def known(self, code: str) -> bool:
        """Whether a good backup, which a person must have accepted, is the same in this, and for the same reason."""
        before = self.before
        if before is None or before.files != 0 or before.latest.kind is not self.now.kind or self.unmounted:
            return False
        if before.why_none is None:  # an older version wrote down no reason, but what it saw
            return (before.latest.empty, before.latest.cache_tag) == (self.now.empty, self.now.cache_tag)
        return before.why_none == code


def _unmounted(before: Source, now: Source) -> Said | None:
    """Say what is not mounted any more of that on which a source lay."""
    if now.kind not in (Kind.DIRECTORY, Kind.FILE):
        return None
    if before.mounted is True and now.mounted is not True:
        return say.WAS_MOUNT_POINT()
    if before.holder not in ("", "/") and not now.holder:
        return say.IS_ON_UNKNOWN(holder=before.holder, filesystem=before.filesystem)
    if now.holder and lies_below(before.holder, now.holder):
        return say.IS_ON_OTHER(holder=before.holder, filesystem=before.filesystem, now=now.holder)
    was, is_now = (_FAMILIES.get(name, name) for name in (before.filesystem, now.filesystem))
    # What grew out of the root file system may have got a disk of its own.
    if was and is_now and was != is_now and (before.holder != "/" or now.holder == "/"):
        return say.IS_ON_OTHER(holder=before.holder, filesystem=before.filesystem, now=now.filesystem)
    return None


def source_reasons(evidence: Evidence) -> Iterator[Reason]:
    """Judge each source by itself, by what the server said of it and by what it gave to the archive."""
    looked = {source.path: source for source in evidence.run.looked or ()}
    for path in evidence.options.sources:
        if path not in looked:
            yield doubt(say.NOT_LOOKED(path=path))
    for case in _cases(evidence):
        yield from _of_one(case)
    yield from mount_reasons(evidence)
    yield from _afterwards(evidence, looked)
    yield from _left_out(evidence)
    yield from _removed(evidence)


def why_none(evidence: Evidence) -> dict[str, str]:
    """Return for each source that gave no file the code of why, by what it is alone: what it was before may change."""
    return {case.now.path: _why_none(replace(case, before=None)).code for case in _cases(evidence) if _none(case)}


def _removed(evidence: Evidence) -> Iterator[Reason]:
    """Say what the latest good archive held of sources that the backup job has no more."""
    removed = evidence.reference.removed if evidence.reference else dict[str, int | None]()
    for path, files in removed.items():
        gave = number(files, FILES) if files is not None else None
        yield note(say.SOURCE_REMOVED(path=path, files=gave))


def _cases(evidence: Evidence) -> Iterator[_Case]:
    looked = {source.path: source for source in evidence.run.looked or ()}
    given = {one.path: one for one in evidence.run.given or ()}
    before = evidence.reference.sources if evidence.reference else dict[str, SourceReference]()
    lines = evidence.run.ended.shown if evidence.run.ended else ()
    for path in evidence.options.sources:
        if path in looked:
            about = (line for line in lines if line.trouble in _OF_ITSELF and line.message.startswith(f"{path}: "))
            yield _Case(looked[path], given.get(path), before.get(path), evidence.options, next(about, None))


def _none(case: _Case) -> bool:
    return case.now.kind in (Kind.MISSING, Kind.HANGS) or (case.given is not None and case.given.files == 0)


def _of_one(case: _Case) -> Iterator[Reason]:
    path, given, before = case.now.path, case.given, case.before
    if given is not None and given.lacking:
        yield doubt(say.CONTENT_MISSING(path=path, files=number(given.lacking, FILES)))
    if given is None:
        yield doubt(say.NOT_COUNTED(path=path))
    if _none(case):
        yield _gave_none(case)
        return
    if case.unmounted:
        yield doubt(say.SOURCE_NOT_MOUNTED(path=path, how=case.unmounted))
    elif before is not None and case.now.kind is not before.latest.kind:
        was, is_now = _KINDS[before.latest.kind], _KINDS[case.now.kind]
        yield doubt(say.SOURCE_CHANGED_KIND(path=path, before=was(), now=is_now()))
    elif before is not None and case.now.empty and before.latest.empty is False:
        yield doubt(say.SOURCE_EMPTIED(path=path))
    elif given is not None and given.size == 0 and (before is None or before.size is None):
        # Also without anything to compare with: a dump that failed is an empty file from its first night on.
        if case.now.kind is Kind.FILE:
            yield doubt(say.SOURCE_EMPTY_FILE(path=path))
        else:
            yield doubt(say.SOURCE_WITHOUT_BYTES(path=path, files=number(given.files, FILES)))
    if given is not None and before is not None:
        fewer = say.SOURCE_FEWER_FILES, say.SOURCE_FEWER_BYTES
        yield from fell(fewer, given, before.files, before.size, path=path)


def _gave_none(case: _Case) -> Reason:
    said = _why_none(case)
    if case.known(_why_none(replace(case, before=None)).code):
        return note(say.AS_BEFORE(reason=said))
    return doubt(said)


def _why_none(case: _Case) -> Said:
    """Return why a source gave no file."""
    now, path, held = case.now, case.now.path, case.held
    if now.kind is Kind.LINK:
        return say.SOURCE_IS_LINK(path=path, target=now.target or None, held=held)
    if now.kind in _NOTHING_THERE:
        return _NOTHING_THERE[now.kind](path=path, held=held)
    if case.told is not None:
        return _OF_ITSELF[case.told.trouble](path=path, held=held)
    if case.unmounted:
        return say.SOURCE_NOT_MOUNTED(path=path, how=case.unmounted, held=held)
    if now.empty:
        return say.SOURCE_EMPTY(path=path, held=held)
    return _why_left_out(case)


def _why_left_out(case: _Case) -> Said:
    path, held, options = case.now.path, case.held, case.options
    if case.now.cache_tag and options.exclude_caches:
        return say.SOURCE_CACHE_TAG(path=path, held=held)
    if rule := excluding_rule(path, options):
        return say.SOURCE_EXCLUDED(path=path, rule=rule, held=held)
    ruled = options.excludes or options.patterns
    return (say.SOURCE_WITHOUT_FILES_BY_RULES if ruled else say.SOURCE_WITHOUT_FILES)(path=path, held=held)


def _afterwards(evidence: Evidence, looked: dict[str, Source]) -> Iterator[Reason]:
    """Hold what the sources were before borg read them against what they were after."""
    after = {source.path: source for source in evidence.run.looked_after or ()}
    for path, before in looked.items():
        now = after.get(path)
        if now is None:
            yield doubt(say.NOT_LOOKED_AFTERWARDS(path=path))
        elif what := _became(before, now):
            yield doubt(what)


def _became(before: Source, now: Source) -> Said | None:
    """Return what became of a source while borg read it, if that took anything away."""
    path = before.path
    if before.kind in (Kind.MISSING, Kind.HANGS):
        return None
    if now.kind in (Kind.MISSING, Kind.HANGS):
        return say.SOURCE_VANISHED(path=path)
    if now.kind is not before.kind:
        return say.SOURCE_VANISHED_KIND(path=path, before=_KINDS[before.kind](), now=_KINDS[now.kind]())
    if how := _unmounted(before, now):
        return say.SOURCE_VANISHED_UNMOUNTED(path=path, how=how)
    lost = {one.path for one in before.mounts if not one.automatic} - {one.path for one in now.mounts}
    if lost:
        return say.SOURCE_VANISHED_MOUNTS(path=path, mounts=sorted(lost)[:_NAMED])
    return say.SOURCE_VANISHED_EMPTIED(path=path) if now.empty and before.empty is False else None


def _left_out(evidence: Evidence) -> Iterator[Reason]:
    """Say what one-file-system leaves out, when it is new."""
    if not evidence.options.one_file_system:
        return
    told = evidence.reference.told_below if evidence.reference else frozenset[str]()
    below = sorted({point for source in evidence.run.looked or () for point in source.below} - told)
    if below:
        yield note(say.ONE_FILE_SYSTEM(paths=below[:_NAMED], more=max(0, len(below) - _NAMED) or None))
