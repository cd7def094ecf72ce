"""Tells whether a passphrase opens a key as `borg key export` writes it, without borg and without the repository."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

_HEAD = "BORG_KEY "
_LENGTH = 32
_MOST_ROUNDS = 10_000_000
_NO_IV = bytes(16)
"""borg's own: each key is sealed with a salt of its own."""
# msgpack's forms that borg writes a key in: the first byte, and how many bytes of length follow.
_FIXED_TEXT, _FIXED_MAP, _FIXED_INT = 0xA0, 0x80, 0x80
_TEXTS = {0xC4: 1, 0xC5: 2, 0xD9: 1, 0xDA: 2}
_INTEGERS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}


def opens(passphrase: str, key: str) -> bool | None:
    """Tell whether a passphrase opens a repository's key; None if that cannot be told of this key."""
    try:
        fields = _fields(key)
        salt, rounds, sealed, seal = fields[b"salt"], fields[b"iterations"], fields[b"data"], fields[b"hash"]
        known = fields[b"version"] == 1 and fields[b"algorithm"] == b"sha256"
    except (ValueError, LookupError):
        return None
    if not known or not isinstance(rounds, int) or not 0 < rounds <= _MOST_ROUNDS:
        return None
    if not (isinstance(salt, bytes) and isinstance(sealed, bytes) and isinstance(seal, bytes)):
        return None
    derived = hashlib.pbkdf2_hmac("sha256", passphrase.encode(errors="surrogateescape"), salt, rounds, _LENGTH)
    opened = Cipher(AES(derived), CTR(_NO_IV)).decryptor().update(sealed)
    return hmac.compare_digest(hmac.digest(derived, opened, "sha256"), seal)


def _fields(key: str) -> dict[bytes, bytes | int]:
    first, *lines = key.split("\n")
    if not first.startswith(_HEAD):
        message = "this is no key of borg's"
        raise ValueError(message)
    try:
        data = base64.b64decode("".join(lines), validate=False)
    except binascii.Error as error:
        message = "this key is cut short"
        raise ValueError(message) from error
    reader = _Reader(data)
    return {reader.text(): reader.value() for _ in range(reader.pairs())}


class _Reader:
    """Reads the few forms of msgpack in which borg writes a key; ValueError on any other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def pairs(self) -> int:
        return self._small(_FIXED_MAP, 0x0F)

    def text(self) -> bytes:
        value = self.value()
        if not isinstance(value, bytes):
            message = "a name was expected"
            raise ValueError(message)  # noqa: TRY004 - data that is not a key, as in the other cases
        return value

    def value(self) -> bytes | int:
        first = self._take(1)[0]
        if first < _FIXED_INT:
            return first
        if first & 0xE0 == _FIXED_TEXT:
            return self._take(first & 0x1F)
        if first in _TEXTS:
            return self._take(int.from_bytes(self._take(_TEXTS[first])))
        if first in _INTEGERS:
            return int.from_bytes(self._take(_INTEGERS[first]))
        message = f"a key of borg's holds nothing of the form {first:#x}"
        raise ValueError(message)

    def _small(self, form: int, mask: int) -> int:
        first = self._take(1)[0]
        if first & ~mask != form:
            message = "a key of borg's is a map"
            raise ValueError(message)
        return first & mask

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            message = "this key is cut short"
            raise ValueError(message)
        self._at += count
        return taken
