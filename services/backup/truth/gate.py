"""The truth gate: a run is green only if everything says so. Pure; a false green is the worst bug."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.backup.truth.collapse import ACCEPT, collapsed, number
from services.backup.truth.evidence import Kind, Trouble
from services.backup.truth.source_reasons import source_reasons
from shared.domain.backup_state import Reason, Weight, doubt, is_trusted, note
from shared.domain.job import JobState
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from services.backup.truth.evidence import Ended, RunEvidence
    from services.backup.truth.reference import Reference
    from shared.borg.commands import CreateOptions
    from shared.borg.output import Listed
    from shared.domain.archive import ArchiveFigures

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
    "cancelled": "The run was cancelled after borg had made the archive: what followed may have been cut short.",
    "time_limit": "The run's time limit passed after borg had made the archive.",
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
    def sentences(self) -> list[str]:
        """The reasons for people, the doubts first; of many the first ones."""
        return bounded([reason.text for reason in self.reasons])


def judge(evidence: Evidence) -> Verdict:
    """Weigh the evidence; the archive must be in the repository under the id that borg reported."""
    archive = evidence.archive
    found = next((listed for listed in evidence.listed if listed.name == archive.name), None)
    if found is None or found.borg_id != archive.borg_id:
        message = (
            f"borg reported archive {archive.name}, but the repository does not list it with id {archive.borg_id[:12]}"
        )
        return _red(message, "archive_not_in_repository", "treat the run as lost; check the repository")
    missing = [source.path for source in evidence.run.looked or () if source.kind is Kind.MISSING]
    if archive.files == 0 and evidence.options.sources and set(missing) >= set(evidence.options.sources):
        message = "none of the source paths exists on the server: " + ", ".join(missing[:_SHOWN])
        return _red(message, "sources_missing", "correct the backup job's sources, or mount what is missing")
    reasons = sorted(_reasons(evidence), key=lambda reason: reason.weight is Weight.NOTE)
    state = JobState.SUCCEEDED if is_trusted(reasons) else JobState.WARNING
    return Verdict(state, tuple(reasons))


def bounded(sentences: Sequence[str]) -> list[str]:
    """Return the first sentences of many, and how many more there are."""
    more = len(sentences) - _SHOWN
    return [*sentences[:_SHOWN], *([f"and {more} more, see the log"] if more > 0 else [])]


def _reasons(evidence: Evidence) -> Iterator[Reason]:
    run = evidence.run
    of_sources = list(source_reasons(evidence))
    of_all = list(_fell(evidence, {reason.code for reason in of_sources if reason.weight is Weight.DOUBT}))
    # Of a single source it is said once.
    twice = "source_fewer_bytes" if len(evidence.options.sources) == 1 and _tells(of_all, "fewer_bytes") else None
    yield from (reason for reason in of_sources if reason.code != twice)
    yield from of_all
    if run.ended is None or run.report is None:
        text = "The report of the attempt that made this archive is lost: whether borg left anything out is unknown."
        yield doubt("report_lost", f"{text} Run the backup again, {ACCEPT}.")
    if run.ended is not None:
        yield from _complaints(run.ended, evidence.reference.unreadable if evidence.reference else 0)
        yield from _missing(run.ended, {reason.code for reason in of_sources})
        yield from _status(run.ended)
    yield from _hooks(evidence)
    for sentence in run.left_out:
        yield note("own_place_left_out", sentence)
    for cut in run.cut:
        yield doubt(cut, _CUT.get(cut, f"The run was cut short: {cut}."))


def _tells(reasons: Sequence[Reason], code: str) -> bool:
    return any(reason.code == code for reason in reasons)


def _red(message: str, code: str, remedy: str) -> Verdict:
    return Verdict(JobState.FAILED, error=Permanent(message, code=code, remedy=remedy))


def _fell(evidence: Evidence, told: set[str]) -> Iterator[Reason]:
    """Hold the archive against the largest of the good ones; what was told of its only source is not told again."""
    before, now = evidence.reference, evidence.archive
    if now.files == 0:
        text = "The archive holds no file at all"
        if before is not None and before.files == 0 and before.trusted:
            yield note("archive_empty", f"{text}, as in the backup before.")
        else:
            yield doubt("archive_empty", f"{text}. See why its sources gave none, {ACCEPT}.")
    told = told if len(evidence.options.sources) == 1 else set()
    if before is None or told - {"source_fewer_files", "source_fewer_bytes"}:
        return
    measure = "a good one of this job" if before.trusted else "an earlier one of this job"
    if collapsed(now.files, before.files) and not told:
        text = f"The archive holds {number(now.files, 'file')}; {measure} holds {before.files:,}."
        yield doubt("fewer_files", f"{text} See what is missing, {ACCEPT}.")
    if collapsed(now.original_size, before.original_size):
        text = f"The archive holds {number(now.original_size, 'byte')}; {measure} holds {before.original_size:,}."
        yield doubt("fewer_bytes", f"{text} See what is missing, {ACCEPT}.")


def _complaints(ended: Ended, unreadable_before: int) -> Iterator[Reason]:
    if count := ended.count(Trouble.ERROR):
        yield doubt("borg_error", f"borg told of {number(count, 'error')}{_examples(ended, Trouble.ERROR, count)}")
    if count := ended.count(Trouble.UNREADABLE):
        text = "1 entry could not be read" if count == 1 else f"{count:,} entries could not be read"
        examples = _examples(ended, Trouble.UNREADABLE, count)
        yield (doubt if count > unreadable_before else note)("unreadable", f"{text}{examples}")
    if count := ended.count(Trouble.OTHER):
        yield doubt("borg_warning", f"borg warned of something{_examples(ended, Trouble.OTHER, count)}")
    if count := ended.count(Trouble.CHANGED):
        examples = _examples(ended, Trouble.CHANGED, count)
        yield note("changed_while_read", f"{number(count, 'file')} changed while being read{examples}")
    if count := ended.count(Trouble.VANISHED):
        examples = _examples(ended, Trouble.VANISHED, count)
        yield note("vanished_while_read", f"{number(count, 'file')} vanished before being read{examples}")


def _missing(ended: Ended, told: set[str]) -> Iterator[Reason]:
    """Let no source go that borg did not find, though nobody knows which one it was."""
    if (count := ended.count(Trouble.MISSING)) and "source_missing" not in told:
        examples = _examples(ended, Trouble.MISSING, count)
        yield doubt("source_missing", f"borg did not find {number(count, 'source')}{examples}")


def _examples(ended: Ended, trouble: Trouble, count: int) -> str:
    examples = ended.examples(trouble, _EXAMPLES)
    more = f"; and {count - len(examples):,} more, see the log" if count > len(examples) else ""
    return f": {'; '.join(examples)}{more}" if examples else "; see the log"


def _status(ended: Ended) -> Iterator[Reason]:
    """Let no warning status pass that no warning explains: what it said was lost, or never understood."""
    expected = _BY_STATUS.get(ended.status, tuple(Trouble))
    if ended.status == 0 or (ended.count(*expected) and not ended.plain):
        return
    text = f"borg ended with status {ended.status} and did not say why: something may be missing from the archive."
    if ended.plain:  # one warning that is understood does not explain what others say
        lines = "1 line" if ended.plain == 1 else f"{ended.plain:,} lines"
        text = f"borg ended with status {ended.status}; {lines} of what was said cannot be read as its messages."
    yield doubt("status_unexplained", f"{text} See the run's log, {ACCEPT}.")


def _hooks(evidence: Evidence) -> Iterator[Reason]:
    run = evidence.run
    if run.late_hook is not None and run.late_hook.problem:
        yield doubt("post_hook_failed", f"The post-hook that an earlier run still owed failed: {run.late_hook.problem}")
    if not evidence.post_hook:
        return
    if run.post_hook is None:
        yield doubt(
            "post_hook_unknown", "It is not known whether the post-hook ran: see that what the pre-hook did is undone."
        )
    elif run.post_hook.problem:
        yield doubt("post_hook_failed", run.post_hook.problem)
