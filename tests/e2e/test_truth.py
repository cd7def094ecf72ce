"""A false green is the worst bug: what went wrong is said, with its reason, and never painted over."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.harness.fleet import Fleet, until
from tests.harness.invariants import assert_invariants, extracted


def test_a_missing_source_is_a_warning_with_its_path_and_the_rest_is_backed_up(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data, data / "nowhere"])
    job = fleet.finished(fleet.run(definition), "warning")
    (reason,) = job["warnings"]
    assert f"the source {data / 'nowhere'} does not exist on the server" in reason
    backup = fleet.backups(definition)[0]
    assert backup["state"] == "warning"
    assert extracted(fleet, definition, backup) == 21


def test_no_source_at_all_is_a_failure_and_the_empty_archive_is_on_record(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data / "a", data / "b"])
    job = fleet.finished(fleet.run(definition), "failed")
    assert job["code"] == "sources_missing"
    assert fleet.backups(definition)[0]["state"] == "failed"
    assert_invariants(fleet, definition)


def test_a_collapse_of_files_and_bytes_is_not_green(fleet: Fleet, data: Path) -> None:
    (data / "big").write_bytes(os.urandom(3 * 1024 * 1024))
    definition = fleet.backup_job([data])
    fleet.finished(fleet.run(definition), "succeeded")
    shutil.rmtree(data / "deep")
    (data / "big").unlink()
    (data / "left").write_text("nearly nothing")
    job = fleet.finished(fleet.run(definition), "warning")
    assert f"the source {data} gave fewer files: 1 file; it gave 22 files before" in job["warnings"][0]
    assert re.match(r"[Tt]he archive holds .*\d+ bytes; a good one of this job holds 3,\d", job["warnings"][1])


def test_an_emptied_source_is_doubted_each_night_and_the_last_full_archive_stays_until_a_person_accepts(
    fleet: Fleet, data: Path
) -> None:
    """Keep the last two, and prune after each backup: four nights without files take no full archive away."""
    definition = fleet.backup_job([data], retention={"keep_last": 2})
    fleet.finished(fleet.run(definition), "succeeded")
    full = fleet.backups(definition)[0]
    data.rename(data.with_name("aside"))
    data.mkdir()
    for _ in range(4):
        job = fleet.finished(fleet.run(definition), "warning")
        assert f"the source {data} is empty; last time it held 21 files" in job["warnings"][0]
    fleet.finished(fleet.post(f"/api/repositories/{definition['repository_id']}/prune", {}), "succeeded", "warning")
    assert full["borg_id"] in fleet.listed(definition)
    data.rmdir()
    data.with_name("aside").rename(data)
    assert extracted(fleet, definition, full) == 21
    shutil.rmtree(data)
    data.mkdir()
    doubtful = fleet.backups(definition)[0]
    assert [reason["code"] for reason in doubtful["reasons"]] == ["source_empty", "archive_empty"]
    assert not doubtful["good"]
    fleet.post(f"/api/backups/{doubtful['id']}/accept", {"reason": "it moved to another server"})
    job = fleet.finished(fleet.run(definition), "succeeded")
    assert any(str(data) in reason for reason in job["warnings"])
    assert fleet.backups(definition)[0]["good"]


def test_a_retry_of_a_failed_run_backs_up_what_is_there_now(fleet: Fleet, tmp_path: Path) -> None:
    source = tmp_path / "later"
    definition = fleet.backup_job([source])
    job = fleet.finished(fleet.run(definition), "failed")
    assert job["code"] == "sources_missing"
    source.mkdir()
    for number in range(5):
        (source / f"file{number}").write_text("x")
    fleet.post(f"/api/jobs/{job['id']}/retry")
    ended = until(lambda: found if (found := fleet.job(job))["state"] == "succeeded" else None, "the retry succeeds")
    assert ended["result"]["files"] == 5
    assert sorted(backup["files"] for backup in fleet.backups(definition)) == [0, 5]
    assert_invariants(fleet, definition)


def test_a_worker_that_dies_after_borg_takes_no_warning_with_it(fleet: Fleet, data: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    definition = fleet.backup_job([data, data / "nowhere"], pre_hook=f"echo pre >>{trace}",
                                  post_hook=f"echo post >>{trace}; exit 4")  # fmt: skip
    worker = fleet.doomed("backup", "after_borg_before_commit")
    job = fleet.run(definition)
    worker.wait_dead()
    fleet.spawn("backup")
    ended = fleet.finished(job, "warning")
    assert ended["attempt"] >= 2
    (backup,) = fleet.backups(definition)
    assert {reason["code"] for reason in backup["reasons"]} == {"source_missing", "post_hook_failed"}
    assert trace.read_text().split() == ["pre", "post"]


def test_every_source_path_of_a_job_is_backed_up(fleet: Fleet, data: Path, tmp_path: Path) -> None:
    others = [tmp_path / f"other {number}" for number in range(5)]
    for other in others:
        other.mkdir()
        (other / "file").write_text(other.name)
    definition = fleet.backup_job([data, *others])
    fleet.finished(fleet.run(definition), "succeeded")
    listing = fleet.borg(
        definition, "list", "--format", "{path}{NL}", f"{{repo}}::{fleet.backups(definition)[0]['name']}"
    )
    for other in others:
        assert f"{str(other)[1:]}/file" in listing


def test_excludes_patterns_one_file_system_and_caches_are_honoured(fleet: Fleet, data: Path) -> None:
    (data / "cache").mkdir()
    (data / "cache" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    (data / "cache" / "junk").write_text("junk")
    (data / "note.tmp").write_text("x")
    (data / "skip.me").write_text("x")
    definition = fleet.backup_job(
        [data], excludes=["sh:**/*.tmp"], patterns=["- re:\\.me$"], one_file_system=True, compression="lz4"
    )
    fleet.finished(fleet.run(definition), "succeeded")
    listing = fleet.borg(
        definition, "list", "--format", "{path}{NL}", f"{{repo}}::{fleet.backups(definition)[0]['name']}"
    )
    assert "file0" in listing
    for absent in ("note.tmp", "skip.me", "junk"):
        assert absent not in listing


def test_hooks_run_around_borg_and_a_failing_pre_hook_backs_nothing_up(
    fleet: Fleet, data: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    definition = fleet.backup_job([data], pre_hook=f"echo before >>{trace}", post_hook=f"echo after >>{trace}")
    fleet.finished(fleet.run(definition), "succeeded")
    assert trace.read_text().split() == ["before", "after"]
    failing = fleet.backup_job([data], pre_hook="exit 3", post_hook=f"echo cleaned >>{trace}")
    job = fleet.finished(fleet.run(failing), "failed")
    assert job["code"] == "pre_hook_failed"
    assert "status 3" in job["reason"]
    assert trace.read_text().split()[-1] == "cleaned"
    assert fleet.backups(failing) == []


def test_a_hook_that_hangs_is_stopped_at_its_time_limit(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data], post_hook="sleep 600", hook_seconds=2)
    job = fleet.finished(fleet.run(definition), "warning")
    assert job["warnings"] == ["the post-hook was stopped after 2 seconds"]
    assert not fleet.processes("sleep 600")


def test_a_run_over_its_time_limit_is_stopped_and_says_so(fleet: Fleet, slow_data: Path) -> None:
    definition = fleet.backup_job([slow_data], upload_limit_kib=256, compression="none", time_limit_seconds=5)
    job = fleet.finished(fleet.run(definition), "failed")
    assert job["code"] == "time_limit"
    assert fleet.listed(definition) == {}


def test_a_wrong_passphrase_is_permanent_and_says_where_the_right_one_is(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    other = fleet.backup_job([data])
    fleet.finished(fleet.run(definition), "succeeded")
    fleet.finished(fleet.run(other), "succeeded")
    right, foreign = fleet.at_rest(definition), fleet.at_rest(other)
    keys = {path: ConfigParser(interpolation=None) for path in (right, foreign)}
    for path, config in keys.items():
        config.read(path / "config")
    keys[right]["repository"]["key"] = keys[foreign]["repository"]["key"]  # of another passphrase
    with (right / "config").open("w") as config_file:
        keys[right].write(config_file)
    job = fleet.finished(fleet.run(definition), "failed")
    assert (job["code"], job["attempt"]) == ("passphrase_wrong", 1)
    assert "recovery kit" in job["remedy"]


def test_a_missing_storage_pool_is_said_and_nothing_is_made_in_its_place(fleet: Fleet, data: Path) -> None:
    gone = fleet.directory / "unmounted"
    pool = fleet.post("/api/storage-pools", {"name": "unmounted", "path": str(gone)})
    repository = fleet.post(
        "/api/repositories", {"name": "on-unmounted", "server_id": fleet.host["id"], "pool_id": pool["id"]}
    )
    definition = fleet.backup_job([data], repository_id=repository["id"])
    job = fleet.finished(fleet.run(definition), "failed")
    assert job["code"] == "pool_missing"
    assert not gone.exists()


@pytest.fixture
def small_disk(fleet: Fleet) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mount = fleet.directory / "small"
    mount.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(mount)], check=True)
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_full_storage_is_one_clear_failure_and_older_archives_stay_whole(
    fleet: Fleet, data: Path, small_disk: Path
) -> None:
    pool = fleet.post("/api/storage-pools", {"name": "small", "path": str(small_disk)})
    repository = fleet.post(
        "/api/repositories", {"name": "on-small", "server_id": fleet.host["id"], "pool_id": pool["id"]}
    )
    definition = fleet.backup_job([data], repository_id=repository["id"], compression="none")
    fleet.finished(fleet.run(definition), "succeeded")
    (data / "huge").write_bytes(os.urandom(12 * 1024 * 1024))
    job = fleet.finished(fleet.run(definition), "failed")
    assert (job["code"], job["attempt"]) == ("pool_full", 1)
    (data / "huge").unlink()
    recorded = fleet.backups(definition)
    assert [b["borg_id"] for b in recorded] == list(fleet.listed(definition))
    assert extracted(fleet, definition, recorded[0]) == 21
