"""A false green is the worst bug: each sequence that once ended green, on real borg, with what should be said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.runtime.context import Abort
from tests.harness.hanging import hanging, mounted
from tests.integration.backup.yard import Yard, emptied, files


def codes(archive: object) -> list[str]:
    return [reason["code"] for reason in archive.reasons]  # type: ignore[attr-defined] - any row that has reasons


async def test_an_emptied_source_is_doubted_every_night_until_a_person_accepts_it(yard: Yard, tmp_path: Path) -> None:
    """A1: 40 files, then an empty directory, night after night."""
    source = files(tmp_path / "srv", 40)
    definition = await yard.backup_job(source)
    await yard.run(definition, "succeeded")
    emptied(source)
    for _ in range(3):
        job = await yard.run(definition, "warning")
        assert f"the source {source} is empty; last time it held 40 files" in job.warnings[0]
    archives = await yard.archives(definition)
    assert [archive.trusted for archive in archives] == [True, False, False, False]
    await yard.accept(archives[-1])
    job = await yard.run(definition, "succeeded")
    assert str(source) in job.warnings[0]
    files(source, 10)
    await yard.run(definition, "succeeded")
    emptied(source)
    await yard.run(definition, "warning")


async def test_a_slow_fall_is_seen_however_small_each_step(yard: Yard, tmp_path: Path) -> None:
    """A1: 49 % less each night."""
    source = files(tmp_path / "srv", 100)
    definition = await yard.backup_job(source)
    await yard.run(definition, "succeeded")
    for left, state in ((51, "succeeded"), (26, "warning"), (14, "warning")):
        for file in sorted(source.iterdir())[left:]:
            file.unlink()
        await yard.run(definition, state)
    assert codes((await yard.archives(definition))[-1]) == ["source_fewer_files", "fewer_bytes"]


async def test_each_source_that_gave_no_file_is_named_with_why_on_every_run(yard: Yard, tmp_path: Path) -> None:
    """A2: empty, a link, left out by a rule, by a cache tag, directories only, nothing there; one of seven is good."""
    full = files(tmp_path / "full", 60)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(full)
    files(tmp_path / "excluded", 3)
    (files(tmp_path / "cache", 3) / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    (tmp_path / "hollow" / "a" / "b").mkdir(parents=True)
    names = ["full", "empty", "link", "excluded", "cache", "hollow", "gone"]
    definition = await yard.backup_job(*(tmp_path / name for name in names), excludes=[f"pp:{tmp_path / 'excluded'}"])
    for _ in range(2):
        job = await yard.run(definition, "warning")
        said = "\n".join(job.warnings)
        for name, words in {
            "empty": "is empty", "link": f"is a link to {full}", "cache": "CACHEDIR.TAG lies in it",
            "excluded": f"by the rule pp:{tmp_path / 'excluded'}", "gone": "does not exist on the server",
            "hollow": "gave no file that its rules let through",
        }.items():  # fmt: skip
            assert f"the source {tmp_path / name} " in said
            assert words in said
        assert f"the source {full}" not in said
        assert len(job.warnings) == 6
    assert (await yard.archives(definition))[0].files == 60


async def test_an_archive_that_its_rules_left_without_a_file_is_doubted(yard: Yard, tmp_path: Path) -> None:
    """A2: exclude `*`."""
    definition = await yard.backup_job(files(tmp_path / "srv", 5), excludes=["*"])
    job = await yard.run(definition, "warning")
    assert "is left out by the rule *" in job.warnings[0]
    assert codes((await yard.archives(definition))[0]) == ["source_excluded", "archive_empty"]


async def test_one_of_two_sources_emptied_is_doubted_though_most_files_are_there(yard: Yard, tmp_path: Path) -> None:
    """A2: 60 and 40 files, then 60 and none, then 60 and 10."""
    one, other = files(tmp_path / "one", 60), files(tmp_path / "other", 40)
    definition = await yard.backup_job(one, other)
    await yard.run(definition, "succeeded")
    emptied(other)
    job = await yard.run(definition, "warning")
    assert job.warnings == [f"the source {other} is empty; last time it held 40 files"]
    files(other, 10)
    job = await yard.run(definition, "warning")
    assert f"the source {other} gave fewer files: 10 files; it gave 40 files before" in job.warnings[0]


async def test_an_unmounted_source_is_doubted_even_where_files_lie_under_the_mount_point(
    yard: Yard, tmp_path: Path
) -> None:
    source = files(tmp_path / "disk", 3)
    definition = await yard.backup_job(source)
    with mounted(source):
        files(source, 4)
        await yard.run(definition, "succeeded")
    job = await yard.run(definition, "warning")
    assert job.warnings == [f"the source {source} is not mounted: it was a mount point and is none now"]
    emptied(source)
    job = await yard.run(definition, "warning")
    told = f"the source {source} is not mounted: it was a mount point and is none now; last time it held 4 files"
    assert job.warnings[0] == told


async def test_what_one_file_system_leaves_out_is_told_once(yard: Yard, tmp_path: Path) -> None:
    source = files(tmp_path / "srv", 4)
    definition = await yard.backup_job(source, one_file_system=True)
    with mounted(source / "disk"):
        files(source / "disk", 4)
        job = await yard.run(definition, "succeeded")
        assert str(source / "disk") in job.warnings[0]
        assert (await yard.archives(definition))[0].files == 4
        assert (await yard.run(definition, "succeeded")).warnings == []


async def test_a_source_that_hangs_costs_only_itself(yard: Yard, tmp_path: Path) -> None:
    """B6: the server answers; one mount does not."""
    good = files(tmp_path / "good", 4)
    with hanging(tmp_path / "nas") as nas:
        definition = await yard.backup_job(good, nas)
        job = await yard.run(definition, "warning")
        assert codes((await yard.archives(definition))[0]) == ["source_hangs"]
        assert str(nas) in job.warnings[0]
        alone = await yard.backup_job(nas / "data", name="alone")
        error = await yard.attempt(await yard.request(alone))
        assert getattr(error, "code", None) == "source_hangs"
        assert await yard.archives(alone) == []


# -- borg's own words -----------------------------------------------------------------------------------------

UNREADABLE = Path("/proc/sys/net/ipv4/route")
"""Holds files that nobody can read, not even root."""


async def test_what_cannot_be_read_is_doubted_with_its_name_whatever_bytes_are_in_it(
    yard: Yard, tmp_path: Path
) -> None:
    """A4 and A5: a name that is no UTF-8; the warnings come after 600 lines of noise."""
    odd = Path(os.fsdecode(bytes(tmp_path) + b"/bad/caf\xe9"))
    yard.wrap_borg('i=0; while [ $i -lt 600 ]; do echo "debug1: noise $i" >&2; i=$((i+1)); done; exec $BORG "$@"')
    with mounted(odd, "--bind", str(UNREADABLE)):
        definition = await yard.backup_job(files(tmp_path / "bad", 3))
        job = await yard.run(definition, "warning")
        assert job.attempt == 1
        assert "borg could not read" in job.warnings[0]
        assert "caf\\xe9" in job.warnings[0]
        await yard.accept((await yard.archives(definition))[0])
        yard.wrap_borg("")
        job = await yard.run(definition, "succeeded")  # as many as the person saw
        assert "borg could not read" in job.warnings[0]


@pytest.mark.parametrize(
    ("script", "state", "code"),
    [
        ('$BORG "$@" 2>/dev/null; exit 1', "warning", "status_unexplained"),
        ('$BORG "$@" 2>/dev/null; echo "warning: /x: permission denied" >&2; exit 1', "warning", "status_unexplained"),
        ('$BORG "$@"; exit 105', "warning", "status_unexplained"),
        (
            '$BORG "$@"; echo "/x: file changed while we backed it up" >&2; echo "/y: [Errno 5]" >&2; exit 1',
            "warning",
            "status_unexplained",
        ),
        ('echo Welcome; exec $BORG "$@"', "succeeded", ""),
    ],
)
async def test_borgs_exit_status_is_always_weighed(
    yard: Yard, tmp_path: Path, script: str, state: str, code: str
) -> None:
    yard.wrap_borg(script)
    definition = await yard.backup_job(files(tmp_path / "srv", 3))
    job = await yard.run(definition, state)
    assert codes((await yard.archives(definition))[0]) == ([code] if code else [])
    assert job.attempt == 1


async def test_a_borg_that_cannot_be_executed_is_a_failure_and_no_warning(yard: Yard, tmp_path: Path) -> None:
    yard.wrap_borg('echo "env: borg: Permission denied" >&2; exit 126')
    definition = await yard.backup_job(files(tmp_path / "srv", 3))
    job = await yard.run(definition, "failed")
    assert (job.code != "borg_garbled", await yard.archives(definition)) == (True, [])


LIAR = f"""exec {sys.executable} -c "
import sys, borg.remote
from borg.archiver import main
put = borg.remote.RemoteRepository.put
def lie(self, id, data, wait=True):
    return None if len(data) > 60000 else put(self, id, data, wait)
borg.remote.RemoteRepository.put = lie
sys.argv[0] = 'borg'
main()" "$@\""""
"""A borg that takes large objects for stored and does not send them, as one whose cache is wrong, or an attacker's."""


async def test_an_archive_whose_content_is_not_in_the_repository_is_doubted_every_night(
    yard: Yard, tmp_path: Path
) -> None:
    """It lists well, with all its files and bytes; none of the large ones could be restored."""
    source = files(tmp_path / "srv", 3)
    definition = await yard.backup_job(source)
    await yard.run(definition, "succeeded")
    for number in range(2):
        (source / f"large{number}").write_bytes(os.urandom(100_000))
    (source / "name of large0").hardlink_to(source / "large0")
    yard.wrap_borg(LIAR)
    for _ in range(2):
        job = await yard.run(definition, "warning")
        assert f"of the source {source}, 3 files cannot be restored from this archive" in job.warnings[0]
    yard.wrap_borg("")
    await yard.run(definition, "warning")  # its cache still says that all is stored
    subprocess.run(["rm", "-r", str(yard.sshd.home / ".cache" / "borg")], check=True)
    await yard.run(definition, "warning")  # and so do the archives, of which borg makes a new one
    good, *doubted = await yard.archives(definition)
    assert (good.trusted, {archive.trusted for archive in doubted}) == (True, {False})
    for archive in doubted:
        assert (await yard.delete(archive)).state == "succeeded"
    subprocess.run(["rm", "-r", str(yard.sshd.home / ".cache" / "borg")], check=True)
    await yard.run(definition, "succeeded")


# -- attempts and runs ----------------------------------------------------------------------------------------


async def test_a_second_attempt_knows_what_the_first_one_saw(yard: Yard, tmp_path: Path) -> None:
    """A3: a missing source, a failing post-hook, and borg killed after its archive was written."""
    yard.wrap_borg(
        f'$BORG "$@"; status=$?; [ -e {tmp_path}/again ] && exit $status; touch {tmp_path}/again; kill -9 $$'
    )
    trace = tmp_path / "trace"
    definition = await yard.backup_job(
        files(tmp_path / "srv", 3), tmp_path / "gone", pre_hook="true",
        post_hook=f"echo $BORGFLEET_PHASE $BORGFLEET_RESULT >>{trace}; exit 5",
    )  # fmt: skip
    job = await yard.run(definition, "warning")
    (archive,) = await yard.archives(definition)
    assert job.attempt == 2
    assert {"source_missing", "post_hook_failed", "report_lost"} <= set(codes(archive))
    assert not archive.trusted
    assert trace.read_text().split() == ["post", "failed"]


async def test_a_retry_of_a_failed_run_backs_up_what_is_there_now(yard: Yard, tmp_path: Path) -> None:
    """A6."""
    definition = await yard.backup_job(tmp_path / "srv")
    job = await yard.run(definition, "failed")
    assert job.code == "sources_missing"
    files(tmp_path / "srv", 25)
    job = await yard.run(definition, "succeeded", job=await yard.retry(job))
    assert [(archive.state, archive.files) for archive in await yard.archives(definition)] == [
        ("failed", 0),
        ("succeeded", 25),
    ]
    assert len({archive.name for archive in await yard.archives(definition)}) == 2


async def test_a_source_that_the_pre_hook_makes_is_there(yard: Yard, tmp_path: Path) -> None:
    """A7."""
    dump = tmp_path / "dump.sql"
    definition = await yard.backup_job(dump, pre_hook=f"echo data >{dump}", post_hook=f"rm {dump}")
    job = await yard.run(definition, "succeeded")
    assert (job.warnings, (await yard.archives(definition))[0].files, dump.exists()) == ([], 1, False)
    vanishing = await yard.backup_job(dump, name="vanishing", pre_hook=f"echo data >{dump}; (sleep 1; :) >/dev/null 2>&1",
                                      post_hook="true")  # fmt: skip
    yard.wrap_borg(f'$BORG "$@"; status=$?; rm {dump}; exit $status')
    job = await yard.run(vanishing, "warning")
    assert "was there before borg read it" in job.warnings[0]


def held(started: Path, go: Path) -> str:
    """A hook that says that it runs, and ends when it may."""
    return f"touch {started}; while [ ! -e {go} ]; do sleep 0.1; done"


async def test_an_archive_is_on_record_whatever_follows_it(yard: Yard, tmp_path: Path) -> None:
    """A8: the time limit, and a cancellation, while the post-hook runs."""
    started, go = tmp_path / "started", tmp_path / "go"
    definition = await yard.backup_job(files(tmp_path / "srv", 3), post_hook=held(started, go))
    job = await yard.request(definition)
    ctx, task = yard.start(job)
    await yard.until(started)
    yard.cancel(ctx, task)
    go.touch()
    assert await yard.dispose(ctx, task, job) is None
    (archive,) = await yard.archives(definition)
    assert ((await yard.job(job)).state, codes(archive), archive.trusted) == ("warning", ["cancelled"], False)


async def test_an_archive_of_an_ended_run_that_is_on_no_record_is_adopted(yard: Yard, tmp_path: Path) -> None:
    """A8: the worker was stopped after borg had made it, and nobody tried that run again."""
    started, go = tmp_path / "started", tmp_path / "go"
    definition = await yard.backup_job(files(tmp_path / "srv", 3), post_hook=held(started, go))
    job = await yard.request(definition)
    ctx, task = yard.start(job)
    await yard.until(started)
    yard.cancel(ctx, task, Abort.SHUTDOWN)
    go.touch()
    await yard.dispose(ctx, task, job)
    assert await yard.archives(definition) == []
    await yard.db.run(lambda tx: tx.jobs.request_cancel(job.id))
    await yard.run(definition, "succeeded")
    lost, made = sorted(await yard.archives(definition), key=lambda archive: archive.started_at)
    assert (lost.job_id, lost.trusted, codes(lost)) == (job.id, False, ["found_later"])
    assert made.trusted


async def test_two_jobs_of_one_repository_share_neither_files_cache_nor_reference(yard: Yard, tmp_path: Path) -> None:
    """E4."""
    one = await yard.backup_job(files(tmp_path / "one", 50), name="one")
    other = await yard.backup_job(files(tmp_path / "other", 3), name="other", repository_id=one.repository_id)
    for definition in (one, other):
        assert (await yard.run(definition, "succeeded")).warnings == []
    caches = {path.name for path in (yard.sshd.home / ".cache" / "borg").glob("*/files.*")}
    assert {f"files.{one.id.hex}", f"files.{other.id.hex}"} <= caches


async def test_a_dump_that_is_empty_from_its_first_night_on_is_doubted_until_a_person_accepts_it(
    yard: Yard, tmp_path: Path
) -> None:
    dump = tmp_path / "dump.sql"
    definition = await yard.backup_job(dump, pre_hook=f"false > {dump} || true")
    for _ in range(2):
        job = await yard.run(definition, "warning")
        assert f"the source {dump} is an empty file" in job.warnings[0]
    await yard.accept((await yard.archives(definition))[-1])
    await yard.run(definition, "succeeded")
