"""What a run is held against: by moments that can be trusted, and by the sources that the job still has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.backup.truth.evidence import ArchiveEvidence, Ended, Given, Kind, Mount, RunEvidence, Source, Trouble
from services.backup.truth.reference import Good, reference_of

NOW = datetime(2026, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)


def evidence(counts: dict[str, int], *, since: datetime | None = None, unreadable: int = 0, **mounts: int) -> Any:
    """Return what is kept of a run whose sources gave so many files of ten bytes."""
    looked = tuple(Source(path=path, kind=Kind.DIRECTORY, mounts=tuple(Mount(path=f"{path}/{name}") for name in mounts))
                   for path in counts)  # fmt: skip
    given = [Given(path=path, files=files, size=files * 10) for path, files in counts.items()]
    given += [
        Given(path=f"{path}/{name}", files=files, size=files) for path in counts for name, files in mounts.items()
    ]
    ended = Ended(status=0, counts={Trouble.UNREADABLE: unreadable})
    return ArchiveEvidence.of(RunEvidence(looked=looked, given=tuple(given), ended=ended), since).model_dump(
        mode="json"
    )


def good(age: float, files: int, accepted: float | None = None, held: Any = None) -> Good:
    """Return an archive of some days ago; below zero it is from the future."""
    return Good(NOW - age * DAY, None if accepted is None else NOW - accepted * DAY, files, files * 10, held)


def since(age: float) -> Any:
    return evidence({}, since=NOW - age * DAY)


# Archives, the latest first -> the measure, in files.
CLOCKS: list[tuple[str, list[Good], int]] = [
    ("an acceptance hides what is older", [good(1, 9), good(2, 7, 1.5), good(3, 100)], 9),
    ("accepted now, made a year ahead: what is newer counts", [good(-365, 10, 4), good(1, 100), good(2, 90)], 100),
    ("and what is older than the acceptance does not", [good(-365, 10, 2), good(1, 8), good(3, 100)], 10),
    ("made and accepted a year ahead: it hides nothing", [good(-365, 10, -365), good(1, 100), good(2, 90)], 100),
    ("a moment from the future that was passed on", [good(1, 8, held=since(-300)), good(2, 100)], 100),
    ("a trusted one from the future is a measure", [good(-5, 500), good(1, 100)], 500),
    ("but not after an acceptance", [good(-5, 500), good(1, 100, 0.5)], 100),
    ("unless it was held against that", [good(-5, 500, held=since(1)), good(1, 100, 0.5)], 500),
    ("a clock some minutes ahead is no future", [good(-0.002, 10, -0.002), good(1, 100)], 10),
    ("a clock set back after an acceptance that is pruned", [good(2, 8, held=since(1)), good(3, 100)], 8),
]  # fmt: skip


@pytest.mark.parametrize(("archives", "files"), [case[1:] for case in CLOCKS], ids=[case[0] for case in CLOCKS])
def test_no_wrong_clock_hides_a_measure(archives: list[Good], files: int) -> None:
    reference = reference_of(archives, now=NOW)
    assert reference is not None
    assert reference.files == files


def test_what_is_latest_is_not_told_by_an_archive_from_the_future() -> None:
    archives = [good(-9, 5, held=evidence({"/a": 5}, unreadable=3)), good(1, 8, held=evidence({"/a": 8}))]
    reference = reference_of(archives, now=NOW)
    assert reference is not None
    assert (reference.last_size, reference.sources["/a"].last_files, reference.unreadable) == (80, 8, 0)


def test_unreadable_entries_are_excused_by_the_latest_good_archive_alone() -> None:
    """Those that a person accepted weeks ago were readable since."""
    archives = [good(1, 9, held=evidence({"/a": 9})), good(2, 9, 2, held=evidence({"/a": 9}, unreadable=14))]
    for order in (archives, archives[1:]):
        reference = reference_of(order, now=NOW)
        assert reference is not None
        assert reference.unreadable == (0 if order is archives else 14)


# Counts by source of one archive, the sources of the job now -> the measure, and what is told to be removed.
REMOVED: list[tuple[dict[str, int], list[str], int, dict[str, int]]] = [
    ({"/a": 60, "/b": 20}, ["/a", "/b"], 80, {}),
    ({"/a": 60, "/b": 20}, ["/b"], 20, {"/a": 60}),
    ({"/a": 60, "/b": 20}, ["/b", "/new"], 20, {"/a": 60}),
    ({"/a": 60, "/b": 20}, ["/new"], 0, {"/a": 60, "/b": 20}),
    ({"/a": 80, "/a/x": 50}, ["/a"], 80, {"/a/x": 50}),
    ({"/a": 80, "/a/x": 50}, ["/a/x"], 50, {"/a": 80}),
    ({"/a": 80, "/a/x": 50, "/b": 1}, ["/a", "/a/x"], 80, {"/b": 1}),
    ({"/": 80, "/a": 50}, ["/a"], 50, {"/": 80}),
]


@pytest.mark.parametrize(("counts", "now", "files", "removed"), REMOVED)
def test_a_source_that_was_taken_out_of_the_job_is_no_part_of_the_measure(
    counts: dict[str, int], now: list[str], files: int, removed: dict[str, int]
) -> None:
    total = 80 if "/" in counts or "/a/x" in counts else sum(counts.values())
    reference = reference_of([good(1, total, held=evidence(counts))], now=NOW, sources=now)
    assert reference is not None
    expected = total if counts.keys() == set(now) else files
    assert (reference.files, reference.original_size, dict(reference.removed)) == (expected, expected * 10, removed)


def test_what_nobody_counted_by_source_stays_the_measure_as_a_whole() -> None:
    reference = reference_of([good(1, 80)], now=NOW, sources=["/b"])
    assert reference is not None
    assert (reference.files, dict(reference.removed)) == (80, {})


def test_a_removed_source_is_told_of_until_a_good_archive_is_without_it() -> None:
    both, one = good(2, 80, held=evidence({"/a": 60, "/b": 20})), good(1, 20, held=evidence({"/b": 20}))
    reference = reference_of([one, both], now=NOW, sources=["/b"])
    assert reference is not None
    assert (reference.files, dict(reference.removed)) == (20, {})


def test_the_bytes_of_a_single_source_of_an_older_version_are_borgs_sum_and_no_count() -> None:
    older = evidence({"/a": 9}) | {"listed": False}
    two = evidence({"/a": 9, "/b": 9}) | {"listed": False}
    for held, size in ((older, None), (evidence({"/a": 9}), 90), (two, 90)):
        reference = reference_of([good(1, 9, held=held)], now=NOW)
        assert reference is not None
        assert (reference.sources["/a"].files, reference.sources["/a"].size) == (9, size)


def test_the_most_that_came_from_a_mount_is_kept_whichever_archive_has_it() -> None:
    archives = [good(1, 9, held=evidence({"/a": 9}, disk=3)), good(2, 9, held=evidence({"/a": 9}, disk=7, old=2))]
    reference = reference_of(archives, now=NOW)
    assert reference is not None
    assert {path: one.files for path, one in reference.mounts.items()} == {"/a/disk": 7, "/a/old": 2}
