"""Who may read a secret file: a container that refuses the engine's own secrets never starts, one that takes all leaks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared import secret_files
from shared.errors import Permanent
from shared.secret_files import read_secret, read_secret_text

OURS = os.getegid()
FOREIGN = max({OURS, *os.getgroups()}) + 4711
ACCEPTED = {
    "ours alone": (0o600, OURS), "ours to read": (0o400, OURS), "of our group, a Kubernetes Secret": (0o440, OURS),
    "of our group, ours to write": (0o640, OURS), "a foreign group that reads nothing": (0o600, FOREIGN),
}  # fmt: skip
REFUSED = {
    "of a foreign group": (0o440, FOREIGN), "ours to write, of a foreign group": (0o640, FOREIGN),
    "our group writes": (0o660, OURS), "our group runs it": (0o650, OURS), "others read": (0o644, OURS),
    "others read alone": (0o404, OURS), "others write": (0o602, OURS), "others run it": (0o601, OURS),
    "a swarm secret in the wrong place": (0o444, OURS),
}  # fmt: skip


def secret(directory: Path, mode: int, group: int) -> Path:
    file = directory / "secret"
    file.write_text("canary\n")
    try:
        os.chown(file, -1, group)
    except PermissionError:
        pytest.skip("only root may give a file to a foreign group")
    file.chmod(mode)
    return file


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_service_starts_with_a_secret_that_only_it_can_read(tmp_path: Path, case: str) -> None:
    assert read_secret_text(secret(tmp_path, *ACCEPTED[case]), "token file") == "canary"


@pytest.mark.parametrize("case", REFUSED)
def test_a_secret_that_others_can_read_is_refused_and_not_told(tmp_path: Path, case: str) -> None:
    file = secret(tmp_path, *REFUSED[case])
    with pytest.raises(Permanent, match="can be read by others") as caught:
        read_secret(file, "token file")
    assert caught.value.code == "secret_file_exposed"
    assert str(file) in caught.value.remedy
    assert "canary" not in caught.value.message


def test_a_link_as_kubernetes_makes_it_is_judged_by_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "..2026").mkdir()
    secret(tmp_path / "..2026", 0o644, OURS)
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "token").symlink_to("..data/secret")
    with pytest.raises(Permanent, match="others"):
        read_secret(tmp_path / "token", "token file")
    (tmp_path / "..2026/secret").chmod(0o440)
    assert read_secret(tmp_path / "token", "token file") == b"canary\n"


@pytest.mark.parametrize(("options", "mode", "taken"), [
    ("ro", 0o444, True), ("rw", 0o444, False), ("ro", 0o644, True), ("ro", 0o664, False), ("ro", 0o446, False),
])  # fmt: skip
def test_a_swarm_secret_is_taken_from_its_read_only_mount_alone(
    tmp_path: Path, options: str, mode: int, *, taken: bool
) -> None:
    """For real: a mount of a namespace of its own, with the program in it."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    file = secret(tmp_path, mode, OURS)
    program = (
        "import sys; from pathlib import Path; from shared import secret_files as s\n"
        "s._ORCHESTRATORS = Path(sys.argv[1]).parent\n"
        "print(s.read_secret_text(Path(sys.argv[1]), 'token file'))"
    )
    # In a chroot `/` is no mount point: what is mounted shows outside the namespace then, so it is taken away again.
    script = """
        mount --make-rprivate / 2>/dev/null || :
        mount --bind "$1" "$1"
        trap 'umount -l "$1"' EXIT
        mount -o remount,bind,"$2" "$1"
        "$3" -c "$4" "$1/secret"
    """
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "unchanged", "sh", "-ec", script, "-", str(tmp_path), options, sys.executable,
         program],
        cwd=Path(secret_files.__file__).parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert file.exists()
    assert (done.returncode == 0, "canary" in done.stdout) == (taken, taken), done.stderr
    assert taken or "can be read by others" in done.stderr, done.stderr


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe"])
def test_a_secret_file_without_text_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(Permanent, match="holds no text") as caught:
        read_secret_text(file, "token file")
    assert caught.value.code == "secret_file_invalid"


def test_a_secret_file_that_is_not_there_or_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="no token file") as missing:
        read_secret(tmp_path / "none", "token file")
    assert missing.value.code == "secret_file_missing"
    with pytest.raises(Permanent, match="cannot be read") as unreadable:
        read_secret(tmp_path, "token file")
    assert unreadable.value.code == "secret_file_unreadable"
