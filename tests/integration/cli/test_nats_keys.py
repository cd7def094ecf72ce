"""`borgfleet nats-keys`: seeds that only their owner reads, and that a second call leaves alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from borgfleet.accounts import USERS
from borgfleet.seeds import KEYS, make_seeds, seed_file
from shared.errors import Permanent
from tests.harness.untraced import untraced


def call(directory: Path) -> subprocess.CompletedProcess[str]:
    argv = [str(Path(sys.executable).parent / "borgfleet"), "nats-keys", str(directory)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=untraced({}))


def test_each_user_has_a_seed_of_its_own_and_no_seed_is_shown(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    done = call(directory)
    assert done.returncode == 0, done.stderr
    seeds = {user: seed_file(directory, user) for user in USERS}
    assert len({file.read_text() for file in seeds.values()}) == len(USERS)
    assert {file.stat().st_mode & 0o777 for file in seeds.values()} == {0o600}
    keys = (directory / KEYS).read_text()
    for file in seeds.values():
        assert file.read_text().startswith("SU")
        assert file.read_text() not in done.stdout + done.stderr + keys
    assert len(keys.splitlines()) == len(USERS)


def test_a_second_call_keeps_what_is_there_and_makes_what_was_taken_away(tmp_path: Path) -> None:
    make_seeds(tmp_path)
    before = {user: seed_file(tmp_path, user).read_text() for user in USERS}
    keys = (tmp_path / KEYS).read_text()
    assert make_seeds(tmp_path) == []
    assert (tmp_path / KEYS).read_text() == keys
    seed_file(tmp_path, "api").unlink()
    assert make_seeds(tmp_path) == [seed_file(tmp_path, "api")]
    after = {user: seed_file(tmp_path, user).read_text() for user in USERS}
    assert {user for user in USERS if before[user] != after[user]} == {"api"}


@pytest.mark.parametrize(("content", "mode", "code"), [("nonsense", 0o600, "nats_seed_invalid"),
                                                       ("", 0o600, "nats_seed_invalid"),
                                                       ("x", 0o644, "secret_file_exposed")])  # fmt: skip
def test_a_file_that_is_no_seed_is_neither_used_nor_overwritten(
    tmp_path: Path, content: str, mode: int, code: str
) -> None:
    file = seed_file(tmp_path, "stats")
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(Permanent) as refusal:
        make_seeds(tmp_path)
    assert refusal.value.code == code
    assert file.read_text() == content


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = call(tmp_path / "file" / "secrets")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
