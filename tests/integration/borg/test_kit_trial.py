"""`borgfleet recovery-kit test` opens each repository by the kit alone, says what it does not open, and changes nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from borgfleet import kit_trial
from borgfleet.cli.app import app
from borgfleet.kit_trial import Tried, try_kit
from shared.kit.contents import Kit
from tests.integration.borg.test_kit_by_hand import (
    BORGS,
    PASSPHRASE,
    Hand,
    empty_config,
    other_passphrase,
    untouched,
    without_config,
    without_key,
)

BORG = str(BORGS["1.4"])


@pytest.fixture
def hand(tmp_path: Path) -> Hand:
    return Hand(tmp_path, BORGS["1.4"])


def state(hand: Hand) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in hand.repository.rglob("*") if file.is_file()}


def tried(hand: Hand) -> list[Tried]:
    return list(try_kit(hand.kit, "node1", BORG))


@pytest.mark.parametrize("harm", [untouched, without_key, without_config, empty_config, other_passphrase])
def test_a_kit_opens_what_lost_its_key_and_changes_nothing(hand: Hand, harm: Callable[[Hand], None]) -> None:
    harm(hand)
    before = state(hand)
    away, here = tried(hand)
    assert (away.opened, away.text) == (None, "on node node2: try it there")
    assert (here.opened, "1 archives" in here.text, "came back whole" in here.text) == (True, True, True), here
    assert state(hand) == before


def wrong_passphrase(hand: Hand) -> None:
    hand.kit = replace(hand.kit, repositories=(replace(hand.kit.repositories[1], passphrase="another"),))


def of_another(hand: Hand) -> None:
    other = hand.directory / "other"
    hand.tool("init", "--encryption=repokey", str(other))
    hand.repository.rename(hand.directory / "aside")
    other.rename(hand.repository)


def gone(hand: Hand) -> None:
    hand.repository.rename(hand.directory / "aside")


def damaged(hand: Hand) -> None:
    largest = max((hand.repository / "data").rglob("*"), key=lambda file: file.stat().st_size if file.is_file() else 0)
    content = bytearray(largest.read_bytes())
    for at in range(200, len(content), 500):
        content[at] ^= 0xFF
    largest.write_bytes(content)


def half_a_key(hand: Hand) -> None:
    one = hand.kit.repositories[1]
    hand.kit = replace(hand.kit, repositories=(replace(one, key=one.key[:300]),))


WRONG: dict[str, tuple[Callable[[Hand], None], str]] = {
    "the passphrase is another": (wrong_passphrase, "passphrase"),
    "another repository is there": (of_another, "another repository is there"),
    "nothing is there": (gone, "not there"),
    "its data is damaged": (damaged, ""),
    "half a key": (half_a_key, ""),
}


@pytest.mark.parametrize("which", WRONG)
def test_what_a_kit_does_not_open_is_said(hand: Hand, which: str) -> None:
    harm, why = WRONG[which]
    harm(hand)
    *_, here = tried(hand)
    assert here.opened is False
    assert here.text
    assert why in here.text
    assert PASSPHRASE not in here.text


def test_one_that_changes_while_it_is_read_is_read_again(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = kit_trial.mirror, list[int]()

    def once(repository: Path, view: Path, config: str) -> None:
        seen.append(1)
        if len(seen) == 1:
            raise FileNotFoundError("a segment was compacted")
        real(repository, view, config)

    monkeypatch.setattr(kit_trial, "mirror", once)
    assert [one.opened for one in tried(hand)] == [None, True]
    assert len(seen) == 2


def test_the_command_tells_each_and_ends_with_a_status(hand: Hand, tmp_path: Path) -> None:
    hand.seal()
    kit, identity = hand.home / "kit.age", hand.home / "identity.txt"
    identity.chmod(0o600)
    argv = ["recovery-kit", "test", str(kit), "--identity", str(identity), "--data-dir", str(tmp_path / "empty")]
    done = CliRunner(env={"BORGFLEET_BACKUP__BORG": BORG}).invoke(app, argv)
    assert done.exit_code == 0, done.output
    assert "ok       web1 - system" in done.output
    assert "elsewhere web2 - system" in done.output
    assert "could not be seen" in done.output
    assert PASSPHRASE not in done.output
    gone(hand)
    done = CliRunner(env={"BORGFLEET_BACKUP__BORG": BORG}).invoke(app, argv)
    assert (done.exit_code, "PROBLEM  web1 - system" in done.output) == (1, True)
    done = CliRunner(env={"BORGFLEET_BACKUP__NODE": "node9"}).invoke(app, argv)
    assert (done.exit_code, "none of its repositories could be tried" in done.output) == (1, True)
    done = CliRunner().invoke(app, argv[:3])
    assert (done.exit_code, "--identity" in done.output) == (1, True)


def test_a_repository_without_archives_or_files_is_opened_all_the_same(hand: Hand) -> None:
    hand.tool("delete", f"{hand.repository}::night1")
    assert "holds no archive" in tried(hand)[1].text
    empty = hand.directory / "nothing"
    empty.mkdir()
    hand.tool("create", f"{hand.repository}::empty", ".", cwd=empty)
    assert "no file in the newest" in tried(hand)[1].text


def test_a_kit_of_nothing_tries_nothing() -> None:
    assert list(try_kit(Kit("now", "0", (), "", {}), "node1", BORG)) == []


def test_no_secret_is_among_the_arguments_or_variables(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    real, begun = subprocess.Popen, list[str]()

    class Seen(real):
        def __init__(self, argv: list[str], **options: object) -> None:
            begun.append(f"{argv} {options.get('env')}")
            super().__init__(argv, **options)

    monkeypatch.setattr(subprocess, "Popen", Seen)
    tried(hand)
    assert begun
    assert not [one for one in begun if PASSPHRASE in one or hand.key.splitlines()[1] in one]
