from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Permanent
from shared.secrets.envelope import KeyRing, load_key_ring, new_passphrase

RING = KeyRing([b"a" * 32])


@given(st.text())
def test_what_is_sealed_opens_in_its_place_and_nowhere_else(value: str) -> None:
    box = RING.seal(value, bound_to="t.c:1")
    assert RING.open(box, bound_to="t.c:1") == value
    with pytest.raises(Permanent, match="copied"):
        RING.open(box, bound_to="t.c:2")


def test_an_altered_value_does_not_open() -> None:
    box = RING.seal("x", bound_to="p")
    with pytest.raises(Permanent):
        RING.open(replace(box, sealed=box.sealed[:-1] + bytes([box.sealed[-1] ^ 1])), bound_to="p")


def test_keys_rotate_and_a_missing_one_is_named() -> None:
    box = RING.seal("x", bound_to="p")
    rotated = KeyRing([b"b" * 32, b"a" * 32])
    assert rotated.open(box, bound_to="p") == "x"
    assert rotated.seal("x", bound_to="p").key_id == rotated.current != box.key_id
    with pytest.raises(Permanent, match=box.key_id):
        KeyRing([b"b" * 32]).open(box, bound_to="p")


def test_the_key_file_is_made_once_with_mode_600_and_an_exposed_or_broken_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "master.key"
    ring = load_key_ring(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert load_key_ring(file).current == ring.current
    file.chmod(0o644)
    with pytest.raises(Permanent, match="read by others"):
        load_key_ring(file)
    file.chmod(0o600)
    for broken in ("", "AAAA", "not base64!"):
        file.write_text(broken)
        with pytest.raises(Permanent, match="no valid"):
            load_key_ring(file)


def test_passphrases_are_long_and_never_the_same() -> None:
    assert len({new_passphrase() for _ in range(100)}) == 100
    assert len(new_passphrase()) >= 43
