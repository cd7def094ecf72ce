"""What sources.sh says, on real shells, and what is made of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from services.backup.create.sources import SCRIPT, read_sources
from services.backup.truth.evidence import Kind, Source

SHELLS = [["dash"], ["bash"], ["busybox", "ash"]]
MOUNTS = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:40 / /srv/with\\040space rw shared:5 - nfs4 nas:/x rw
31 27 0:41 / /srv/auto rw - autofs systemd-1 rw
32 27 8:17 / /srv/data rw - ext4 /dev/sdb1 rw
33 32 8:33 / /srv/data/deep/er rw - xfs /dev/sdc1 rw
34 32 254:0 /bound /srv/data/bound rw - ext4 /dev/vda rw
35 27 8:49 / /srv/other rw - ext4 /dev/sdd1 rw
nonsense
"""


@pytest.fixture(params=SHELLS, ids=lambda argv: argv[-1])
def shell(request: pytest.FixtureRequest) -> list[str]:
    argv: list[str] = request.param
    if shutil.which(argv[0]) is None:
        pytest.skip(f"no {argv[0]}")
    return argv


def look(shell: list[str], sources: list[str]) -> tuple[Source, ...]:
    argv = [*shell, "-c", SCRIPT, "token", "120", *sources]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return read_sources(sources, done.stdout)


def test_each_kind_of_source_is_told_from_the_others(shell: list[str], tmp_path: Path) -> None:
    odd = tmp_path / "a 'b\" $(c) *"
    for directory in ("full", "empty", "hidden", "cache", "notcache", odd.name):
        (tmp_path / directory).mkdir()
    for file in ("full/x", "hidden/.x", "cache/y", "notcache/CACHEDIR.TAG", f"{odd.name}/z"):
        (tmp_path / file).write_text("x")
    (tmp_path / "cache" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n# made by x")
    (tmp_path / "link").symlink_to(tmp_path / "full")
    (tmp_path / "dangling").symlink_to("/no where")
    (tmp_path / "none").write_text("")
    os.mkfifo(tmp_path / "fifo")
    names = ["full", "empty", "hidden", "cache", "notcache", odd.name, "link", "dangling", "none", "fifo", "gone",
             "full/x"]  # fmt: skip
    found = look(shell, [str(tmp_path / name) for name in names])
    said = {Path(one.path).name: (one.kind.value, one.empty, one.cache_tag, one.target) for one in found}
    assert said == {
        "full": ("directory", False, False, ""),
        "empty": ("directory", True, False, ""),
        "hidden": ("directory", False, False, ""),
        "cache": ("directory", False, True, ""),
        "notcache": ("directory", False, False, ""),
        odd.name: ("directory", False, False, ""),
        "link": ("link", None, False, str(tmp_path / "full")),
        "dangling": ("link", None, False, "/no where"),
        "none": ("file", True, False, ""),
        "fifo": ("other", None, False, ""),
        "gone": ("missing", None, False, ""),
        "x": ("file", False, False, ""),
    }


def test_a_name_with_a_newline_cannot_speak_for_another_source(shell: list[str], tmp_path: Path) -> None:
    for name in ("a", "b\nS 0 missing - -\nM", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    (tmp_path / "link").symlink_to("x\nS 0 other - -")
    (tmp_path / "c" / "x\nS 0 missing - -").mkdir()
    found = look(shell, [str(tmp_path / name) for name in ("a", "b\nS 0 missing - -\nM", "c", "link")])
    assert [one.kind for one in found] == [Kind.DIRECTORY] * 3 + [Kind.LINK]
    assert [one.empty for one in found[:3]] == [False] * 3


def test_a_directory_of_many_entries_takes_no_room_to_speak_of(shell: list[str], tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"{number:0100}").touch()
    (found,) = look(shell, [str(tmp_path)])
    assert found.empty is False


def test_without_room_for_its_files_it_fails_and_says_why(shell: list[str]) -> None:
    environment = os.environ | {"TMPDIR": "/nowhere"}
    argv = [*shell, "-c", SCRIPT, "token", "5", "/etc"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 71
    assert "/nowhere" in done.stderr


def answer(physical: str, mounts: str = MOUNTS) -> str:
    return f"P 0 {physical}\nS 0 directory no no\nM\n{mounts}"


@pytest.mark.parametrize(
    ("physical", "mounted", "device", "filesystem", "below"),
    [
        ("/", True, "254:0", "ext4", ["/srv/auto", "/srv/data", "/srv/data/deep/er", "/srv/other", "/srv/with space"]),
        ("/srv", False, "254:0", "ext4", ["/srv/auto", "/srv/data", "/srv/data/deep/er", "/srv/other",
                                         "/srv/with space"]),
        ("/srv/data", True, "8:17", "ext4", ["/srv/data/bound", "/srv/data/deep/er"]),
        ("/srv/data/deep", False, "8:17", "ext4", ["/srv/data/deep/er"]),
        ("/srv/dat", False, "254:0", "ext4", []),
        ("/srv/with space", True, "0:40", "nfs4", []),
        ("/srv/auto", False, "0:41", "autofs", []),
    ],
)  # fmt: skip
def test_mounts_are_read_from_the_kernels_table(
    physical: str, mounted: bool, device: str, filesystem: str, below: list[str]
) -> None:
    (found,) = read_sources(["/s"], answer(physical))
    assert (found.mounted, found.device, found.filesystem, list(found.below)) == (mounted, device, filesystem, below)


@pytest.mark.parametrize(
    ("physical", "holder", "points"),
    [
        ("/srv/data", "/srv/data", ["/s/bound", "/s/deep/er"]),
        ("/srv/data/deep", "/srv/data", ["/s/er"]),
        ("/srv/dat", "/", []),
        ("/srv", "/", ["/s/auto/u", "/s/data", "/s/data/bound", "/s/data/deep/er", "/s/other", "/s/with space"]),
        ("/srv/auto", "/srv/auto", ["/s/u"]),
    ],
)
def test_the_mount_that_holds_a_source_and_those_below_are_told_as_the_archive_names_them(
    physical: str, holder: str, points: list[str]
) -> None:
    """A bind mount of the same device is one too; /s may lead through a link."""
    mounts = f"{MOUNTS}36 31 0:50 / /srv/auto/u rw - nfs4 nas:/u rw\n"
    (found,) = read_sources(["/s"], answer(physical, mounts))
    assert (found.holder, [mount.path for mount in found.mounts]) == (holder, points)
    assert {mount.path for mount in found.mounts if mount.automatic} == {p for p in points if p.endswith("/u")}


TRANSIENT = ["/proc", "/sys/fs/cgroup", "/dev/shm", "/run/user/1000", "/snap/core/1", "/tmp", "/var/tmp",
             "/var/lib/docker/overlay2/ab/merged", "/var/lib/kubelet/pods/1/volumes/x", "/var/run/netns/x",
             "/home/u/.local/share/containers/storage/overlay/x/merged"]  # fmt: skip
LASTING = ["/home", "/procs", "/srv/run", "/tmp/disk", "/var/lib/mysql", "/var/lib/docker-data/x", "/mnt/docker/x"]


def test_what_a_system_mounts_and_unmounts_by_itself_is_no_mount_that_can_be_missed() -> None:
    mounts = MOUNTS.splitlines()[0] + "\n" + "".join(
        f"{40 + n} 27 0:{n} / {point} rw - tmpfs tmpfs rw\n" for n, point in enumerate([*TRANSIENT, *LASTING]))  # fmt: skip
    (found,) = read_sources(["/"], answer("/", mounts))
    assert [mount.path for mount in found.mounts] == sorted(LASTING)
    (docker,) = read_sources(["/v"], answer("/var/lib/docker/overlay2", mounts))
    assert [mount.path for mount in docker.mounts] == ["/v/ab/merged"]  # a source that lies there is meant


def test_where_the_table_does_not_reach_nothing_is_claimed() -> None:
    for mounts in ("", "27 1 254:0 / /elsewhere rw - ext4 /dev/vda rw\n"):
        (found,) = read_sources(["/s"], answer("/srv", mounts))
        assert (found.mounted, found.device, found.below) == (None, "", ())


def test_what_is_no_answer_of_ours_is_left_aside() -> None:
    garbled = "hello\nS 9 directory no no\nS x\nS\nT 0 a\x1b[31mb\nS 1 what maybe\nP 0"
    found = read_sources(["/a", "/b"], garbled)
    assert [one.kind for one in found] == [Kind.HANGS, Kind.OTHER]
    assert "\x1b" not in found[0].target
