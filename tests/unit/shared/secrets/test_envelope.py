from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
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


def flipped(box: bytes, at: int) -> bytes:
    return box[:at] + bytes([box[at] ^ 1]) + box[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "one byte": lambda box: box[:1],
    "shorter than a nonce": lambda box: box[:7],
    "one byte less than a nonce": lambda box: box[:11],
    "a nonce alone": lambda box: box[:12],
    "without its tag": lambda box: box[:-16],
    "one byte less": lambda box: box[:-1],
    "one byte more": lambda box: box + b"x",
    "a bit of the nonce": lambda box: flipped(box, 0),
    "a bit of the text": lambda box: flipped(box, 12),
    "a bit of the tag": lambda box: flipped(box, len(box) - 1),
    "zeros": lambda box: bytes(len(box)),
    "twice": lambda box: box * 2,
}


@pytest.mark.parametrize("part", ["sealed", "wrapped_key"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_secret_says_so_once_and_is_not_tried_for_ever(part: str, damage: str) -> None:
    box = RING.seal("canary", bound_to="p")
    with pytest.raises(Permanent) as caught:
        RING.open(replace(box, **{part: DAMAGES[damage](getattr(box, part))}), bound_to="p")
    assert caught.value.code == "secret_corrupt"
    assert caught.value.remedy
    assert "canary" not in caught.value.message


@pytest.mark.parametrize("size", [0, 8, 15, 31, 33, 64])
def test_a_data_key_of_another_size_opens_nothing(size: int) -> None:
    nonce = bytes(12)
    wrapped = nonce + AESGCM(b"a" * 32).encrypt(nonce, bytes(size), f"{RING.current}p".encode())
    box = replace(RING.seal("x", bound_to="p"), wrapped_key=wrapped)
    with pytest.raises(Permanent, match="altered"):
        RING.open(box, bound_to="p")


@pytest.mark.parametrize("key_id", ["", "0" * 16, "\x00", "x" * 300])
def test_the_id_of_a_key_that_is_none_is_named(key_id: str) -> None:
    with pytest.raises(Permanent) as caught:
        RING.open(replace(RING.seal("x", bound_to="p"), key_id=key_id), bound_to="p")
    assert caught.value.code == "master_key_missing"


def test_keys_rotate_and_a_missing_one_is_named() -> None:
    box = RING.seal("x", bound_to="p")
    rotated = KeyRing([b"b" * 32, b"a" * 32])
    assert rotated.open(box, bound_to="p") == "x"
    assert rotated.seal("x", bound_to="p").key_id == rotated.current != box.key_id
    with pytest.raises(Permanent, match=box.key_id):
        KeyRing([b"b" * 32]).open(box, bound_to="p")


def test_a_keyed_id_is_the_same_each_time_and_another_for_each_purpose_name_and_key() -> None:
    made = [
        ring.keyed_id(purpose, name)
        for ring in (RING, KeyRing([b"b" * 32]))
        for purpose in ("dead letter", "dead", "")
        for name in ("x", "y", "", "letter x", "\udcff", "é")
    ]
    assert len(set(made)) == len(made)
    assert made[0] == KeyRing([b"a" * 32, b"b" * 32]).keyed_id("dead letter", "x")
    # Worked out by hand with RFC 5869: extract without a salt, then one block of expand.
    derived = hmac.digest(hmac.digest(bytes(32), b"a" * 32, "sha256"), b"borgfleet keyed id: dead letter\x01", "sha256")
    assert made[0] == hmac.digest(derived, b"x", "sha256").hex()


def test_without_a_master_key_there_is_no_id_that_anybody_could_tell() -> None:
    with pytest.raises(Permanent) as caught:
        KeyRing([]).keyed_id("dead letter", "x")
    assert caught.value.code == "master_key_missing"


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
