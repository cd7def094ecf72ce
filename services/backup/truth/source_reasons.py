"""What the gate says of each source: gone, emptied, unmounted, a link, left out by a rule, or much smaller. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.backup.truth.collapse import ACCEPT, fell, number
from services.backup.truth.evidence import Given, Kind, Line, Source, Trouble
from services.backup.truth.mount_reasons import mount_reasons
from services.backup.truth.reference import SourceReference, lies_below
from services.backup.truth.rules import excluding_rule
from shared.domain.backup_state import Reason, doubt, note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.backup.truth.gate import Evidence
    from shared.borg.commands import CreateOptions

_NAMED = 10
_NOTHING_THERE: dict[Kind, tuple[str, str, str]] = {
    Kind.MISSING: (
        "source_missing", "does not exist on the server", "Mount or create it, or correct the backup job"
    ),
    Kind.HANGS: (
        "source_hangs", "does not answer and was left out: the server works, but looking at it comes to no end",
        "See what it is mounted from",
    ),
    Kind.LINK: (
        "source_is_link", "is a link to {target}; borg stores the link alone",
        "Make what it points to the backup job's source",
    ),
    Kind.OTHER: (
        "source_no_directory", "is neither a directory nor a file", "Correct the backup job's sources"
    ),
}  # fmt: skip
"""What it is -> code, what is the matter, what to do."""
_OF_ITSELF: dict[Trouble, tuple[str, str, str]] = {
    Trouble.MISSING: (
        "source_missing", "was there at first, and did not exist any more when borg came to it", "See what removes it"
    ),
    Trouble.UNREADABLE: ("source_unreadable", "could not be read by borg", "See the run's log"),
}  # fmt: skip
"""What borg complained of about a source itself -> the same."""


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
    def held(self) -> str:
        """What it held before, for the end of a clause; empty if it is not known to have held anything."""
        last = self.before.last_files if self.before else None
        return f"; last time it held {number(last, 'file')}" if last else ""

    @property
    def unmounted(self) -> str:
        """What it was mounted from and is not any more, as the end of a clause; empty where nothing is."""
        return (self.before and _unmounted(self.before.latest, self.now)) or ""

    def known(self, code: str) -> bool:
        """Whether a good backup, which a person must have accepted, is the same in this, and for the same reason."""
        before = self.before
        if before is None or before.files != 0 or before.latest.kind is not self.now.kind or self.unmounted:
            return False
        if before.why_none is None:  # an older version wrote down no reason, but what it saw
            return (before.latest.empty, before.latest.cache_tag) == (self.now.empty, self.now.cache_tag)
        return before.why_none == code


def _unmounted(before: Source, now: Source) -> str:
    """Say what is not mounted any more of that on which a source lay."""
    if now.kind not in (Kind.DIRECTORY, Kind.FILE):
        return ""
    if before.mounted is True and now.mounted is not True:
        return "was a mount point and is none now"
    on = f"was on {before.holder}, where {before.filesystem} was mounted"
    if before.holder not in ("", "/") and not now.holder:
        return f"{on}, and nobody knows on what it is now"
    if now.holder and lies_below(before.holder, now.holder):
        return f"{on}, and is on {now.holder} now"
    was, is_now = (_FAMILIES.get(name, name) for name in (before.filesystem, now.filesystem))
    # What grew out of the root file system may have got a disk of its own.
    if was and is_now and was != is_now and (before.holder != "/" or now.holder == "/"):
        return f"{on}, and is on {now.filesystem} now"
    return ""


def source_reasons(evidence: Evidence) -> Iterator[Reason]:
    """Judge each source by itself, by what the server said of it and by what it gave to the archive."""
    looked = {source.path: source for source in evidence.run.looked or ()}
    for path in evidence.options.sources:
        if path not in looked:
            yield doubt("not_looked", f"Nobody looked what the source {path} is; see the run's log.")
    for case in _cases(evidence):
        yield from _of_one(case)
    yield from mount_reasons(evidence)
    yield from _afterwards(evidence, looked)
    yield from _left_out(evidence)
    yield from _removed(evidence)


def why_none(evidence: Evidence) -> dict[str, str]:
    """Return for each source that gave no file the code of why, by what it is alone: what it was before may change."""
    return {case.now.path: _why_none(replace(case, before=None))[0] for case in _cases(evidence) if _none(case)}


def _removed(evidence: Evidence) -> Iterator[Reason]:
    """Say what the latest good archive held of sources that the backup job has no more."""
    removed = evidence.reference.removed if evidence.reference else dict[str, int | None]()
    for path, files in removed.items():
        held = f"; it gave {number(files, 'file')}" if files is not None else ""
        yield note("source_removed", f"The source {path} was taken out of the backup job{held}.")


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
        text = f"Of the source {path}, {number(given.lacking, 'file')} cannot be restored from this archive"
        cause = "borg on the server took content for stored that is not in the repository"
        remedy = "Delete the archives that say so, then borg's cache on the server, and run the backup job again."
        yield doubt("content_missing", f"{text}: {cause}. {remedy}")
    if given is None:
        yield doubt("not_counted", f"It is not known what the source {path} gave to the archive; see the run's log.")
    if _none(case):
        yield _gave_none(case)
        return
    if case.unmounted:
        yield doubt("source_not_mounted", f"The source {path} {case.unmounted}. Mount it, {ACCEPT}.")
    elif before is not None and case.now.kind is not before.latest.kind:
        text = f"The source {path} was a {before.latest.kind.value} and is a {case.now.kind.value} now."
        yield doubt("source_changed_kind", f"{text} See why, {ACCEPT}.")
    elif before is not None and case.now.empty and before.latest.empty is False:
        yield doubt("source_empty", f"The source {path} is empty and was not before. See why, {ACCEPT}.")
    elif given is not None and given.size == 0 and (before is None or before.size is None):
        # Also without anything to compare with: a dump that failed is an empty file from its first night on.
        what = (
            "is an empty file" if case.now.kind is Kind.FILE else f"gave {number(given.files, 'file')} and not one byte"
        )
        yield doubt("source_without_bytes", f"The source {path} {what}. See what writes it, {ACCEPT}.")
    if given is not None and before is not None:
        yield from fell("source", f"The source {path}", given, before.files, before.size)


def _gave_none(case: _Case) -> Reason:
    code, why, remedy = _why_none(case)
    text = f"The source {case.now.path} {why}{case.held}."
    if case.known(_why_none(replace(case, before=None))[0]):
        return note(code, f"{text[:-1]}, as in the backup before.")
    return doubt(code, f"{text} {remedy}, {ACCEPT}.")


def _why_none(case: _Case) -> tuple[str, str, str]:
    """Return code, what is the matter, and what to do."""
    now = case.now
    if now.kind in _NOTHING_THERE:
        code, why, remedy = _NOTHING_THERE[now.kind]
        return code, why.format(target=now.target or "an unknown place"), remedy
    if case.told is not None:
        return _OF_ITSELF[case.told.trouble]
    if case.unmounted:
        why = "is not mounted" if case.before and case.before.latest.mounted else f"{case.unmounted}: it is not mounted"
        return "source_not_mounted", why, "Mount it"
    if now.empty:
        return "source_empty", "is empty", "Mount it" if now.kind is Kind.DIRECTORY else "Fill it"
    return _why_left_out(case)


def _why_left_out(case: _Case) -> tuple[str, str, str]:
    now, options = case.now, case.options
    if now.cache_tag and options.exclude_caches:
        return (
            "source_cache_tag",
            "is left out: CACHEDIR.TAG lies in it",
            "Remove that file, or let caches be backed up",
        )
    if rule := excluding_rule(now.path, options):
        return "source_excluded", f"is left out by the rule {rule}", "Correct the rule"
    rules = " that its rules let through" if options.excludes or options.patterns else ""
    return "source_without_files", f"gave no file{rules}: it holds nothing but directories or links", "Look at it"


def _afterwards(evidence: Evidence, looked: dict[str, Source]) -> Iterator[Reason]:
    """Hold what the sources were before borg read them against what they were after."""
    after = {source.path: source for source in evidence.run.looked_after or ()}
    for path, before in looked.items():
        now = after.get(path)
        if now is None:
            yield doubt("not_looked", f"Nobody looked what became of the source {path} while it was read.")
        elif what := _became(before, now):
            text = f"The source {path} {what}: the archive may lack parts."
            see = "See what the hooks do" if evidence.pre_hook else "See what removes or unmounts it"
            yield doubt("source_vanished", f"{text} {see}, {ACCEPT}.")


def _became(before: Source, now: Source) -> str:
    """Return what became of a source while borg read it, if that took anything away."""
    if before.kind in (Kind.MISSING, Kind.HANGS):
        return ""
    if now.kind in (Kind.MISSING, Kind.HANGS):
        return "was there before borg read it, and was not afterwards"
    if now.kind is not before.kind:
        return f"was a {before.kind.value} before borg read it, and was a {now.kind.value} afterwards"
    if what := _unmounted(before, now):
        return f"{what}: that happened while borg read it"
    lost = {one.path for one in before.mounts if not one.automatic} - {one.path for one in now.mounts}
    if lost:
        return f"lost {', '.join(sorted(lost)[:_NAMED])} while borg read it: not mounted any more"
    return "was empty after borg had read it, and was not before" if now.empty and before.empty is False else ""


def _left_out(evidence: Evidence) -> Iterator[Reason]:
    """Say what one-file-system leaves out, when it is new."""
    if not evidence.options.one_file_system:
        return
    told = evidence.reference.told_below if evidence.reference else frozenset[str]()
    below = sorted({point for source in evidence.run.looked or () for point in source.below} - told)
    if below:
        shown = ", ".join(below[:_NAMED]) + (f" and {len(below) - _NAMED} more" if len(below) > _NAMED else "")
        text = f"Other file systems are left out, as the backup job says (one file system): {shown}."
        yield note("one_file_system", text)
