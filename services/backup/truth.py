"""The truth gate: a run is green only if everything says so. Pure; a false green is the worst bug."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.job import JobState
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.borg.output import Listed, LogLine
    from shared.domain.archive import ArchiveFigures

_COLLAPSE = 0.5
_MIN_FILES = 10
_MIN_BYTES = 1024 * 1024
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Baseline:
    """The last run that made an archive: what the next one is held against."""

    files: int
    original_size: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known after a run, from borg, from the server and from the repository itself."""

    archive: ArchiveFigures
    listed: Sequence[Listed]
    lines: Sequence[LogLine]
    sources: Sequence[str]
    missing: Sequence[str]
    post_hook: str | None
    baseline: Baseline | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Green, yellow with reasons, or red with an error."""

    state: JobState
    reasons: tuple[str, ...] = ()
    error: Permanent | None = None


def judge(evidence: Evidence) -> Verdict:
    """Weigh the evidence; the archive must be in the repository under the id that borg reported."""
    archive = evidence.archive
    found = next((listed for listed in evidence.listed if listed.name == archive.name), None)
    if found is None or found.borg_id != archive.borg_id:
        message = (
            f"borg reported archive {archive.name}, but the repository does not list it with id {archive.borg_id[:12]}"
        )
        return _red(message, "archive_not_in_repository", "treat the run as lost; check the repository")
    if evidence.sources and set(evidence.missing) >= set(evidence.sources):
        message = "none of the source paths exists on the server: " + ", ".join(evidence.missing[:_SHOWN])
        return _red(message, "sources_missing", "correct the backup job's sources, or mount what is missing")
    reasons = [*_missing(evidence), *_borg_warnings(evidence), *_collapse(evidence)]
    if evidence.post_hook:
        reasons.append(evidence.post_hook)
    if not reasons:
        return Verdict(JobState.SUCCEEDED)
    left_out = len(reasons) - _SHOWN
    shown = reasons[:_SHOWN] + ([f"and {left_out} more, see the log"] if left_out > 0 else [])
    return Verdict(JobState.WARNING, tuple(shown))


def _red(message: str, code: str, remedy: str) -> Verdict:
    return Verdict(JobState.FAILED, error=Permanent(message, code=code, remedy=remedy))


def _missing(evidence: Evidence) -> list[str]:
    return [f"source path missing: {path}" for path in evidence.missing]


def _borg_warnings(evidence: Evidence) -> list[str]:
    # A missing source is borg's warning too; it is told once.
    warnings = [line.message for line in evidence.lines if line.is_warning or line.is_error]
    return [text for text in warnings if not any(_says_missing(text, path) for path in evidence.missing)]


def _says_missing(text: str, path: str) -> bool:
    return text.startswith(f"{path}: ") and "[Errno 2]" in text


def _collapse(evidence: Evidence) -> list[str]:
    last, now = evidence.baseline, evidence.archive
    if last is None:
        return ["the archive is empty"] if now.files == 0 else []
    reasons: list[str] = []
    if last.files >= _MIN_FILES and now.files < last.files * _COLLAPSE:
        reasons.append(f"files fell from {last.files} to {now.files}")
    if last.original_size >= _MIN_BYTES and now.original_size < last.original_size * _COLLAPSE:
        reasons.append(f"bytes fell from {last.original_size} to {now.original_size}")
    return reasons
