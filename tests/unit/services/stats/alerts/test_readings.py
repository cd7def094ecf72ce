from __future__ import annotations

from services.stats.alerts.readings import readings
from shared.domain.alerts import AlertKind, Reading

NOW = 1_000_000.0


def read(*figures: tuple[str, tuple[str, ...], float | None], growth: dict[str, float] | None = None) -> list[Reading]:
    now = ("borgfleet_figures_refreshed_timestamp_seconds", (), NOW)
    return readings(
        [now, *((f"borgfleet_{name}", labels, value) for name, labels, value in figures)], growth=growth or {}
    )


def value(found: list[Reading], kind: AlertKind) -> float | None:
    (reading,) = [reading for reading in found if reading.kind is kind]
    return reading.value


def backup(name: str = "job1", server: str = "web1", **figures: float) -> list[tuple[str, tuple[str, ...], float]]:
    return [("backup_enabled", (server, name), 1.0)] + [
        (f"backup_{figure}", (server, name), amount) for figure, amount in figures.items()
    ]


def test_a_living_server_is_silent_for_no_time_and_a_dead_one_since_it_went() -> None:
    found = read(
        ("server_up", ("a",), 1), ("server_up_since_timestamp_seconds", ("a",), NOW - 9999),
        ("server_up", ("b",), 0), ("server_up_since_timestamp_seconds", ("b",), NOW - 400),
    )  # fmt: skip
    silent = {reading.subject: reading.value for reading in found if reading.kind is AlertKind.SERVER_UNREACHABLE}
    assert silent == {"server:a": 0.0, "server:b": 400.0}


def test_usage_is_in_percent_and_each_mount_is_a_subject_of_its_own() -> None:
    found = read(
        ("server_cpu_usage_ratio", ("a",), 0.5), ("server_disk_usage_ratio", ("a", "/"), 0.8),
        ("server_disk_usage_ratio", ("a", "/srv"), 0.9),
    )  # fmt: skip
    assert value(found, AlertKind.CPU) == 50.0
    assert {r.subject: r.value for r in found if r.kind is AlertKind.DISK} == {
        "server:a:/": 80.0, "server:a:/srv": 90.0,
    }  # fmt: skip


def test_a_growing_disk_says_when_it_is_full_and_a_shrinking_one_never() -> None:
    disk = ("server_disk_usage_ratio", ("a", "/"), 0.9)
    assert value(read(disk, growth={"a": 2.0}), AlertKind.DISK_FULL_SOON) == 5.0
    assert value(read(disk, growth={"a": -1.0}), AlertKind.DISK_FULL_SOON) == 1e6
    assert AlertKind.DISK_FULL_SOON not in {reading.kind for reading in read(disk)}


def test_a_backup_that_was_never_made_counts_from_its_definition() -> None:
    never = read(*backup(rpo_seconds=100, created_timestamp_seconds=NOW - 250))
    assert value(never, AlertKind.BACKUP_TOO_OLD) == 2.5
    made = read(*backup(rpo_seconds=100, created_timestamp_seconds=0, last_success_timestamp_seconds=NOW - 50))
    assert value(made, AlertKind.BACKUP_TOO_OLD) == 0.5
    assert value(read(*backup(last_success_timestamp_seconds=0)), AlertKind.BACKUP_TOO_OLD) == 0.0  # no target


def test_shrunk_and_running_long_are_measured_against_the_typical_run() -> None:
    found = read(
        *backup(
            original_size_bytes=30, typical_original_size_bytes=100, running_since_timestamp_seconds=NOW - 600,
            typical_duration_seconds=200, failures_in_a_row=2,
        )
    )  # fmt: skip
    assert value(found, AlertKind.BACKUP_SHRUNK) == 70.0
    assert value(found, AlertKind.BACKUP_RUNNING_LONG) == 3.0
    assert value(found, AlertKind.BACKUP_FAILED) == 2


def test_the_backups_of_a_dead_server_are_unknown_because_the_cause_stands_for_them() -> None:
    dead = [("server_up", ("web1",), 0.0), ("server_up_since_timestamp_seconds", ("web1",), NOW)]
    found = read(*dead, *backup(failures_in_a_row=5), *backup("job2", "web2", failures_in_a_row=5))
    failed = {r.subject: r.value for r in found if r.kind is AlertKind.BACKUP_FAILED}
    assert failed == {"backup_job:job1": None, "backup_job:job2": 5}


def test_a_backup_job_that_is_switched_off_has_no_readings() -> None:
    assert read(("backup_enabled", ("web1", "job1"), 0.0)) == []


def test_pools_fill_and_go_missing() -> None:
    found = read(
        ("pool_size_bytes", ("main",), 100), ("pool_free_bytes", ("main",), 15),
        ("pool_measured_timestamp_seconds", ("main",), NOW - 130), ("pool_size_bytes", ("unknown",), None),
    )  # fmt: skip
    assert (value(found, AlertKind.POOL_FULL), value(found, AlertKind.POOL_MISSING)) == (85.0, 130.0)


def test_a_pool_that_is_gone_stands_for_its_backups_and_a_missing_service_for_its_pools() -> None:
    pool = [("pool_info", ("main", "node1"), 1.0), ("backup_info", ("web1", "job1", "system", "main"), 1.0)]
    old = [*pool, *backup(failures_in_a_row=2)]
    gone = read(*old, ("pool_measured_timestamp_seconds", ("main",), NOW - 500))
    assert (value(gone, AlertKind.POOL_MISSING), value(gone, AlertKind.BACKUP_FAILED)) == (500, None)
    here = read(*old, ("pool_measured_timestamp_seconds", ("main",), NOW - 5))
    assert value(here, AlertKind.BACKUP_FAILED) == 2
    caused = read(
        *old, ("pool_measured_timestamp_seconds", ("main",), NOW - 500),
        ("service_seen_timestamp_seconds", ("backup", "node1"), NOW - 400),
    )  # fmt: skip
    assert (value(caused, AlertKind.POOL_MISSING), value(caused, AlertKind.BACKUP_FAILED)) == (None, None)
    missing = {reading.subject: reading.value for reading in caused if reading.kind is AlertKind.SERVICE_MISSING}
    assert missing["service:backup@node1"] == 400
    assert missing["service:scheduler"] == 1e6  # never seen at all


def test_a_node_without_pools_is_missed_by_nobody() -> None:
    found = read(("service_seen_timestamp_seconds", ("backup", "retired"), NOW - 9999))
    assert "service:backup@retired" not in {reading.subject for reading in found}


def test_a_quota_dead_letters_and_deaf_channels_are_readings() -> None:
    found = read(
        ("repository_quota_bytes", ("web1", "system"), 200), ("dead_letters_recent", (), 3),
        ("repository_deduplicated_size_bytes", ("web1", "system"), 190),
        ("channel_failures_in_a_row", ("ops",), 4),
    )  # fmt: skip
    by_kind = {reading.kind: (reading.subject, reading.value) for reading in found}
    assert by_kind == {
        AlertKind.REPOSITORY_FULL: ("repository:web1/system", 95.0),
        AlertKind.DEAD_LETTERS: ("dead_letters", 3),
        AlertKind.CHANNEL_FAILING: ("channel:ops", 4),
    }
