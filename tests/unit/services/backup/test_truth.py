from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.backup.truth import Baseline, Evidence, judge
from shared.borg.output import Listed, LogLine
from shared.domain.archive import ArchiveFigures
from shared.domain.job import JobState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIGURES = ArchiveFigures(
    name="a", borg_id="1" * 64, started_at=NOW, ended_at=NOW, duration=1.0, files=100, original_size=10_000_000,
    compressed_size=1, deduplicated_size=1,
)  # fmt: skip
GOOD = Evidence(FIGURES, [Listed("a", "1" * 64)], [], ["/etc"], [], None, Baseline(100, 10_000_000))


def test_green_needs_everything() -> None:
    assert judge(GOOD).state is JobState.SUCCEEDED


def test_an_archive_that_is_not_listed_or_has_another_id_is_red() -> None:
    for listed in ([], [Listed("a", "2" * 64)], [Listed("b", "1" * 64)]):
        verdict = judge(replace(GOOD, listed=listed))
        assert verdict.state is JobState.FAILED
        assert verdict.error is not None
        assert verdict.error.code == "archive_not_in_repository"


def test_all_sources_missing_is_red_and_some_missing_is_yellow_told_once() -> None:
    assert judge(replace(GOOD, missing=["/etc"])).state is JobState.FAILED
    lines = [LogLine("warning", "/gone: stat: [Errno 2] No such file or directory: '/gone'"),
             LogLine("warning", "/gone: [Errno 2] No such file or directory: 'gone'")]  # fmt: skip
    verdict = judge(replace(GOOD, sources=["/etc", "/gone"], missing=["/gone"], lines=lines))
    assert (verdict.state, verdict.reasons) == (JobState.WARNING, ("source path missing: /gone",))


@given(files=st.integers(0, 1000), size=st.integers(0, 10**9))
def test_a_collapse_is_never_green(files: int, size: int) -> None:
    verdict = judge(replace(GOOD, archive=FIGURES.model_copy(update={"files": files, "original_size": size})))
    collapsed = files < 50 or size < 5_000_000
    assert (verdict.state is JobState.WARNING) == collapsed


def test_a_first_empty_archive_is_yellow() -> None:
    empty = FIGURES.model_copy(update={"files": 0})
    assert judge(replace(GOOD, archive=empty, baseline=None)).reasons == ("the archive is empty",)
    assert judge(replace(GOOD, baseline=None)).state is JobState.SUCCEEDED


def test_warnings_and_a_failed_post_hook_are_reasons_and_many_are_counted() -> None:
    lines = [LogLine("warning", f"file {n} changed") for n in range(30)]
    verdict = judge(replace(GOOD, lines=lines, post_hook="the post-hook ended with status 1"))
    assert verdict.state is JobState.WARNING
    assert len(verdict.reasons) == 21
    assert verdict.reasons[-1] == "and 11 more, see the log"
