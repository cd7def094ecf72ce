"""The truth gate: a run is green only if everything says so. Pure; a false green is the worst bug."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.backup.truth.collapse import collapsed
from services.backup.truth.evidence import Kind, Trouble
from services.backup.truth.source_reasons import source_reasons
from shared.domain.backup_state import Reason, Weight, doubt, is_trusted, note
from shared.domain.job import JobState
from shared.domain.messages import run_reasons as say
from shared.domain.messages.counts import BYTES, ENTRIES, ERRORS, FILES, LINES, SOURCES, number
from shared.domain.messages.source_reasons import AS_BEFORE
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from services.backup.truth.evidence import Ended, RunEvidence
    from services.backup.truth.reference import Reference
    from shared.borg.commands import CreateOptions
    from shared.borg.output import Listed
    from shared.domain.archive import ArchiveFigures
    from shared.domain.message import Said

_SHOWN = 20
_EXAMPLES = 5
_BY_STATUS: dict[int, tuple[Trouble, ...]] = {
    100: (Trouble.CHANGED,),
    101: (Trouble.OTHER,),
    102: (Trouble.CHANGED, Trouble.UNREADABLE, Trouble.OTHER),
    103: (Trouble.CHANGED,),
    104: (Trouble.UNREADABLE, Trouble.OTHER),
    105: (Trouble.UNREADABLE,),
    106: (Trouble.UNREADABLE,),
    107: (Trouble.VANISHED, Trouble.MISSING, Trouble.UNREADABLE),
}
"""What borg must have complained of when it ended with one of its modern statuses; with any other, of anything."""
_CUT = {
    "cancelled": say.CUT_BY_CANCELLING,
    "time_limit": say.CUT_BY_TIME_LIMIT,
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known after a run, from borg, from the server and from the repository itself."""

    archive: ArchiveFigures
    listed: Sequence[Listed]
    run: RunEvidence
    options: CreateOptions
    reference: Reference | None = None
    pre_hook: bool = False
    post_hook: bool = False
    hostile: str = ""
    """Why the server is taken for hostile, where an earlier attempt made the archive: its session is judged apart."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Green, yellow with reasons, or red with an error."""

    state: JobState
    reasons: tuple[Reason, ...] = ()
    error: Permanent | None = None

    @property
    def trusted(self) -> bool:
        """Whether later runs may be held against this archive without a person's word."""
        return self.error is None and is_trusted(self.reasons)

    @property
    def said(self) -> list[Said]:
        """The reasons for people, the doubts first; of many the first ones, and how many more there are."""
        more = len(self.reasons) - _SHOWN
        return [*(one.said for one in self.reasons[:_SHOWN]), *([say.MORE_REASONS(more=more)] if more > 0 else [])]


def judge(evidence: Evidence) -> Verdict:
    """Weigh the evidence; the archive must be in the repository under the id that borg reported."""
    archive = evidence.archive
    found = next((listed for listed in evidence.listed if listed.name == archive.name), None)
    if found is None or found.borg_id != archive.borg_id:
        return _red(say.ARCHIVE_NOT_IN_REPOSITORY(archive=archive.name, id=archive.borg_id[:12]))
    missing = [source.path for source in evidence.run.looked or () if source.kind is Kind.MISSING]
    if archive.files == 0 and evidence.options.sources and set(missing) >= set(evidence.options.sources):
        return _red(say.SOURCES_MISSING(paths=missing[:_SHOWN]))
    reasons = sorted(_reasons(evidence), key=lambda reason: reason.weight is Weight.NOTE)
    state = JobState.SUCCEEDED if is_trusted(reasons) else JobState.WARNING
    return Verdict(state, tuple(reasons))


def _reasons(evidence: Evidence) -> Iterator[Reason]:
    run = evidence.run
    if evidence.hostile:
        yield doubt(say.FOUND_HOSTILE(why=evidence.hostile))
    of_sources = list(source_reasons(evidence))
    of_all = list(_fell(evidence, {reason.code for reason in of_sources if reason.weight is Weight.DOUBT}))
    # Of a single source it is said once.
    twice = "source_fewer_bytes" if len(evidence.options.sources) == 1 and _tells(of_all, "fewer_bytes") else None
    yield from (reason for reason in of_sources if reason.code != twice)
    yield from of_all
    if run.ended is None or run.report is None:
        yield doubt(say.REPORT_LOST())
    if run.ended is not None:
        yield from _complaints(run.ended, evidence.reference.unreadable if evidence.reference else 0)
        yield from _missing(run.ended, {reason.code for reason in of_sources})
        yield from _status(run.ended)
    yield from _hooks(evidence)
    yield from (note(one.said) for one in run.left_out_places)
    for cut in run.cut:
        yield doubt(_CUT[cut]() if cut in _CUT else say.CUT_SHORT(why=cut))


def _tells(reasons: Sequence[Reason], code: str) -> bool:
    return any(reason.code == code for reason in reasons)


def _red(said: Said) -> Verdict:
    return Verdict(JobState.FAILED, error=Permanent(said))


def _fell(evidence: Evidence, told: set[str]) -> Iterator[Reason]:
    """Hold the archive against the largest of the good ones; what was told of its only source is not told again."""
    before, now = evidence.reference, evidence.archive
    if now.files == 0:
        known = before is not None and before.files == 0 and before.trusted
        yield note(AS_BEFORE(reason=say.ARCHIVE_EMPTY())) if known else doubt(say.ARCHIVE_EMPTY())
    told = told if len(evidence.options.sources) == 1 else set()
    if before is None or told - {"source_fewer_files", "source_fewer_bytes"}:
        return
    if collapsed(now.files, before.files) and not told:
        fewer = say.FEWER_FILES if before.trusted else say.FEWER_FILES_THAN_DOUBTFUL
        yield doubt(fewer(now=number(now.files, FILES), before=number(before.files, FILES)))
    if collapsed(now.original_size, before.original_size):
        less = say.FEWER_BYTES if before.trusted else say.FEWER_BYTES_THAN_DOUBTFUL
        yield doubt(less(now=number(now.original_size, BYTES), before=number(before.original_size, BYTES)))


def _complaints(ended: Ended, unreadable_before: int) -> Iterator[Reason]:
    if count := ended.count(Trouble.ERROR):
        seen, more = _examples(ended, Trouble.ERROR)
        yield doubt(say.BORG_ERROR(errors=number(count, ERRORS), examples=seen, more=more))
    if count := ended.count(Trouble.UNREADABLE):
        seen, more = _examples(ended, Trouble.UNREADABLE)
        said = say.UNREADABLE(entries=number(count, ENTRIES), examples=seen, more=more)
        yield doubt(said) if count > unreadable_before else note(said)
    if ended.count(Trouble.OTHER):
        seen, more = _examples(ended, Trouble.OTHER)
        yield doubt(say.BORG_WARNING(examples=seen, more=more))
    if count := ended.count(Trouble.CHANGED):
        seen, more = _examples(ended, Trouble.CHANGED)
        yield note(say.CHANGED_WHILE_READ(files=number(count, FILES), examples=seen, more=more))
    if count := ended.count(Trouble.VANISHED):
        seen, more = _examples(ended, Trouble.VANISHED)
        yield note(say.VANISHED_WHILE_READ(files=number(count, FILES), examples=seen, more=more))


def _missing(ended: Ended, told: set[str]) -> Iterator[Reason]:
    """Let no source go that borg did not find, though nobody knows which one it was."""
    if (count := ended.count(Trouble.MISSING)) and "source_missing" not in told:
        seen, more = _examples(ended, Trouble.MISSING)
        yield doubt(say.SOURCES_NOT_FOUND(sources=number(count, SOURCES), examples=seen, more=more))


def _examples(ended: Ended, trouble: Trouble) -> tuple[str, int | None]:
    """Return the first of borg's own words about this, and how many more there are; None where that is all."""
    examples = ended.examples(trouble, _EXAMPLES)
    more = ended.count(trouble) - len(examples)
    return "; ".join(examples), more if examples and more > 0 else None


def _status(ended: Ended) -> Iterator[Reason]:
    """Let no warning status pass that no warning explains: what it said was lost, or never understood."""
    expected = _BY_STATUS.get(ended.status, tuple(Trouble))
    if ended.status == 0 or (ended.count(*expected) and not ended.plain):
        return
    if ended.plain:  # one warning that is understood does not explain what others say
        yield doubt(say.STATUS_GARBLED(status=ended.status, lines=number(ended.plain, LINES)))
    else:
        yield doubt(say.STATUS_UNEXPLAINED(status=ended.status))


def _hooks(evidence: Evidence) -> Iterator[Reason]:
    run = evidence.run
    if run.late_hook is not None and run.late_hook.problem:
        yield doubt(say.POST_HOOK_FAILED_LATE(problem=run.late_hook.told))
    if not evidence.post_hook:
        return
    if run.post_hook is None:
        yield doubt(say.POST_HOOK_UNKNOWN())
    elif run.post_hook.problem:
        yield doubt(say.POST_HOOK_FAILED(problem=run.post_hook.told))
