"""AES-256-GCM envelopes: a fresh data key per value, wrapped by a master key with an id.

The additional data binds a value to its place: copied to another row it does not decrypt.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.domain.messages.installation import (
    MASTER_KEY_INVALID,
    MASTER_KEY_MISSING,
    MASTER_KEY_MISSING_RING,
    SECRET_CORRUPT_ALTERED,
)
from shared.errors import Permanent
from shared.secret_files import read_secret

if TYPE_CHECKING:
    from pathlib import Path

_NONCE = 12
_KEY = 32
_RESTORE = "restore the master key file from its safe copy"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A value as it lies in the database: the key's id and two sealed boxes (nonce + ciphertext + tag)."""

    key_id: str
    wrapped_key: bytes
    sealed: bytes


class KeyRing:
    """Master keys by id; the first one seals, all of them open, so that keys can be rotated."""

    def __init__(self, keys: list[bytes]) -> None:
        """Take 256-bit keys, newest first; without any, nothing can be sealed or opened."""
        self._keys = {_key_id(key): key for key in keys}
        self._current = _key_id(keys[0]) if keys else ""

    @property
    def current(self) -> str:
        """The id of the key that seals."""
        return self._current

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, the one that seals first."""
        return tuple(self._keys)

    def seal(self, value: str, *, bound_to: str) -> Envelope:
        """Encrypt a text for one place, `table.column:row`."""
        master = self._newest(f"seal {bound_to}")
        data_key = AESGCM.generate_key(bit_length=_KEY * 8)
        wrapped = _encrypt(master, data_key, self._current + bound_to)
        return Envelope(self._current, wrapped, _encrypt(data_key, value.encode(), bound_to))

    def open(self, envelope: Envelope, *, bound_to: str) -> str:
        """Decrypt; Permanent if the key is missing or the value was changed or moved."""
        master = self._keys.get(envelope.key_id)
        if master is None:
            raise Permanent(MASTER_KEY_MISSING_RING(key_id=envelope.key_id, secret=bound_to))
        try:
            data_key = _decrypt(master, envelope.wrapped_key, envelope.key_id + bound_to)
            return _decrypt(data_key, envelope.sealed, bound_to).decode()
        # ValueError: too short to hold a nonce, or a data key of another size.
        except (InvalidTag, ValueError) as error:
            raise Permanent(SECRET_CORRUPT_ALTERED(secret=bound_to)) from error

    def keyed_id(self, purpose: str, name: str) -> str:
        """Return an id for a name, always the same, that nobody without the master key can tell beforehand.

        Each purpose has a key of its own, from which no other one and not the master key can be found.
        """
        return _code(self._newest(f"make {purpose} ids"), f"borgfleet keyed id: {purpose}", name)

    def code(self, purpose: str, text: str, key_id: str = "") -> str:
        """Return the authentication code of a text, by the newest key or by the one with this id; Permanent without it.

        Only who holds the key can make one, or tell whether it is right.
        """
        master = self._keys.get(key_id) if key_id else self._newest(f"make the code of an {purpose}")
        if master is None:
            raise Permanent(MASTER_KEY_MISSING_RING(key_id=key_id, secret=purpose))
        return _code(master, f"borgfleet code: {purpose}", text)

    def _newest(self, wanted_to: str) -> bytes:
        if not self._keys:
            raise Permanent(MASTER_KEY_MISSING(purpose=wanted_to))
        return self._keys[self._current]


def load_key_ring(path: Path) -> KeyRing:
    """Read the master key file (one base64 key a line, newest first); make one, mode 0600, where there is none."""
    make_key_file(path)
    return read_key_ring(path)


def read_key_ring(path: Path) -> KeyRing:
    """Read the master key file; Permanent if it is not there, open to others, or no key."""
    return key_ring_of(read_secret(path, "master key file", code="master_key"), path)


def key_ring_of(content: bytes, path: Path) -> KeyRing:
    """Return the keys in a master key file's content; Permanent, naming the file, if they are none."""
    try:
        keys = [base64.b64decode(line, validate=True) for line in content.split()]
    except binascii.Error:
        keys = []
    if not keys or any(len(key) != _KEY for key in keys):
        raise Permanent(MASTER_KEY_INVALID(path=path))
    return KeyRing(keys)


def new_passphrase() -> str:
    """Return 256 random bits as text, for a repository."""
    return secrets.token_urlsafe(_KEY)


def make_key_file(path: Path) -> bool:
    """Make a master key where there is no file; False if there was one, or another process was first."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(_KEY)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)  # fails when another process was first: its key stays
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def _code(master: bytes, info: str, text: str) -> str:
    derived = HKDF(hashes.SHA256(), _KEY, salt=None, info=info.encode()).derive(master)
    code = hmac.HMAC(derived, hashes.SHA256())
    code.update(text.encode(errors="surrogatepass"))
    return code.finalize().hex()


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"borgfleet key id" + key).hexdigest()[:16]


def _encrypt(key: bytes, value: bytes, bound_to: str) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, value, bound_to.encode())


def _decrypt(key: bytes, box: bytes, bound_to: str) -> bytes:
    return AESGCM(key).decrypt(box[:_NONCE], box[_NONCE:], bound_to.encode())
