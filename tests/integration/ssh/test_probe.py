"""The probe under several shells and toolboxes of this machine, in a strange locale, without a login's comforts."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.stats.collect.parse import parse_sample
from shared.domain.stats import Sample
from tests.harness import hung_mount
from tests.harness.patience import WAIT

PROBE = (Path(__file__).resolve().parents[3] / "services/stats/collect/probe.sh").read_text()
PATIENT = re.sub(r"\blimit \d+ ", f"limit {WAIT:.0f} ", PROBE)
"""With its own limits a slow machine would not answer each question in time."""
EVERYWHERE = (
    "kernel_version", "hostname", "architecture", "cpu_cores", "cpu_load_1", "cpu_usage_percent", "memory_percent",
    "swap_percent", "disk_total_gb", "disk_percent", "uptime_seconds", "ip_address", "network_received_bytes",
)  # fmt: skip
SHELLS = {"dash": ["dash"], "bash": ["bash"], "busybox": ["busybox", "sh"]}


def answered(argv: list[str], probe: str = PROBE, **environment: str) -> str:
    variables = {"PATH": os.environ["PATH"], "SSH_CONNECTION": "192.0.2.9 5 192.0.2.1 22"} | environment
    done = subprocess.run(argv, input=probe, env=variables, capture_output=True, text=True, check=True, timeout=WAIT)
    assert done.stderr == ""
    return done.stdout


def sections(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("@")]


def probed(argv: list[str], probe: str = PATIENT, **environment: str) -> Sample:
    asked_at = datetime.now(UTC)
    output = answered(argv, probe, **environment)
    return parse_sample(output, asked_at=asked_at, answered_at=datetime.now(UTC))


def unknown(sample: Sample) -> list[str]:
    return [name for name in EVERYWHERE if getattr(sample, name) is None]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    argv = SHELLS[request.param]
    assert shutil.which(argv[0]), f"no {argv[0]}"
    return [*argv, "-s"]


def test_any_posix_shell_answers(shell: list[str]) -> None:
    sample = probed(shell)
    assert unknown(sample) == []
    assert sample.ip_address == "192.0.2.1"
    assert sample.clock_offset_seconds is not None
    assert abs(sample.clock_offset_seconds) < WAIT


def test_busybox_as_on_alpine_answers(tmp_path: Path) -> None:
    busybox = only_busybox(tmp_path)
    sample = probed([busybox, "sh", "-s"], PATH=str(tmp_path))
    assert unknown(sample) == []


def only_busybox(directory: Path, *without: str) -> str:
    busybox = shutil.which("busybox")
    assert busybox, "no busybox"
    subprocess.run([busybox, "--install", "-s", str(directory)], check=True)
    for tool in without:
        (directory / tool).unlink()
    return busybox


def test_a_foreign_locale_changes_nothing() -> None:
    plain, foreign = probed(["sh", "-s"]), probed(["sh", "-s"], LANG="fr_FR.UTF-8", LC_ALL="ar_EG.UTF-8")
    assert (plain.disk_total_gb, plain.cpu_cores) == (foreign.disk_total_gb, foreign.cpu_cores)
    assert unknown(foreign) == []


def test_nobody_without_rights_or_a_home_is_enough() -> None:
    if os.geteuid() != 0:
        pytest.skip("dropping rights needs root")
    sample = probed(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-s"], HOME="/nonexistent")
    assert unknown(sample) == []


def test_a_root_that_is_no_mount_point_counts(shell: list[str], tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a root directory of its own needs root")
    root = tmp_path / "root"
    script = 'mount --make-rprivate / && cd "$0" && for d in *; do mount --rbind "/$d" "$d"; done && exec chroot . "$@"'
    for directory in ("bin", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "usr"):
        if Path("/", directory).is_dir():
            (root / directory).mkdir(parents=True)
    sample = probed(["unshare", "-m", "sh", "-c", script, str(root), *shell])
    assert unknown(sample) == []
    assert sample.disk_mount_point == "/"


# -- which file systems -----------------------------------------------------------------------------------

FakeDf = Callable[..., dict[str, str]]
_DF = """#!/bin/sh
for point; do :; done
case $point in {hangs}) {hang} ;; esac
echo 'Filesystem 1024-blocks Used Available Capacity Mounted on'
while IFS='|' read -r at device; do
    [ "$at" = "$point" ] && echo "$device 1000 400 600 40% $point"
done <<'EOF'
{table}
EOF
"""


@pytest.fixture
def df(tmp_path: Path) -> FakeDf:
    """A df of a table of mount points, and an environment that has it; one of them may hang."""
    counter = itertools.count()

    def made(table: dict[str, str], hangs: str = "/nothing", hang: str = "exec sleep 1000") -> dict[str, str]:
        directory = tmp_path / f"bin{next(counter)}"
        directory.mkdir()
        lines = "\n".join(f"{point}|{device}" for point, device in table.items())
        (directory / "df").write_text(_DF.format(table=lines, hangs=hangs, hang=hang))
        (directory / "df").chmod(0o755)
        return {"PATH": f"{directory}:{os.environ['PATH']}"}

    return made


def with_mounts(tmp_path: Path, *lines: str, limit: float = WAIT) -> str:
    """Return the probe with a table of mounts; what it names under BASE becomes a directory."""
    table = tmp_path / "mounts"
    table.write_text("".join(line.replace("BASE", str(tmp_path)) + " rw 0 0\n" for line in lines))
    for line in lines:
        point = line.replace("BASE", str(tmp_path)).split(" ")[1].encode().decode("unicode_escape")
        if point.startswith(str(tmp_path)):
            Path(point).mkdir(parents=True, exist_ok=True)
    return quick(PROBE.replace("/proc/self/mounts", str(table)), limit)


HUNG = 10
"""Seconds that the probe gives each question where one of them hangs, and the test waits for just that."""


def quick(probe: str, limit: float = WAIT) -> str:
    """Return the probe without its rest between two looks at the processors, and with other limits.

    What answers must not be cut off by a slow machine; only where something hangs each question's own limit is short.
    """
    own = re.sub(r"\blimit (?:2|4|5|10) ", f"limit {limit:.0f} ", probe)
    assert own.count(f"limit {limit:.0f} ") == 6
    return own.replace("limit 12 ", f"limit {WAIT:.0f} ").replace("sleep 0.5", "sleep 0")


def measured(sample: Sample, tmp_path: Path) -> dict[str, tuple[str, str | None]]:
    return {m.mount_point.replace(str(tmp_path), "BASE"): (m.device, m.fs_type) for m in sample.mounts}


CASES: dict[str, tuple[list[str], str, dict[str, tuple[str, str]]]] = {
    "zfs": (["rpool/ROOT / zfs", "rpool/data BASE/data zfs", "rpool/data/vm BASE/data/vm zfs"], "zfs",
            {"BASE/data": ("rpool/data", "zfs"), "BASE/data/vm": ("rpool/data/vm", "zfs")}),
    "lxc on zfs": (["rpool/subvol-1 / zfs", "rpool/subvol-2 BASE/srv zfs", "lxcfs /proc/uptime fuse.lxcfs"], "zfs",
                   {"BASE/srv": ("rpool/subvol-2", "zfs")}),
    "overlay root, overlays of containers": (["overlay / overlay", "overlay BASE/docker/merged overlay", "/dev/sdb1 BASE/v xfs"],
                                             "overlay", {"BASE/v": ("/dev/sdb1", "xfs")}),
    "btrfs subvolumes": (["/dev/sda1 / btrfs", "/dev/sda1 /home btrfs", "/dev/sdb BASE/longer btrfs", "/dev/sdb BASE/b btrfs",
                          "/dev/sdb BASE/b/sub btrfs"], "btrfs", {"BASE/b": ("/dev/sdb", "btrfs")}),
    "bind mounts": (["/dev/sda1 / ext4", "/dev/sdb1 BASE/srv/www ext4", "/dev/sdb1 BASE/x ext4"], "ext4",
                    {"BASE/x": ("/dev/sdb1", "ext4")}),
    "virtiofs and 9p": (["/dev/vda / ext4", "share BASE/s virtiofs", "none BASE/n1 9p", "none BASE/n2 9p"], "ext4",
                        {"BASE/s": ("share", "virtiofs"), "BASE/n1": ("none", "9p"), "BASE/n2": ("none", "9p")}),
    "nothing of the network or of memory": (["/dev/vda / ext4", "nas:/x BASE/n nfs4", "//nas/x BASE/c cifs", "tmpfs BASE/t tmpfs",
                                             "u@h: BASE/f fuse.sshfs", "/dev/loop0 BASE/q squashfs", "/dev/sr0 BASE/i iso9660"], "ext4", {}),
    "spaces, a tab and a backslash": ([r"/dev/vda / ext4", r"/dev/sdb1 BASE/with\040a\011tab\134 ext4"], "ext4",
                                      {"BASE/with a\ttab\\": ("/dev/sdb1", "ext4")}),
    "a space in a device": ([r"/dev/vda / ext4", r"pool/my\040data BASE/d zfs"], "ext4", {"BASE/d": ("pool/my data", "zfs")}),
    "a root that was mounted over": (["rootfs / rootfs", "/dev/vda / ext4"], "ext4", {}),
    "a table that is no table": (["x", "", "/dev/vda / ext4"], "ext4", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_local_file_system_is_measured_once_and_the_root_always(
    name: str, shell: list[str], tmp_path: Path, df: FakeDf
) -> None:
    lines, root_type, wanted = CASES[name]
    probe = with_mounts(tmp_path, *[line for line in lines if len(line.split()) > 1])
    if name == "a table that is no table":
        (tmp_path / "mounts").write_text("x\n\n/dev/vda / ext4 rw 0 0\nx")
    points = {key.replace("BASE", str(tmp_path)): device for key, (device, _) in wanted.items()}
    environment = df(points | {"/": "root-device"})
    output = answered(shell, probe, **environment)
    sample = parse_sample(output, asked_at=datetime.now(UTC), answered_at=datetime.now(UTC))
    assert sample.disk_percent == 40.0
    assert measured(sample, tmp_path) == wanted
    assert f" {root_type}\n" in output


@pytest.mark.parametrize("hang", ["exec sleep 1000", "trap '' TERM; sleep 1000; sleep 1000"])
def test_a_mount_that_hangs_costs_only_its_own_figures(hang: str, shell: list[str], tmp_path: Path, df: FakeDf) -> None:
    lines = ["/dev/vda / ext4", "/dev/sdb BASE/good xfs", "/dev/sdc BASE/hung xfs", "/dev/sdd BASE/z xfs"]
    probe = with_mounts(tmp_path, *lines, limit=HUNG)
    points = {f"{tmp_path}/{name}": f"/dev/sd{name}" for name in ("good", "hung", "z")}
    began = time.monotonic()
    sample = probed(shell, probe, **df(points | {"/": "root"}, hangs=f"{tmp_path}/hung", hang=hang))
    assert set(measured(sample, tmp_path)) == {"BASE/good", "BASE/z"}
    assert sample.disk_percent == 40.0
    assert time.monotonic() - began < WAIT


def test_a_mount_that_hangs_costs_only_its_own_figures_where_there_is_no_timeout(tmp_path: Path, df: FakeDf) -> None:
    (tmp_path / "box").mkdir()
    busybox = only_busybox(tmp_path / "box", "timeout", "df")
    probe = with_mounts(tmp_path, "/dev/vda / ext4", "/dev/sdb BASE/good xfs", "/dev/sdc BASE/hung xfs", limit=HUNG)
    points = {"/": "root", f"{tmp_path}/good": "/dev/sdb", f"{tmp_path}/hung": "/dev/sdc"}
    path = df(points, hangs=f"{tmp_path}/hung")["PATH"].split(":")[0] + f":{tmp_path}/box"
    sample = probed([busybox, "sh", "-s"], probe.replace(":/usr/sbin:/sbin:/usr/bin:/bin", ""), PATH=path)
    assert set(measured(sample, tmp_path)) == {"BASE/good"}
    assert sample.disk_percent == 40.0


def without_timeout(directory: Path, probe: str) -> tuple[list[str], str, str]:
    """Return a shell, the probe and a PATH for a server that has busybox's tools and no `timeout`."""
    directory.mkdir()
    busybox = only_busybox(directory, "timeout")
    return [busybox, "sh", "-s"], probe.replace(":/usr/sbin:/sbin:/usr/bin:/bin", ""), str(directory)


@pytest.mark.skipif(bool(hung_mount.why_not()), reason=hung_mount.why_not())
@pytest.mark.parametrize("timeout", ["a timeout", "no timeout"])
def test_a_mount_that_really_hangs_costs_only_its_own_figures_and_leaves_nothing_that_waits_for_it(
    timeout: str, shell: list[str], tmp_path: Path
) -> None:
    """Before its end the probe's own pipe must close: as long as one process of it hangs, it stays open."""
    probe, path = with_mounts(tmp_path, "/dev/vda / ext4", "/dev/sdc BASE/hung xfs", limit=HUNG), os.environ["PATH"]
    if timeout == "no timeout":
        shell, probe, path = without_timeout(tmp_path / "box", probe)
    began = time.monotonic()
    output = answered(hung_mount.within(tmp_path / "hung", shell), probe, PATH=path)
    took = time.monotonic() - began
    sample = parse_sample(output, asked_at=datetime.now(UTC), answered_at=datetime.now(UTC))
    assert (sample.mounts, unknown(sample)) == ((), [])
    assert sections(output)[-3:] == ["@cpu1", "@clock1", "@end"]
    assert took < WAIT


# -- tools that hang ---------------------------------------------------------------------------------------

# What each tool tells when all is well, and what is unknown when it hangs.
HANGING = {"needs-restarting": "reboot_pending", "systemctl": "failed_units", "df": "disk_percent"}
WAYS = ("exec sleep 1000", "trap '' TERM; exec sleep 1000", "trap '' TERM; sleep 1000; sleep 1000")
CASES_OF_HANGING = [
    # Without `timeout` only the tool itself can be ended; what it started is left out of the answer after 12 seconds.
    (timeout, hangs, way)
    for timeout, ways in (("a timeout", WAYS), ("no timeout", WAYS[:2]))
    for hangs, way in (("", ""), *((tool, way) for tool in HANGING for way in ways))
]


def with_tools(directory: Path, hangs: str, way: str) -> str:
    """Make tools one of which hangs, and return the probe that knows a system with them."""
    directory.mkdir(exist_ok=True)
    says = {"needs-restarting": "exit 1", "systemctl": "echo a.service", "df": "echo 'x 1000 400 600 40% /'"}
    for name, answer in says.items():
        (directory / name).unlink(missing_ok=True)
        (directory / name).write_text(f"#!/bin/sh\n{way if name == hangs else answer}\n")
        (directory / name).chmod(0o755)
    (directory / "mounts").write_text("/dev/vda / ext4 rw 0 0\n")
    probe = PROBE.replace("/proc/self/mounts", f"{directory}/mounts").replace("/run/systemd/system", str(directory))
    for told in ("/run/reboot-required", "/var/run/reboot-required", "/usr/share/update-notifier", "/etc/kernel"):
        probe = probe.replace(told, f"{directory}/nothing")
    return quick(probe, HUNG if hangs else WAIT)


@pytest.mark.parametrize(("timeout", "hangs", "way"), CASES_OF_HANGING)
def test_a_tool_that_hangs_costs_only_its_own_answer(timeout: str, hangs: str, way: str, tmp_path: Path) -> None:
    shell, path = ["sh", "-s"], f"{tmp_path / 'box'}:{os.environ['PATH']}"
    if timeout == "no timeout":
        shell, _, path = without_timeout(tmp_path / "box", "")
    probe = with_tools(tmp_path / "box", hangs, way)
    if timeout == "no timeout":
        probe = probe.replace(":/usr/sbin:/sbin:/usr/bin:/bin", "")
    began = time.monotonic()
    sample = probed(shell, probe, PATH=path)
    took = time.monotonic() - began
    told = {"reboot_pending": True, "failed_units": 1, "disk_percent": 40.0}
    found = {name: getattr(sample, name) for name in told}
    assert found == told | ({HANGING[hangs]: None} if hangs else {})
    assert took < WAIT


# -- whether it has to be started anew ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "pending"),
    [("exit 0", False), ("exit 1", True), ("exit 2", None), ("exit 3", None), ("exit 124", None), ("exit 127", None),
     ("kill -9 $$", None), ("echo 'Reboot is required'; exit 0", False), ("cat; exit 1", True), ("exec sleep 1000", None)],
)  # fmt: skip
def test_only_a_clear_answer_says_that_a_reboot_is_needed(
    answer: str, pending: bool | None, shell: list[str], tmp_path: Path
) -> None:
    tool = tmp_path / "needs-restarting"
    tool.write_text(f"#!/bin/sh\n{answer}\n")
    tool.chmod(0o755)
    probe = PROBE
    for told in (
        "/run/reboot-required",
        "/var/run/reboot-required",
        "/usr/share/update-notifier",
        "/etc/kernel/postinst.d",
    ):
        probe = probe.replace(told, f"{tmp_path}/nothing")
    limit = HUNG if "sleep" in answer else WAIT
    sample = probed(shell, quick(probe, limit), PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert sample.reboot_pending is pending


@pytest.mark.parametrize(
    ("there", "pending"), [((), None), (("tool",), False), (("tool", "file"), True), (("file",), True)]
)
def test_debian_is_asked_by_its_file_and_answers_no_only_where_somebody_would_write_it(
    there: tuple[str, ...], pending: bool | None, shell: list[str], tmp_path: Path
) -> None:
    probe = PROBE.replace("needs-restarting", "no-such-tool").replace("/run/reboot-required", f"{tmp_path}/file")
    probe = probe.replace(f"/var{tmp_path}/file", f"{tmp_path}/file").replace(
        "/etc/kernel/postinst.d", f"{tmp_path}/none"
    )
    probe = probe.replace("/usr/share/update-notifier/notify-reboot-required", f"{tmp_path}/tool")
    for name in there:
        (tmp_path / name).touch()
    assert probed(shell, quick(probe)).reboot_pending is pending
