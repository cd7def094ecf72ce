"""The page in a recovery kit is followed word by word where there is nothing but borg and age: all comes back."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.borg.vault import exported_key
from shared.kit.contents import Kit, KitRepository
from shared.kit.packed import packed
from shared.secrets.age import sealed_for, sealed_with

ROOT = Path(__file__).resolve().parents[3]
BORGS = {"1.4": Path(sys.executable).parent / "borg", "1.2": ROOT / ".venv-borg12/bin/borg"}
PASSPHRASE = "canary of the repository"
TOOLS = ("age", "cat", "cp", "dirname", "ln", "mkdir", "mktemp", "rm", "sed", "sh", "tar")
"""All there is on that machine, but borg."""
CONTENT = {"etc/hosts": b"127.0.0.1 localhost\n", "srv/data.bin": bytes(range(256)) * 4000}


class Hand:
    """A repository that was made long ago, its kit, and a bare machine."""

    def __init__(self, directory: Path, borg: Path) -> None:
        self.directory, self.borg = directory, borg
        self.repository = directory / "the pool" / "web1" / "system"
        self.home = directory / "machine"
        self.home.mkdir()
        self.made = os.environ | {"BORG_PASSPHRASE": PASSPHRASE, "BORG_BASE_DIR": str(directory / "past")}
        self.tool("init", "--encryption=repokey-blake2", "--make-parent-dirs", str(self.repository))
        source = directory / "source"
        for name, content in CONTENT.items():
            (source / name).parent.mkdir(parents=True)
            (source / name).write_bytes(content)
        self.tool("create", f"{self.repository}::night {{now}}".replace(" {now}", "1"), ".", cwd=source)
        key = exported_key(str(self.repository))
        assert key
        self.key = key
        one = KitRepository(
            "1", "web1", "system", "node1", str(self.repository), key.split()[1], "repokey-blake2", PASSPHRASE, key
        )
        away = KitRepository("2", "web2", "system", "node2", "/pool/web2/system", "f" * 64, "repokey", "x", "")
        self.kit = Kit("2026-11-27 12:00:00 UTC", "0.1.0", (away, one), "master\n", {})

    def tool(self, *arguments: str, cwd: Path | None = None) -> None:
        subprocess.run([self.borg, *arguments], env=self.made, cwd=cwd, check=True, capture_output=True)

    def environment(self) -> dict[str, str]:
        tools = self.directory / "bin"
        tools.mkdir(exist_ok=True)
        for tool, place in {**{name: shutil.which(name) for name in TOOLS}, "borg": str(self.borg)}.items():
            assert place is not None, tool
            (tools / tool).unlink(missing_ok=True)
            (tools / tool).symlink_to(place)
        return {"PATH": str(tools), "HOME": str(self.home), "BORG_SELFTEST": "disabled"}

    def age_key(self) -> str:
        made = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True).stdout
        (self.home / "identity.txt").write_text(made)
        found = re.search(r"age1\S+", made)
        assert found is not None
        return found[0]

    def seal(self) -> None:
        (self.home / "kit.age").write_bytes(sealed_for(packed(self.kit), [self.age_key()]))

    def page(self) -> str:
        """Read the page as a person does who has opened the kit by the two commands that he knows by heart."""
        read = "age -d -i identity.txt kit.age | tar -xO -f - borgfleet-kit/README.txt"
        return self.sh(read).stdout

    def sh(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", script], env=self.environment(), cwd=self.home, capture_output=True, text=True,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def follow(self, *steps: int, without: str = "") -> subprocess.CompletedProcess[str]:
        """Type the commands of these steps, in order; of step 2 the line of our repository."""
        return self.sh("\n".join(self.commands(*steps, without=without)))

    def commands(self, *steps: int, without: str = "") -> list[str]:
        parts = dict(enumerate(re.split(r"(?m)^\d\. [A-Z ]+$", self.page())))
        found: list[str] = []
        for step in steps:
            lines = [line[2:] for line in parts[step].splitlines() if line.startswith("$ ")]
            assert lines, step
            found += [line for line in lines if "ID=" not in line[:3] or self.kit.repositories[1].borg_id in line]
        return [line for line in found if not without or without not in line]

    def restored(self) -> dict[str, bytes]:
        root = self.home / "restored"
        return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def untouched(_: Hand) -> None:
    pass


def without_key(hand: Hand) -> None:
    config = hand.repository / "config"
    config.write_text(re.sub(r"(?m)^key = .*(\n[ \t].*)*\n", "", config.read_text()))
    assert "key" not in config.read_text()


def without_config(hand: Hand) -> None:
    (hand.repository / "config").unlink()


def empty_config(hand: Hand) -> None:
    (hand.repository / "config").write_bytes(b"")


def other_passphrase(hand: Hand) -> None:
    hand.made |= {"BORG_NEW_PASSPHRASE": "of the intruder"}
    hand.tool("key", "change-passphrase", str(hand.repository))


FAULTS: dict[str, tuple[Callable[[Hand], None], bool, bool]] = {
    "nothing": (untouched, True, False),
    "the key is gone": (without_key, False, False),
    "config is gone": (without_config, False, True),
    "config is empty": (empty_config, False, True),
    "the passphrase was changed": (other_passphrase, False, False),
}
"""What was done -> whether the list works as it is, and whether `config` has to be made anew."""


@pytest.mark.parametrize("version", BORGS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_person_with_borg_and_age_alone_gets_everything_back(tmp_path: Path, version: str, fault: str) -> None:
    hand = Hand(tmp_path, BORGS[version])
    hand.seal()
    harm, works, no_config = FAULTS[fault]
    harm(hand)
    opened = hand.follow(1, 2, 3)
    assert (opened.returncode == 0) is works, opened.stderr
    shutil.rmtree(hand.home / "borgfleet-kit")
    (hand.home / "kit.tar").unlink()
    healing = () if works else (4,)
    done = hand.follow(1, 2, 3, *healing, 5, without="" if no_config else "config.templates")
    assert done.returncode == 0, done.stdout + done.stderr
    assert hand.restored() == CONTENT
    assert "canary" not in done.stdout + done.stderr
    if healing:
        hand.tool("check", "--verify-data", str(hand.repository))


@pytest.mark.parametrize("fault", ["nothing", "config is gone", "the passphrase was changed"])
def test_the_script_of_the_kit_opens_what_the_kit_opens_and_changes_nothing(tmp_path: Path, fault: str) -> None:
    hand = Hand(tmp_path, BORGS["1.4"])
    hand.seal()
    FAULTS[fault][0](hand)
    before = {file: file.read_bytes() for file in hand.repository.rglob("*") if file.is_file()}
    done = hand.sh("age -d -i identity.txt -o kit.tar kit.age; tar -xf kit.tar; sh borgfleet-kit/verify.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"opened     {hand.repository}" in done.stdout
    assert "not here   /pool/web2/system" in done.stdout
    assert {file: file.read_bytes() for file in hand.repository.rglob("*") if file.is_file()} == before


def test_the_script_of_the_kit_says_what_it_does_not_open(tmp_path: Path) -> None:
    hand = Hand(tmp_path, BORGS["1.4"])
    wrong = KitRepository(
        **{name: getattr(hand.kit.repositories[1], name) for name in KitRepository.__slots__} | {"passphrase": "other"}
    )
    hand.kit = Kit("now", "0.1.0", (wrong,), "", {})
    hand.seal()
    done = hand.sh("age -d -i identity.txt -o kit.tar kit.age; tar -xf kit.tar; sh borgfleet-kit/verify.sh")
    assert done.returncode == 1
    assert f"NOT OPENED {hand.repository}" in done.stdout


def test_age_opens_a_kit_that_was_made_with_a_passphrase(tmp_path: Path) -> None:
    plain = b"a kit" * 1000
    (tmp_path / "kit.age").write_bytes(sealed_with(plain, "correct horse battery"))
    terminal, side = pty.openpty()
    os.write(terminal, b"correct horse battery\n")
    age = shutil.which("age")
    argv = ["setsid", "-c", "-w", str(age), "-d", "-o", str(tmp_path / "kit.tar"), str(tmp_path / "kit.age")]
    done = subprocess.run(argv, stdin=side, stdout=side, stderr=subprocess.PIPE, check=False, timeout=120)
    os.close(terminal)
    os.close(side)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "kit.tar").read_bytes() == plain
