"""Sources and the mounts that they lie on, and those below them: what was taken away does not stay green."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.backup.truth.evidence import (
    ArchiveEvidence,
    Ended,
    Given,
    Kind,
    Line,
    Mount,
    RunEvidence,
    Source,
    Trouble,
)
from services.backup.truth.gate import Evidence, judge
from services.backup.truth.reference import Good, reference_of
from services.backup.truth.source_reasons import why_none
from shared.borg.commands import CreateOptions
from shared.borg.output import Listed
from shared.domain.backup_state import Weight
from tests.unit.services.backup.truth.test_gate import FIGURES, NOW

OPTIONS = CreateOptions(sources=("/srv",))


def source(**values: Any) -> Source:
    usual: dict[str, Any] = {"path": "/srv", "kind": "directory", "empty": False, "mounted": False, "holder": "/",
                             "filesystem": "ext4"}  # fmt: skip
    return Source.model_validate(usual | values)


def run(looked: Source, files: int = 60, *, after: Source | None = None, **mounts: int) -> RunEvidence:
    """Return a run whose source gave so many files, those of its mounts among them."""
    given = [Given(path="/srv", files=files, size=files * 10)]
    given += [Given(path=f"/srv/{name}", files=count, size=count * 10) for name, count in mounts.items()]
    return RunEvidence(archives=("a",), looked=(looked,), looked_after=(after or looked,), ended=Ended(status=0),
                       report=FIGURES, given=tuple(given))  # fmt: skip


def judged(
    now: RunEvidence, before: RunEvidence | None, options: CreateOptions = OPTIONS, *, accepted: bool = False
) -> Any:
    """Hold a run against an earlier one."""
    evidence = Evidence(_figures(now), [Listed("a", "1" * 64)], now, options)
    if before is not None:
        earlier = replace(evidence, run=before)
        kept = ArchiveEvidence.of(before, why_none=why_none(earlier)).model_dump(mode="json")
        figures = _figures(before)
        good = Good(NOW, NOW if accepted else None, figures.files, figures.original_size, kept)
        evidence = replace(evidence, reference=reference_of([good], sources=options.sources))
    return judge(evidence)


def _figures(of: RunEvidence) -> Any:
    files = next(one.files for one in of.given or ())
    return FIGURES.model_copy(update={"files": files, "original_size": files * 10})


def codes(verdict: Any, weight: Weight = Weight.DOUBT) -> list[str]:
    return [reason.code for reason in verdict.reasons if reason.weight is weight]


NAS: dict[str, Any] = {"holder": "/mnt/nas", "filesystem": "nfs4"}
# What a source lay on, what it lies on now -> whether that is a doubt.
HOLDERS: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    ("the same", NAS, NAS, False),
    ("another device, after a reboot", NAS | {"device": "0:40"}, NAS | {"device": "0:52"}, False),
    ("the mount is gone, a stale copy lies there", NAS, {"holder": "/mnt"}, True),
    ("and nothing but the root is left", NAS, {"holder": "/"}, True),
    ("the inner of two mounts is gone", {"holder": "/mnt/nas/deep"}, {"holder": "/mnt/nas"}, True),
    ("a bind mount of the same device is gone", {"holder": "/mnt/b", "device": "8:1"}, {"device": "8:1"}, True),
    ("nobody knows any more", NAS, {"holder": "", "filesystem": ""}, True),
    ("nobody knew before", {"holder": "", "filesystem": ""}, NAS, False),
    ("it never was on a mount", {}, {"holder": "", "filesystem": ""}, False),
    ("another type at the same place", NAS, NAS | {"filesystem": "ext4"}, True),
    ("another type at the root", {}, {"filesystem": "overlay"}, True),
    ("mounted over by another type", NAS, {"holder": "/mnt/nas/x", "filesystem": "tmpfs"}, True),
    ("the same type by another name", NAS, NAS | {"filesystem": "nfs"}, False),
    ("ext3 that became ext4", {"holder": "/d", "filesystem": "ext3"}, {"holder": "/d", "filesystem": "ext4"}, False),
    ("it got a disk of its own", {}, {"holder": "/srv", "mounted": True, "filesystem": "xfs"}, False),
    ("automount that did not come", NAS, NAS | {"filesystem": "autofs"}, True),
    ("names that only begin alike", {"holder": "/mnt/nas2"}, {"holder": "/mnt/nas"}, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "now", "doubted"), [case[1:] for case in HOLDERS], ids=[case[0] for case in HOLDERS]
)
def test_a_source_on_a_mount_that_is_gone_is_doubted_though_a_stale_copy_lies_below(
    before: dict[str, Any], now: dict[str, Any], doubted: bool
) -> None:
    verdict = judged(run(source(**now)), run(source(**before)))
    assert codes(verdict) == (["source_not_mounted"] if doubted else [])
    emptied = judged(run(source(**now, empty=True), 0), run(source(**before)))
    assert codes(emptied)[0] == ("source_not_mounted" if doubted else "source_empty")
    if doubted:
        assert before.get("holder", "/") in verdict.reasons[0].text


def disks(*names: str, automatic: bool = False, **values: Any) -> Source:
    return source(mounts=[Mount(path=f"/srv/{name}", automatic=automatic) for name in names], **values)


# What was mounted below and gave, what is there now -> the doubts.
BELOW: list[tuple[str, RunEvidence, RunEvidence, list[str]]] = [
    ("gone", run(disks("disk"), 100, disk=40), run(source(), 60), ["mount_below_gone"]),
    ("one of two", run(disks("a", "b"), 100, a=20, b=20), run(disks("a"), 80, a=20), ["mount_below_gone"]),
    ("a single file", run(disks("a"), 100, a=1), run(source(), 99), ["mount_below_gone"]),
    ("gone, files below the mount point", run(disks("a"), 100, a=40), run(source(), 100), ["mount_below_gone"]),
    ("mounted, emptied", run(disks("a"), 100, a=40), run(disks("a"), 60, a=0), ["mount_below_fewer_files", "mount_below_fewer_bytes"]),
    ("mounted, half", run(disks("a"), 100, a=40), run(disks("a"), 80, a=20), ["mount_below_fewer_files", "mount_below_fewer_bytes"]),
    ("mounted, more than half", run(disks("a"), 100, a=40), run(disks("a"), 81, a=21), []),
    ("it never gave a file", run(disks("a"), 100, a=0), run(source(), 100), []),
    ("not counted", run(disks("a"), 100, a=40), run(disks("a"), 60), ["mount_below_gone"]),
    ("automatic, not there", run(disks("a", automatic=True), 100, a=40), run(source(), 60), ["mount_below_fewer_files", "mount_below_fewer_bytes"]),
    ("automatic, came later", run(disks("a", automatic=True), 100, a=40), run(disks("a", automatic=True), 100, a=40), []),
    ("the table cannot be read", run(disks("a"), 100, a=40), run(source(holder="", mounted=None), 60), ["mount_below_gone"]),
]  # fmt: skip


@pytest.mark.parametrize(("before", "now", "doubts"), [case[1:] for case in BELOW], ids=[case[0] for case in BELOW])
def test_a_mount_below_a_source_is_judged_as_a_source_of_its_own(
    before: RunEvidence, now: RunEvidence, doubts: list[str]
) -> None:
    verdict = judged(now, before)
    assert codes(verdict) == doubts
    for sentence in (reason.text for reason in verdict.reasons):
        assert "/srv/" in sentence


def test_a_mount_below_a_source_that_is_gone_is_not_told_twice_nor_one_of_a_removed_source() -> None:
    before = run(disks("a"), 100, a=40)
    assert codes(judged(run(source(empty=True), 0), before))[0] == "source_empty"
    assert "mount_below_gone" not in codes(judged(run(source(empty=True), 0), before))
    other = replace(OPTIONS, sources=("/etc",))
    now = run(source(path="/etc"), 60).but(given=(Given(path="/etc", files=60, size=600),))
    verdict = judged(now, before, other)
    assert (codes(verdict), codes(verdict, Weight.NOTE)) == ([], ["source_removed"])
    assert [one.text for one in verdict.said] == ["the source /srv was taken out of the backup job; it gave 100 files"]


def test_a_mount_that_one_file_system_leaves_out_since_today_is_doubted() -> None:
    verdict = judged(run(disks("a"), 60, a=0), run(disks("a"), 100, a=40), replace(OPTIONS, one_file_system=True))
    assert codes(verdict) == ["mount_below_left_out"]


def test_what_a_person_accepted_of_mounts_is_the_measure_from_then_on() -> None:
    accepted = run(source(), 60)
    assert judged(run(source(), 60), accepted, accepted=True).reasons == ()


# What a source was after borg had read it -> whether that is a doubt.
AFTER: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {}, False),
    ({}, {"kind": "missing"}, True),
    ({}, {"kind": "hangs"}, True),
    ({}, {"kind": "link", "target": "/elsewhere"}, True),
    ({}, {"empty": True}, True),
    ({"empty": True}, {"empty": False}, False),
    (NAS, {"holder": "/"}, True),
    (NAS | {"mounted": True}, NAS | {"mounted": None}, True),
    ({"mounts": [Mount(path="/srv/a")]}, {}, True),
    ({"mounts": [Mount(path="/srv/a", automatic=True)]}, {}, False),
    ({}, {"mounts": [Mount(path="/srv/a")]}, False),
]


@pytest.mark.parametrize(("before", "after", "doubted"), AFTER)
@pytest.mark.parametrize("hook", [True, False])
def test_what_goes_while_borg_reads_is_doubted_with_and_without_hooks(
    before: dict[str, Any], after: dict[str, Any], doubted: bool, hook: bool
) -> None:
    now = run(source(**before), after=source(**after))
    verdict = judge(Evidence(_figures(now), [Listed("a", "1" * 64)], now, OPTIONS, pre_hook=hook))
    assert codes(verdict) == (["source_vanished"] if doubted else [])
    nobody = judge(Evidence(_figures(now), [Listed("a", "1" * 64)], now.but(looked_after=None), OPTIONS, pre_hook=hook))
    assert codes(nobody) == ["not_looked"]


EMPTY: dict[str, Any] = {"empty": True}
# What a person accepted of a source without files, what it is now -> its code now; a note only where nothing changed.
ACCEPTED: list[tuple[str, dict[str, Any], CreateOptions, dict[str, Any], CreateOptions, str, bool]] = [
    ("the same rule", {}, replace(OPTIONS, excludes=("*",)), {}, replace(OPTIONS, excludes=("*",)), "source_excluded", True),
    ("left out, then emptied", {}, replace(OPTIONS, excludes=("*",)), EMPTY, OPTIONS, "source_empty", False),
    ("left out, then nothing but links", {}, replace(OPTIONS, excludes=("*",)), {}, OPTIONS, "source_without_files", False),
    ("a cache, then emptied", {"cache_tag": True}, OPTIONS, EMPTY, OPTIONS, "source_empty", False),
    ("nothing but links, then a rule", {}, OPTIONS, {}, replace(OPTIONS, excludes=("*",)), "source_excluded", False),
    ("empty as before", EMPTY, OPTIONS, EMPTY, OPTIONS, "source_empty", True),
    ("an empty disk, then not mounted", EMPTY | {"mounted": True, "holder": "/srv"}, OPTIONS, EMPTY, OPTIONS,
     "source_not_mounted", False),
    ("an empty directory of a disk, then not mounted", EMPTY | NAS, OPTIONS, EMPTY, OPTIONS, "source_not_mounted", False),
    ("missing, then there and empty", {"kind": "missing"}, OPTIONS, EMPTY, OPTIONS, "source_empty", False),
]  # fmt: skip


@pytest.mark.parametrize("version", ["now", "before reasons were kept"])
@pytest.mark.parametrize(
    ("before", "old", "now", "new", "code", "known"),
    [case[1:] for case in ACCEPTED],
    ids=[case[0] for case in ACCEPTED],
)
def test_what_a_person_accepted_excuses_the_same_reason_alone(
    before: dict[str, Any], old: CreateOptions, now: dict[str, Any], new: CreateOptions, code: str, known: bool,
    version: str,
) -> None:  # fmt: skip
    earlier, later = run(source(**before), 0), run(source(**now), 0)
    reasons = why_none(Evidence(_figures(earlier), (), earlier, old))
    if version != "now":
        reasons = {}
        known = known or code in ("source_without_files", "source_excluded")  # by what was seen they are the same
    kept = ArchiveEvidence.of(earlier, why_none=reasons).model_dump(mode="json")
    reference = reference_of([Good(NOW, NOW, 0, 0, kept)])
    verdict = judge(Evidence(_figures(later), [Listed("a", "1" * 64)], later, new, reference))
    assert codes(verdict, Weight.NOTE if known else Weight.DOUBT)[0] == code
    assert verdict.trusted is known


def test_a_doubtful_archive_that_nobody_accepted_excuses_no_emptiness() -> None:
    """Of a job that was never good: its empty source is a doubt each night, and so is its empty archive."""
    empty = run(source(empty=True), 0)
    kept = ArchiveEvidence.of(empty, why_none={"/srv": "source_empty"}).model_dump(mode="json")
    for trusted in (True, False):
        reference = reference_of([Good(NOW, None, 0, 0, kept)], trusted=trusted)
        verdict = judge(Evidence(_figures(empty), [Listed("a", "1" * 64)], empty, OPTIONS, reference))
        assert codes(verdict) == ([] if trusted else ["source_empty", "archive_empty"])


def test_an_accepted_unmounted_source_is_a_note_the_night_after() -> None:
    """Accepted as not mounted; the next night it is as before, an empty directory."""
    mounted = run(source(mounted=True, holder="/srv"), 40)
    gone = run(source(empty=True), 0)
    verdict = judged(gone, mounted)
    assert codes(verdict)[0] == "source_not_mounted"
    again = judged(gone, gone, accepted=True)
    assert (again.trusted, codes(again, Weight.NOTE)[0]) == (True, "source_empty")


@pytest.mark.parametrize(
    ("trouble", "code"), [(Trouble.MISSING, "source_missing"), (Trouble.UNREADABLE, "source_unreadable")]
)
def test_what_borg_says_of_a_source_itself_is_why_it_gave_nothing(trouble: Trouble, code: str) -> None:
    line = Line(level="warning", message="/srv: [Errno 2] No such file or directory: 'srv'", trouble=trouble)
    ended = Ended(status=1, counts={trouble: 1}, shown=(line,))
    verdict = judged(run(source(), 0).but(ended=ended), run(source(), 60))
    assert code in codes(verdict)
    assert "/srv" in verdict.reasons[0].text
    assert "directories or links" not in " ".join(reason.text for reason in verdict.reasons)


def test_a_source_that_borg_did_not_find_is_a_doubt_though_nobody_knows_which() -> None:
    ended = Ended(status=107, counts={Trouble.MISSING: 1})
    assert codes(judged(run(source(), 60).but(ended=ended), run(source(), 60))) == ["source_missing"]


def test_an_unreadable_source_that_gave_nothing_is_a_doubt_though_as_many_entries_were_accepted_before() -> None:
    line = Line(
        level="warning", message="/srv: scandir: [Errno 13] Permission denied: 'srv'", trouble=Trouble.UNREADABLE
    )
    one = Ended(status=1, counts={Trouble.UNREADABLE: 1}, shown=(line,))
    other = Ended(status=1, counts={Trouble.UNREADABLE: 5})
    verdict = judged(run(source(), 0).but(ended=one), run(source(), 60).but(ended=other), accepted=True)
    assert codes(verdict)[0] == "source_unreadable"
    again = judged(run(source(), 0).but(ended=one), run(source(), 0).but(ended=one), accepted=True)
    assert again.trusted


def test_files_that_all_became_empty_are_doubted_though_borgs_own_records_hide_it() -> None:
    before = run(source(), 20).but(given=(Given(path="/srv", files=20, size=120),))
    now = run(source(), 20).but(given=(Given(path="/srv", files=20, size=0),))
    assert codes(judged(now, before)) == ["source_fewer_bytes"]


def test_the_kind_of_a_source_that_changed_is_told_by_name() -> None:
    verdict = judged(run(source(kind=Kind.FILE)), run(source()))
    assert codes(verdict) == ["source_changed_kind"]


@pytest.mark.parametrize(("kind", "files", "words"), [
    (Kind.FILE, 1, "is an empty file"), (Kind.DIRECTORY, 1, "gave 1 file and not one byte"),
    (Kind.DIRECTORY, 20, "gave 20 files and not one byte"),
])  # fmt: skip
def test_a_source_without_a_byte_is_never_green_not_even_in_its_first_night(kind: Kind, files: int, words: str) -> None:
    """A dump that failed, files that a file system cut to nothing: with nothing to compare with it was green for ever."""
    void = (Given(path="/srv", files=files, size=0),)
    now = run(source(kind=kind, empty=kind is Kind.FILE), files).but(given=void)
    first = judged(now, None)
    assert codes(first) == ["source_without_bytes"]
    assert first.reasons[0].text.startswith(f"The source /srv {words}.")
    assert codes(judged(now, now, accepted=True)) == []
    kept = ArchiveEvidence.of(now).model_dump(mode="json")
    reference = reference_of([Good(NOW, None, files, 0, kept)], trusted=False)
    second = judge(Evidence(_figures(now), [Listed("a", "1" * 64)], now, OPTIONS, reference))
    assert codes(second) == ["source_without_bytes"], "what nobody accepted excuses nothing"
    full = run(source(kind=kind), files)
    assert codes(judged(now, full))[-1] != "source_without_bytes"
    assert not judged(now, full).trusted
