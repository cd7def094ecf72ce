"""The gate: what was not seen to be whole is not green, whatever the reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.backup.truth.evidence import (
    ArchiveEvidence,
    Ended,
    Given,
    HookEnd,
    Kind,
    Line,
    RunEvidence,
    Source,
    SourceRecord,
    Trouble,
)
from services.backup.truth.gate import Evidence, Verdict, judge
from services.backup.truth.reference import Good, Reference, reference_of
from shared.borg.commands import CreateOptions
from shared.borg.output import Listed
from shared.domain.archive import ArchiveFigures
from shared.domain.backup_state import Weight
from shared.domain.job import JobState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIGURES = ArchiveFigures(
    name="a", borg_id="1" * 64, started_at=NOW, ended_at=NOW, duration=1.0, files=100, original_size=10_000_000,
    compressed_size=1, deduplicated_size=1,
)  # fmt: skip
SOURCES = ("/etc", "/srv")


def source(path: str, **values: Any) -> Source:
    usual: dict[str, Any] = {"kind": Kind.DIRECTORY, "empty": False, "mounted": False, "device": "8:1"}
    return Source.model_validate({"path": path} | usual | values)


LOOKED = (source("/etc"), source("/srv", mounted=True, device="8:2", filesystem="ext4"))
GIVEN = (Given(path="/etc", files=40, size=4_000_000), Given(path="/srv", files=60, size=6_000_000))
RUN = RunEvidence(
    archives=("a",), looked=LOOKED, looked_after=LOOKED, ended=Ended(status=0), report=FIGURES, given=GIVEN,
    post_hook=HookEnd(),
)  # fmt: skip


def kept(run: RunEvidence = RUN) -> Any:
    return ArchiveEvidence.of(run).model_dump(mode="json")


REFERENCE = reference_of([Good(NOW, None, 100, 10_000_000, kept())])
OPTIONS = CreateOptions(sources=SOURCES)
GOOD = Evidence(FIGURES, [Listed("a", "1" * 64)], RUN, OPTIONS, REFERENCE, pre_hook=True, post_hook=True)


def but(evidence: Evidence = GOOD, **known: Any) -> Evidence:
    return replace(evidence, run=evidence.run.but(**known))


def gave(etc: int, srv: int, *, size: int = 100_000) -> dict[str, Any]:
    counts = (Given(path="/etc", files=etc, size=etc * size), Given(path="/srv", files=srv, size=srv * size))
    return {"given": counts}


def of_size(files: int, size: int) -> ArchiveFigures:
    return FIGURES.model_copy(update={"files": files, "original_size": size})


def codes(verdict: Verdict, weight: Weight = Weight.DOUBT) -> list[str]:
    return [reason.code for reason in verdict.reasons if reason.weight is weight]


def test_green_needs_everything() -> None:
    verdict = judge(GOOD)
    assert (verdict.state, verdict.reasons, verdict.trusted) == (JobState.SUCCEEDED, (), True)


def test_a_first_run_without_reference_is_green_where_each_source_gave_something() -> None:
    assert judge(replace(GOOD, reference=None)).state is JobState.SUCCEEDED


def test_an_archive_that_is_not_listed_or_has_another_id_is_red() -> None:
    for listed in ([], [Listed("a", "2" * 64)], [Listed("b", "1" * 64)]):
        verdict = judge(replace(GOOD, listed=listed))
        assert (verdict.state, verdict.trusted) == (JobState.FAILED, False)
        assert verdict.error is not None
        assert verdict.error.code == "archive_not_in_repository"


def test_no_source_at_all_is_red_but_not_where_the_archive_holds_files() -> None:
    gone = tuple(source(path, kind=Kind.MISSING) for path in SOURCES)
    nothing = replace(but(looked=gone, **gave(0, 0)), archive=of_size(0, 0))
    verdict = judge(nothing)
    assert verdict.error is not None
    assert verdict.error.code == "sources_missing"
    assert judge(but(looked=gone)).state is JobState.WARNING


# What the server says of a source that gave nothing -> code, words of the sentence.
NOTHING: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({"kind": Kind.MISSING}, {}, "source_missing", "does not exist"),
    ({"kind": Kind.HANGS}, {}, "source_hangs", "does not answer"),
    ({"kind": Kind.LINK, "target": "/data/srv"}, {}, "source_is_link", "a link to /data/srv"),
    ({"kind": Kind.OTHER}, {}, "source_no_directory", "neither a directory nor a file"),
    (
        {"empty": True, "mounted": True},
        {},
        "source_empty",
        "/srv is empty; last time it held 60 files. Mount or fill it",
    ),
    ({"empty": True, "mounted": False}, {}, "source_not_mounted", "is not mounted"),
    ({"mounted": True, "cache_tag": True}, {}, "source_cache_tag", "CACHEDIR.TAG"),
    ({"mounted": True}, {"excludes": ("*",)}, "source_excluded", "by the rule *"),
    ({"mounted": True}, {"excludes": ("pp:/srv",)}, "source_excluded", "by the rule pp:/srv"),
    ({"mounted": True}, {"patterns": ("- sh:/srv/**",)}, "source_excluded", "by the rule - sh:/srv/**"),
    ({"mounted": True}, {"excludes": ("re:^srv",)}, "source_excluded", "by the rule re:^srv"),
    ({"mounted": True}, {"excludes": ("sh:**/*.o",)}, "source_without_files", "that its rules let through"),
    ({"mounted": True, "cache_tag": True}, {"exclude_caches": False}, "source_without_files", "nothing but dir"),
]


@pytest.mark.parametrize(("values", "options", "code", "words"), NOTHING)
@pytest.mark.parametrize("reference", [REFERENCE, None])
def test_a_source_that_gave_no_file_is_a_doubt_that_names_it_and_why(
    values: dict[str, Any], options: dict[str, Any], code: str, words: str, reference: Reference | None
) -> None:
    looked = (LOOKED[0], source("/srv", **values))
    evidence = but(
        replace(GOOD, options=replace(OPTIONS, **options)), looked=looked, looked_after=looked, **gave(90, 0)
    )
    verdict = judge(replace(evidence, reference=reference))
    if reference is None:  # nothing is known of before
        code = "source_empty" if code == "source_not_mounted" else code
        words = "/srv is empty" if code == "source_empty" else words
    assert (verdict.state, codes(verdict)) == (JobState.WARNING, [code])
    assert words in verdict.reasons[0].text
    assert "/srv" in verdict.reasons[0].text


@pytest.mark.parametrize("reference", [REFERENCE, None])
def test_files_whose_content_is_nowhere_are_a_doubt_though_all_of_them_are_listed(reference: Reference | None) -> None:
    etc, srv = gave(40, 60)["given"]
    evidence = replace(but(given=(etc, srv.model_copy(update={"lacking": 2}))), reference=reference)
    assert codes(judge(evidence)) == ["content_missing"]
    assert "Of the source /srv, 2 files cannot be restored" in judge(evidence).reasons[0].text
    assert "content_missing" not in codes(judge(but(given=(etc, srv))))


def test_a_rule_that_includes_first_excludes_nothing() -> None:
    rules = replace(OPTIONS, patterns=("+ pp:/srv", "- pp:/srv", "! re:("), excludes=("fm:/other",))
    looked = (LOOKED[0], source("/srv", mounted=True))
    verdict = judge(but(replace(GOOD, options=rules), looked=looked, **gave(90, 0)))
    assert codes(verdict) == ["source_without_files"]


def test_what_a_person_accepted_is_a_note_on_every_run_and_something_new_is_a_doubt_again() -> None:
    emptied = RUN.but(looked=(LOOKED[0], source("/srv", empty=True)), **gave(90, 0))
    accepted = reference_of([Good(NOW, NOW, 90, 9_000_000, kept(emptied)), Good(datetime(2025, 12, 1, tzinfo=UTC), None,
                            100, 10_000_000, kept())])  # fmt: skip
    again = replace(GOOD, run=emptied, reference=accepted, archive=of_size(90, 9_000_000))
    verdict = judge(again)
    assert (verdict.state, codes(verdict, Weight.NOTE)) == (JobState.SUCCEEDED, ["source_empty"])
    assert "/srv" in verdict.said[0].text
    gone = judge(but(again, looked=(LOOKED[0], source("/srv", kind=Kind.MISSING))))
    assert codes(gone) == ["source_missing"]
    assert codes(judge(but(again, **gave(30, 0)))) == ["source_fewer_files", "source_fewer_bytes"]


@given(files=st.integers(0, 1000), size=st.integers(0, 10**9))
@example(files=50, size=10_000_000)
@example(files=51, size=5_000_001)
@example(files=100, size=5_000_000)
def test_a_collapse_is_never_green(files: int, size: int) -> None:
    run = RUN.but(looked=LOOKED[:1], given=(Given(path="/etc", files=files, size=size),))
    before = RUN.but(looked=LOOKED[:1], given=(Given(path="/etc", files=100, size=10_000_000),))
    reference = reference_of([Good(NOW, None, 100, 10_000_000, kept(before))])
    one = Evidence(of_size(files, size), GOOD.listed, run, CreateOptions(sources=("/etc",)), reference)
    collapsed = files <= 50 or size <= 5_000_000
    for known in (reference, reference_of([Good(NOW, None, 100, 10_000_000)])):  # an older version counted no sources
        assert (judge(replace(one, reference=known)).state is JobState.WARNING) == collapsed


@pytest.mark.parametrize(("etc", "srv"), [(60, 29), (19, 60), (100, 20), (20, 90), (100, 30)])
def test_one_source_that_lost_half_is_a_doubt_though_the_sum_did_not(etc: int, srv: int) -> None:
    verdict = judge(but(**gave(etc, srv)))
    assert set(codes(verdict)) == {"source_fewer_files", "source_fewer_bytes"}


@pytest.mark.parametrize(("before", "now"), [(5, 0), (5, 2), (1, 0), (40, 19), (40, 20), (2, 1)])
def test_small_jobs_are_no_exception(before: int, now: int) -> None:
    run = RUN.but(looked=LOOKED[:1], given=(Given(path="/etc", files=before, size=10),))
    small = Evidence(of_size(now, 10), GOOD.listed, run.but(given=(Given(path="/etc", files=now, size=10),)),
                     CreateOptions(sources=("/etc",)), reference_of([Good(NOW, None, before, 10, kept(run))]))  # fmt: skip
    assert not judge(small).trusted


def test_a_slow_fall_is_seen_since_the_largest_good_archive_is_the_measure() -> None:
    nights, states = [100, 51, 26, 14, 8, 5], list[bool]()
    good: list[Good] = []
    for night, files in enumerate(nights):
        run = RUN.but(looked=LOOKED[:1], given=(Given(path="/etc", files=files, size=files),))
        one = Evidence(of_size(files, files), GOOD.listed, run, CreateOptions(sources=("/etc",)), reference_of(good))
        states.append(judge(one).trusted)
        if states[-1]:
            good.insert(0, Good(datetime(2026, 1, 1 + night, tzinfo=UTC), None, files, files, kept(run)))
    assert states == [True, True, False, False, False, False]


def test_a_mount_that_is_none_any_more_or_a_directory_that_became_a_link_is_a_doubt_though_files_came() -> None:
    for mounted in (False, None):
        looked = (LOOKED[0], source("/srv", mounted=mounted))
        assert codes(judge(but(looked=looked, looked_after=looked))) == ["source_not_mounted"]
    looked = (source("/etc", kind=Kind.FILE), LOOKED[1])
    assert codes(judge(but(looked=looked, looked_after=looked))) == ["source_changed_kind"]


def test_a_file_that_is_empty_now_is_a_doubt_however_small_it_was() -> None:
    def dump(*, empty: bool) -> RunEvidence:
        looked = (source("/dump", kind=Kind.FILE, empty=empty),)
        return RUN.but(looked=looked, looked_after=looked, given=(Given(path="/dump", files=1, size=900),))

    reference = reference_of([Good(NOW, None, 1, 1000, kept(dump(empty=False)))])
    options = CreateOptions(sources=("/dump",))
    now = Evidence(of_size(1, 900), GOOD.listed, dump(empty=True), options, reference)
    assert codes(judge(now)) == ["source_empty"]
    assert judge(replace(now, run=dump(empty=False))).state is JobState.SUCCEEDED


def test_what_was_there_before_borg_and_not_after_is_said() -> None:
    for after in ({"kind": Kind.MISSING}, {"kind": Kind.HANGS}, {"mounted": False}):
        verdict = judge(but(looked_after=(LOOKED[0], source("/srv", **after))))
        assert codes(verdict) == ["source_vanished"]
        assert "/srv" in verdict.said[0].text


def test_other_file_systems_are_told_of_once_and_leave_it_green() -> None:
    below = (source("/etc", below=("/etc/a", "/etc/b")), LOOKED[1])
    options = replace(OPTIONS, one_file_system=True)
    verdict = judge(but(replace(GOOD, options=options), looked=below))
    assert (verdict.state, codes(verdict, Weight.NOTE)) == (JobState.SUCCEEDED, ["one_file_system"])
    assert "/etc/a, /etc/b" in verdict.reasons[0].text
    told = reference_of([Good(NOW, None, 100, 10_000_000, kept(RUN.but(looked=below)))])
    assert judge(but(replace(GOOD, options=options, reference=told), looked=below)).reasons == ()
    assert judge(but(looked=below)).reasons == ()  # they are in the archive


def ended(status: int, *troubles: tuple[Trouble, int]) -> dict[str, Any]:
    counts = dict(troubles)
    lines = tuple(
        Line(level="warning", message=f"/f{n}: {t}", trouble=t) for t, c in troubles for n in range(min(c, 9))
    )
    return {"ended": Ended(status=status, counts=counts, shown=lines)}


@pytest.mark.parametrize("status", [1, 100, 101, 102, 103, 104, 105, 106, 107, 126])
def test_a_warning_status_that_nothing_explains_is_a_doubt(status: int) -> None:
    assert codes(judge(but(**ended(status)))) == ["status_unexplained"]


def test_a_status_is_explained_by_its_own_kind_alone() -> None:
    """105 says that something was not readable: a file that changed explains nothing of that."""
    assert codes(judge(but(**ended(105, (Trouble.CHANGED, 3))))) == ["status_unexplained"]
    assert judge(but(**ended(100, (Trouble.CHANGED, 3)))).state is JobState.SUCCEEDED
    assert judge(but(**ended(1, (Trouble.CHANGED, 3), (Trouble.VANISHED, 1)))).state is JobState.SUCCEEDED


def test_one_warning_that_is_understood_explains_no_others_that_came_as_plain_text() -> None:
    how = ended(1, (Trouble.CHANGED, 1))
    assert judge(but(**how)).trusted
    verdict = judge(but(ended=how["ended"].model_copy(update={"plain": 2})))
    assert codes(verdict) == ["status_unexplained"]
    assert "2 lines of what was said" in verdict.reasons[0].text
    assert judge(but(ended=Ended(status=0, plain=2))).trusted  # borg itself says that nothing was wrong


def test_files_that_changed_or_vanished_while_read_are_notes_with_their_names() -> None:
    verdict = judge(but(**ended(1, (Trouble.CHANGED, 7), (Trouble.VANISHED, 1))))
    assert codes(verdict, Weight.NOTE) == ["changed_while_read", "vanished_while_read"]
    assert "7 files changed" in verdict.reasons[0].text
    assert "; and 2 more. Nothing, where they are logs" in verdict.reasons[0].text
    assert "/f0" in verdict.reasons[1].text


def test_unreadable_entries_are_a_doubt_until_a_good_archive_has_as_many() -> None:
    run = ended(1, (Trouble.UNREADABLE, 14))
    assert codes(judge(but(**run))) == ["unreadable"]
    accepted = reference_of([Good(NOW, NOW, 100, 10_000_000, kept(RUN.but(**run)))])
    assert codes(judge(but(replace(GOOD, reference=accepted), **run)), Weight.NOTE) == ["unreadable"]
    more = ended(1, (Trouble.UNREADABLE, 15))
    assert codes(judge(but(replace(GOOD, reference=accepted), **more))) == ["unreadable"]


def test_errors_and_what_nobody_understands_are_doubts() -> None:
    both = ended(1, (Trouble.ERROR, 1), (Trouble.OTHER, 2))
    assert codes(judge(but(**both))) == ["borg_error", "borg_warning"]


def test_the_hooks_failures_are_doubts_with_their_words() -> None:
    verdict = judge(but(post_hook=HookEnd(problem="the post-hook ended with status 4"),
                        late_hook=HookEnd(problem="the post-hook ended with status 5")))  # fmt: skip
    assert codes(verdict) == ["post_hook_failed"] * 2
    assert "status 5" in verdict.reasons[0].text
    assert "status 4" in verdict.reasons[1].text


def test_what_an_earlier_attempt_of_a_hostile_server_made_is_a_doubt() -> None:
    assert codes(judge(replace(GOOD, hostile="3 refused: call of destroy"))) == ["hostile_client"]


@pytest.mark.parametrize("cut", ["cancelled", "time_limit"])
def test_what_cut_a_run_short_after_its_archive_is_a_doubt(cut: str) -> None:
    assert codes(judge(but(cut=(cut,)))) == [cut]
    assert codes(judge(but(cut=("something_new",)))) == ["cut_short"]


def test_a_first_archive_without_any_file_is_a_doubt_and_an_accepted_one_a_note() -> None:
    run = RUN.but(looked=LOOKED[:1], given=(Given(path="/etc", files=0, size=0),))
    empty = Evidence(of_size(0, 0), GOOD.listed, run, CreateOptions(sources=("/etc",)))
    assert codes(judge(empty)) == ["source_without_files", "archive_empty"]
    accepted = reference_of([Good(NOW, NOW, 0, 0, kept(run))])
    assert judge(replace(empty, reference=accepted)).state is JobState.SUCCEEDED


def test_many_reasons_are_counted_and_doubts_come_first() -> None:
    paths = tuple(f"/s{n}" for n in range(30))
    run = RUN.but(looked=tuple(source(path, kind=Kind.MISSING) for path in paths), given=(),
                  **ended(1, (Trouble.CHANGED, 1)))  # fmt: skip
    verdict = judge(replace(GOOD, run=run, options=CreateOptions(sources=paths), reference=None, pre_hook=False))
    assert len(verdict.said) == 21
    assert verdict.said[-1].text == "and 71 more reasons"
    assert verdict.reasons[-1].weight is Weight.NOTE


# -- whatever is dropped ------------------------------------------------------------------------------------

DROPS: list[str] = ["listed", "looked", "looked_after", "ended", "report", "given", "post_hook", "a look", "a later look",
                    "a count", "files", "bytes", "mounted", "why"]  # fmt: skip


@given(
    dropped=st.sampled_from(DROPS),
    changed=st.integers(0, 200),
    which=st.integers(0, 1),
    files=st.integers(50, 1000),
    share=st.integers(40, 60),
)
def test_whatever_is_dropped_from_a_green_runs_evidence_it_does_not_stay_green(
    dropped: str, changed: int, which: int, files: int, share: int
) -> None:
    etc = max(20, files * share // 100)
    srv = max(30, files - etc)
    size = 100_000
    counts = gave(etc, srv)
    how = ended(100 if changed else 0, *([(Trouble.CHANGED, changed)] if changed else []))
    archive = of_size(etc + srv, (etc + srv) * size)
    green = but(replace(GOOD, archive=archive), **counts, **how)
    reference = reference_of([Good(NOW, None, etc + srv, (etc + srv) * size, kept(green.run))])
    green = replace(green, reference=reference)
    assert judge(green).state is JobState.SUCCEEDED
    assert not judge(_without(green, dropped, which)).trusted or (dropped == "why" and not changed)


def _without(green: Evidence, dropped: str, which: int) -> Evidence:
    run = green.run
    assert run.looked is not None
    assert run.given is not None
    assert run.ended is not None
    one = run.given[which]
    others = tuple(given for given in run.given if given is not one)
    missing: dict[str, dict[str, Any]] = {
        "a look": {"looked": (run.looked[which],)},
        "a later look": {"looked_after": (run.looked[which],)},
        "a count": {"given": others},
        "files": {"given": (*others, one.model_copy(update={"files": one.files // 2 - 1}))},
        "bytes": {"given": (*others, one.model_copy(update={"size": one.size // 2 - 1}))},
        "mounted": {"looked": (run.looked[0], run.looked[1].model_copy(update={"mounted": None}))},
        "why": {"ended": Ended(status=run.ended.status)},
    }
    if dropped == "listed":
        return replace(green, listed=[])
    return but(green, **missing.get(dropped, {dropped: None}))


def test_what_an_accepted_archive_says_holds_on_when_it_is_pruned() -> None:
    small = RUN.but(looked=LOOKED[:1], given=(Given(path="/etc", files=10, size=10),))
    accepted = datetime(2026, 1, 5, tzinfo=UTC)
    later = ArchiveEvidence.of(small, accepted).model_dump(mode="json")
    good = [Good(datetime(2026, 1, 6, tzinfo=UTC), None, 10, 10, later), Good(NOW, None, 100, 1000, kept())]
    reference = reference_of(good)
    assert reference is not None
    assert (reference.files, reference.since) == (10, accepted)


def test_the_reference_is_the_most_of_what_is_good_by_source_too() -> None:
    more = RUN.but(**gave(10, 90))
    reference = reference_of(
        [Good(NOW, None, 100, 7, kept()), Good(NOW, None, 90, 9, kept(more)), Good(NOW, None, 3, 8)]
    )
    assert reference is not None
    assert (reference.files, reference.original_size, reference.last_size) == (100, 9, 7)
    assert (reference.sources["/etc"].files, reference.sources["/srv"].files) == (40, 90)
    assert reference.sources["/srv"].last_files == 60
    assert reference_of([]) is None


NOT_OURS: list[Any] = [None, [], 3, {"version": 2}, {"sources": 3, "looked": "x"}]


def test_evidence_of_another_version_or_none_is_not_read() -> None:
    assert RunEvidence.read(RUN.model_dump(mode="json")) == RUN
    for broken in NOT_OURS:
        assert RunEvidence.read(broken) is None
        assert ArchiveEvidence.read(broken) is None
    record = SourceRecord(source=LOOKED[0])
    assert (record.files, record.size) == (None, None)
