"""The probe under several shells and toolboxes of this machine, in a strange locale, without a login's comforts."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.stats.parse import parse_sample
from shared.domain.stats import Sample

PROBE = (Path(__file__).resolve().parents[3] / "services/stats/probe.sh").read_text()
EVERYWHERE = (
    "kernel_version", "hostname", "architecture", "cpu_cores", "cpu_load_1", "cpu_usage_percent", "memory_percent",
    "swap_percent", "disk_total_gb", "disk_percent", "uptime_seconds", "ip_address", "network_received_bytes",
)  # fmt: skip


def probed(argv: list[str], **environment: str) -> Sample:
    asked_at = datetime.now(UTC)
    variables = {"PATH": os.environ["PATH"], "SSH_CONNECTION": "192.0.2.9 5 192.0.2.1 22"} | environment
    done = subprocess.run(argv, input=PROBE, env=variables, capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == ""
    return parse_sample(done.stdout, asked_at=asked_at, answered_at=datetime.now(UTC))


def unknown(sample: Sample) -> list[str]:
    return [name for name in EVERYWHERE if getattr(sample, name) is None]


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_any_posix_shell_answers(shell: str) -> None:
    sample = probed([shell, "-s"])
    assert unknown(sample) == []
    assert sample.ip_address == "192.0.2.1"
    assert sample.clock_offset_seconds is not None
    assert abs(sample.clock_offset_seconds) < 1


def test_busybox_as_on_alpine_answers(tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    assert busybox, "no busybox"
    subprocess.run([busybox, "--install", "-s", str(tmp_path)], check=True)
    (tmp_path / "timeout").unlink(missing_ok=True)
    sample = probed([busybox, "sh", "-s"], PATH=str(tmp_path))
    assert unknown(sample) == []


def test_a_foreign_locale_changes_nothing() -> None:
    plain, foreign = probed(["sh", "-s"]), probed(["sh", "-s"], LANG="fr_FR.UTF-8", LC_ALL="ar_EG.UTF-8")
    assert (plain.disk_total_gb, plain.cpu_cores) == (foreign.disk_total_gb, foreign.cpu_cores)
    assert unknown(foreign) == []


def test_nobody_without_rights_or_a_home_is_enough() -> None:
    if os.geteuid() != 0:
        pytest.skip("dropping rights needs root")
    sample = probed(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-s"], HOME="/nonexistent")
    assert unknown(sample) == []
