"""A kit is read as it was written; a file that is none, or half of one, is refused in a sentence."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable

import pytest

from shared.errors import Invalid
from shared.kit.contents import Kit, KitRepository
from shared.kit.packed import packed, unpacked
from shared.secrets.age import sealed_with

ONE = KitRepository(
    "11111111-1111-1111-1111-111111111111", "web1", "system", "node1", "/pool with space/web1/sys'tem", "a" * 64,
    "repokey-blake2", "canary passphrase é", f"BORG_KEY {'a' * 64}\nAAAA\n",
)  # fmt: skip
OWN = KitRepository("2", "borgfleet", "self", "node1", "/pool/borgfleet/self", "b" * 64, "repokey", "x", own=True)
KIT = Kit("2026-11-27 12:00:00 UTC", "0.1.0", (ONE, OWN), "canary master\n", {"data_dir": "/var/lib/borgfleet"})


def text(kit: Kit, name: str) -> str:
    with tarfile.open(fileobj=io.BytesIO(packed(kit))) as tar:
        stream = tar.extractfile(f"borgfleet-kit/{name}")
        assert stream is not None
        return stream.read().decode()


def test_a_kit_is_read_as_it_was_written() -> None:
    assert unpacked(packed(KIT)) == KIT
    assert unpacked(sealed_with(packed(KIT), "correct horse battery"), passphrase="correct horse battery") == KIT


def test_nobody_else_may_read_what_is_unpacked() -> None:
    with tarfile.open(fileobj=io.BytesIO(packed(KIT))) as tar:
        modes = {member.name: member.mode for member in tar}
    assert {mode & 0o077 for mode in modes.values()} == {0}
    assert modes["borgfleet-kit/verify.sh"] == 0o700


def test_the_page_names_each_repository_and_no_secret() -> None:
    page = text(KIT, "README.txt")
    assert f"$ ID={'a' * 64} REPOSITORY='/pool with space/web1/sys'\"'\"'tem'" in page
    assert "borgfleet recover --kit kit.age --identity identity.txt --repository /pool/borgfleet/self" in page
    assert "canary" not in page
    assert "canary" not in text(KIT, "repositories.json") + text(KIT, "settings.json") + repr(KIT)


def test_the_page_names_each_place_where_borgfleet_was_backed_up() -> None:
    """The oldest pool's came first, and was named alone, long after another one was chosen."""
    newer = KitRepository("3", "borgfleet", "self", "node2", "/new pool/self", "d" * 64, "repokey", "x", own=True)
    page = text(Kit("now", "0.1.0", (OWN, ONE, newer), "", {}), "README.txt")
    assert [path for path in (OWN.path, "'/new pool/self'") if f"--repository {path}\n" in page] == [
        OWN.path,
        "'/new pool/self'",
    ]
    assert "newest of all" in page
    assert "newest of all" not in text(KIT, "README.txt")


def test_the_page_of_a_kit_without_anything_says_so() -> None:
    page = text(Kit("now", "0.1.0", (), "", {}), "README.txt")
    assert "There were none yet" in page
    assert "knows of no backup of Borgfleet's own database" in page


def test_a_problem_is_told_where_it_matters() -> None:
    broken = KitRepository("1", "web1", "lost", "n", "/p/web1/lost", "c" * 64, "repokey", "", problem="it is\ndamaged")
    kit = Kit("now", "0.1.0", (broken,), "", {})
    assert kit.problems == ("web1 - lost: it is\ndamaged",)
    assert "PROBLEM: it is" in text(kit, "README.txt")


def with_file(name: str, content: bytes | None) -> bytes:
    """Return the kit with one file of other content, or without it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(packed(KIT))) as tar, tarfile.open(fileobj=out, mode="w") as other:
        for member in tar:
            stream = tar.extractfile(member)
            if member.name == f"borgfleet-kit/{name}":
                if content is None:
                    continue
                member.size, stream = len(content), io.BytesIO(content)
            other.addfile(member, stream)
    return out.getvalue()


def listed(**changed: object) -> bytes:
    first = json.loads(text(KIT, "repositories.json"))[0]
    return json.dumps([first | changed]).encode()


BROKEN: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no tar": lambda: b"hello" * 1000,
    "half a tar": lambda: packed(KIT)[:1500],
    "without its list": lambda: with_file("repositories.json", None),
    "without a passphrase": lambda: with_file(f"passphrases/{'a' * 64}", None),
    "without the master key": lambda: with_file("master.key", None),
    "a list that is none": lambda: with_file("repositories.json", b"7"),
    "a list of words": lambda: with_file("repositories.json", b'["a"]'),
    "a list that is no JSON": lambda: with_file("repositories.json", b"{"),
    "a list of deep JSON": lambda: with_file("repositories.json", b"[" * 100_000),
    "an id that is a path": lambda: with_file("repositories.json", listed(borg_id="../../etc/passwd")),
    "an id that is none": lambda: with_file("repositories.json", listed(borg_id=None)),
    "a later format": lambda: with_file("kit.json", b'{"format": 2}'),
    "no format": lambda: with_file("kit.json", b"{}"),
}


@pytest.mark.parametrize("which", BROKEN)
def test_what_is_no_kit_is_refused(which: str) -> None:
    with pytest.raises(Invalid) as refused:
        unpacked(BROKEN[which]())
    assert refused.value.code == "kit_broken"
    assert "canary" not in refused.value.message
