from __future__ import annotations

import time
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.stats.collect.parse import parse_sample
from shared.domain.stats import Sample, human_duration
from shared.errors import Transient
from tests.harness.patience import WAIT
from tests.unit.services.stats.outputs import ALPINE, DEBIAN, RHEL7

ASKED = datetime.fromtimestamp(1795375841.9, UTC)
ANSWERED = ASKED + timedelta(seconds=0.6)
PERCENTAGES = [field.name for field in fields(Sample) if field.name.endswith("_percent")]


def parsed(output: str) -> Sample:
    return parse_sample(output, asked_at=ASKED, answered_at=ANSWERED)


def test_debian_is_read_whole() -> None:
    sample = parsed(DEBIAN)
    unknown = [field.name for field in fields(Sample) if getattr(sample, field.name) is None]
    assert unknown == []
    assert (sample.os_distribution, sample.os_version, sample.hostname) == ("Debian GNU/Linux", "12", "web1")
    assert (sample.cpu_cores, sample.cpu_model) == (2, "AMD EPYC 7763 64-Core Processor")
    assert sample.cpu_usage_percent == 60.0  # 60 busy of 100 ticks
    assert (sample.cpu_load_1, sample.load_per_core) == (1.61, 0.805)
    assert (sample.memory_total_mb, sample.memory_used_mb, sample.memory_percent) == (24106, 1102, 4.57)
    assert (sample.swap_total_mb, sample.swap_used_mb, sample.swap_percent) == (2048, 1024, 50.0)
    assert (sample.disk_total_gb, sample.disk_percent, sample.disk_mount_point) == (251.97, 25.95, "/")
    assert (sample.uptime_seconds, sample.uptime_human) == (14793, "4 h 6 min")
    assert sample.boot_time == ANSWERED - timedelta(seconds=14793)
    assert (sample.network_received_bytes, sample.network_sent_bytes) == (759953517, 1808027)
    assert (sample.disk_read_bytes, sample.disk_written_bytes) == (20797754 * 512, 27475360 * 512)
    assert (sample.pressure_cpu, sample.pressure_memory, sample.pressure_io) == (12.34, 0.0, 0.47)
    assert (sample.temperature_celsius, sample.reboot_pending, sample.failed_units) == (51.5, False, 1)
    assert sample.clock_offset_seconds == pytest.approx(-0.044, abs=0.002)


def test_mounts_are_listed_once_without_the_root_and_with_their_spaces() -> None:
    (mount,) = parsed(DEBIAN).mounts
    assert (mount.mount_point, mount.fs_type, mount.percent) == ("/srv/with a space", "btrfs", 90.0)
    assert mount.inodes_total is None  # btrfs counts none: unknown, not zero


def test_alpine_with_busybox_leaves_unknown_what_it_lacks_and_zero_at_zero() -> None:
    sample = parsed(ALPINE)
    assert (sample.os_distribution, sample.os_version, sample.architecture) == ("Alpine Linux", "3.20.3", "aarch64")
    assert (sample.cpu_usage_percent, sample.swap_percent, sample.cpu_load_1) == (0.0, 0.0, 0.0)
    assert (sample.disk_percent, sample.inodes_percent) == (10.81, 8.59)
    assert (sample.uptime_human, sample.network_sent_bytes, sample.disk_written_bytes) == ("0 min", 3400, 1600 * 512)
    for name in (
        "cpu_model", "ip_address", "pressure_cpu", "temperature_celsius", "reboot_pending", "failed_units",
        "clock_offset_seconds",
    ):  # fmt: skip
        assert getattr(sample, name) is None, name


def test_an_old_kernel_without_memavailable_and_a_full_disk() -> None:
    sample = parsed(RHEL7)
    assert (sample.memory_percent, sample.disk_percent, sample.inodes_percent) == (50.0, 100.0, 100.0)
    assert (sample.disk_free_gb, sample.cpu_usage_percent, sample.failed_units) == (0.0, 50.0, 0)
    assert (sample.network_received_bytes, sample.reboot_pending) == (100, True)  # the VLAN is not counted twice
    assert sample.ip_address == "fd00::7"


@pytest.mark.parametrize("output", ["", "Welcome!\n", DEBIAN.partition("@end")[0], "@end\n", "@cpu0\n\n@clock0\n"])
def test_what_is_not_a_whole_answer_is_refused(output: str) -> None:
    with pytest.raises(Transient) as refusal:
        parsed(output)
    assert refusal.value.code == "server_garbled"
    assert refusal.value.remedy


@given(
    st.sampled_from([DEBIAN, ALPINE, RHEL7]),
    st.lists(st.tuples(st.integers(0, 3000), st.text(max_size=30)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_garbage_in_the_sections_never_breaks_nor_leaves_the_bounds(
    output: str, cuts: list[tuple[int, str]], dice: object
) -> None:
    for at, text in cuts:
        output = output[:at] + text + output[at + len(text) :]
    try:
        sample = parsed(output)
    except Transient:
        return
    for name in PERCENTAGES:
        value = getattr(sample, name)
        assert value is None or 0 <= value <= 100
    for field in fields(Sample):
        value = getattr(sample, field.name)
        if isinstance(value, str):
            assert len(value) <= 200
            assert value.isprintable()
        if isinstance(value, int):
            assert abs(value) < 2**63


@given(st.integers(0, 10**9))
def test_a_duration_says_its_two_largest_units(seconds: int) -> None:
    text = human_duration(seconds)
    assert len(text.split()) in (2, 4)
    assert text.split()[0].isdigit()


def test_file_systems_that_were_measured_one_by_one_are_read_as_one_table() -> None:
    one = "\n@types\n{0} {2}\n\n@bytes\n{0} 1000 400 600 40% {1}\n\n@inodes\n{0} 100 50 50 50% {1}\n"
    table = (("overlay", "/", "overlay"), ("pool/my\\040data", "/srv/a  b", "zfs"), ("-", "/x", "-"))
    sections = "".join(one.format(device, point, kind) for device, point, kind in table).replace(
        "pool/my\\040data 1000", "pool/my data 1000"
    )
    sample = parsed("@cpu0\n\n" + sections + "\n@end\n")
    assert (sample.disk_percent, sample.inodes_percent) == (40.0, 50.0)
    assert [(m.mount_point, m.device, m.fs_type, m.inodes_percent) for m in sample.mounts] == [
        ("/srv/a  b", "pool/my data", "zfs", 50.0),
        ("/x", "-", None, 50.0),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "1 " * 2000,
        "a" + " " * 4000,
        "- " * 1200 + "/",
        "1 /" * 800,
        "a 1 1 1 1% " * 300,
        "9" * 4096,
        "x 1 2 3 4% /" + "\udcff" * 500,
    ],
)
def test_a_table_made_to_be_slow_is_read_in_no_time(line: str) -> None:
    began = time.monotonic()
    sample = parsed(f"@cpu0\n\n@bytes\n{(line + chr(10)) * 900}\n@types\n{line * 3}\n@end\n")
    assert time.monotonic() - began < WAIT / 8
    assert all(mount.mount_point.isprintable() for mount in sample.mounts)


def test_an_endless_answer_is_no_answer() -> None:
    with pytest.raises(Transient):
        parsed("@cpu0\n" + "x" * 5_000_000 + "\n@end\n")


@pytest.mark.parametrize("kib", [2**53, 2**54, 2**63 - 1, 2**64])
@pytest.mark.parametrize("point", ["/", "/mnt/share"])
def test_a_file_system_that_says_it_is_larger_than_any_column_holds_costs_its_own_figures_alone(
    kib: int, point: str
) -> None:
    """A share of 2**64 bytes, as some virtual file systems say, was an answer that could not be stored at all."""
    rows = f"/dev/a 1000 400 600 40% /srv\nshare {kib} 0 {kib} 0% {point}\n"
    sample = parsed(f"@cpu0\n\n@uname\n5.10\n@bytes\n{rows}\n@end\n")
    assert [mount.mount_point for mount in sample.mounts] == ["/srv"]
    assert (sample.kernel_version, sample.disk_total_gb) == ("5.10", None)
