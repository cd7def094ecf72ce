"""Secrets that are shown once: API tokens, cookies, links. Of each only a digest is kept."""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass

_PREFIX, _BYTES = 8, 32
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_TOKEN = re.compile(r"(bf_([a-z2-9]{8})_[A-Za-z0-9_-]{43})_([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class NewToken:
    """An API token as it is shown once, and what is kept of it."""

    text: str
    prefix: str
    digest: str


def new_api_token() -> NewToken:
    """Return `bf_<8>_<43>_<checksum>`: 256 random bits, in a form that scanners of leaked secrets can find."""
    prefix = "".join(secrets.choice(_ALPHABET) for _ in range(_PREFIX))
    body = f"bf_{prefix}_{secrets.token_urlsafe(_BYTES)}"
    text = f"{body}_{_checksum(body)}"
    return NewToken(text, prefix, api_token_digest(text))


def api_token_digest(token: str) -> str:
    """Return what is kept of an API token.

    Versions before users knew tokens by their plain SHA-256, and let whoever had one do everything. What is kept of
    newer ones is another digest, so that such a version, after a downgrade or beside us, does not know them at all.
    """
    found = _TOKEN.fullmatch(token)
    newer = found is not None and _checksum(found[1]) == found[3]
    return digest_of("api-token", token) if newer else hashlib.sha256(token.encode()).hexdigest()


def new_secret() -> str:
    """Return 256 random bits as text for a cookie or a link."""
    return secrets.token_urlsafe(_BYTES)


def digest_of(purpose: str, secret: str) -> str:
    """Return what is kept of a secret; one of another purpose has another digest."""
    return hashlib.sha256(f"{purpose}:{secret}".encode()).hexdigest()


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
