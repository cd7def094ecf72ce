"""What the gate says of each source: gone, emptied, unmounted, a link, left out by a rule, or much smaller. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.backup.evidence import Given, Kind, Source
from services.backup.reference import SourceReference
from services.backup.rules import excluding_rule
from shared.domain.backup_state import Reason, doubt, note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.backup.truth import Evidence
    from shared.borg.commands import CreateOptions

COLLAPSE = 0.5
"""Less than this part of what there was is a doubt."""
_ACCEPT = "or accept this backup if that is right"
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


@dataclass(frozen=True, slots=True)
class _Case:
    """One source: what it is now, what it gave, and what it was and gave before."""

    now: Source
    given: Given | None
    before: SourceReference | None
    options: CreateOptions

    @property
    def held(self) -> str:
        """What it held before, for the end of a clause; empty if it is not known to have held anything."""
        last = self.before.last_files if self.before else None
        return f"; last time it held {number(last, 'file')}" if last else ""

    @property
    def was_mounted(self) -> bool:
        return self.before is not None and self.before.latest.mounted is True and self.now.mounted is not True

    @property
    def known(self) -> bool:
        """Whether a good backup, which a person must have accepted, is the same in this."""
        before = self.before
        return before is not None and before.files == 0 and before.latest.kind is self.now.kind and not self.was_mounted


def source_reasons(evidence: Evidence) -> Iterator[Reason]:
    """Judge each source by itself, by what the server said of it and by what it gave to the archive."""
    looked = {source.path: source for source in evidence.run.looked or ()}
    given = {one.path: one for one in evidence.run.given or ()}
    before = evidence.reference.sources if evidence.reference else dict[str, SourceReference]()
    for path in evidence.options.sources:
        now = looked.get(path)
        if now is None:
            yield doubt("not_looked", f"Nobody looked what the source {path} is; see the run's log.")
            continue
        case = _Case(now, given.get(path), before.get(path), evidence.options)
        yield from _of_one(case)
    yield from _afterwards(evidence, looked)
    yield from _left_out(evidence)


def _of_one(case: _Case) -> Iterator[Reason]:
    path, given, before = case.now.path, case.given, case.before
    if given is None:
        yield doubt("not_counted", f"It is not known what the source {path} gave to the archive; see the run's log.")
    if case.now.kind in (Kind.MISSING, Kind.HANGS) or (given is not None and given.files == 0):
        yield _gave_none(case)
        return
    if case.was_mounted:
        text = f"The source {path} was a mount point and is none now. Mount it, {_ACCEPT}."
        yield doubt("source_not_mounted", text)
    elif before is not None and case.now.kind is not before.latest.kind:
        text = f"The source {path} was a {before.latest.kind.value} and is a {case.now.kind.value} now."
        yield doubt("source_changed_kind", f"{text} See why, {_ACCEPT}.")
    elif before is not None and case.now.empty and before.latest.empty is False:
        yield doubt("source_empty", f"The source {path} is empty and was not before. See why, {_ACCEPT}.")
    if given is not None and before is not None:
        yield from _fell(case.options, given, before)


def _gave_none(case: _Case) -> Reason:
    code, why, remedy = _why_none(case)
    text = f"The source {case.now.path} {why}{case.held}."
    if case.known:
        return note(code, f"{text[:-1]}, as in the backup before.")
    return doubt(code, f"{text} {remedy}, {_ACCEPT}.")


def _why_none(case: _Case) -> tuple[str, str, str]:
    """Return code, what is the matter, and what to do."""
    now = case.now
    if now.kind in _NOTHING_THERE:
        code, why, remedy = _NOTHING_THERE[now.kind]
        return code, why.format(target=now.target or "an unknown place"), remedy
    if case.was_mounted:
        return "source_not_mounted", "is not mounted", "Mount it"
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


def _fell(options: CreateOptions, given: Given, before: SourceReference) -> Iterator[Reason]:
    path = given.path
    if before.files and given.files < before.files * COLLAPSE:
        text = f"The source {path} gave {number(given.files, 'file')}; it gave {number(before.files, 'file')} before."
        yield doubt("source_fewer_files", f"{text} See what is missing, {_ACCEPT}.")
    # Of a single source nobody counted the bytes; the archive's own are held against those of others.
    if len(options.sources) > 1 and before.size and given.size < before.size * COLLAPSE:
        text = f"The source {path} gave {number(given.size, 'byte')}; it gave {number(before.size, 'byte')} before."
        yield doubt("source_fewer_bytes", f"{text} See what is missing, {_ACCEPT}.")


def _afterwards(evidence: Evidence, looked: dict[str, Source]) -> Iterator[Reason]:
    """Hold what the sources were before borg read them against what they were after."""
    if not evidence.pre_hook:
        return
    after = {source.path: source for source in evidence.run.looked_after or ()}
    for path, before in looked.items():
        now = after.get(path)
        if now is None:
            yield doubt("not_looked", f"Nobody looked what became of the source {path} while it was read.")
        elif before.kind not in (Kind.MISSING, Kind.HANGS) and (
            now.kind in (Kind.MISSING, Kind.HANGS) or (before.mounted and now.mounted is False)
        ):
            text = (
                f"The source {path} was there before borg read it, and was not afterwards: the archive may lack parts."
            )
            yield doubt("source_vanished", f"{text} See what the hooks do, {_ACCEPT}.")


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


def number(count: int, unit: str) -> str:
    """Return `1 file`, `1,204 files`."""
    return f"{count:,} {unit}{'' if count == 1 else 's'}"
