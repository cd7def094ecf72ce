"""The counter of a repository's encryption, and what this node remembers: put right where somebody pushed them far.

A part of recover.py: a nonce must never be used twice, and a counter near its end would let no client write any more.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Python looks for no module beside a script that it runs isolated.
sys.path.append(str(Path(__file__).resolve().parent))
# borg has no types; sealed.py and manifest_reader.py lie beside this script.
_sealed: Any = importlib.import_module("sealed")
_manifest: Any = importlib.import_module("manifest_reader")
_cache: Any = importlib.import_module("borg.cache")
_helpers: Any = importlib.import_module("borg.helpers")
_repository: Any = importlib.import_module("borg.repository")

_FAR = 1 << 48
"""No honest repository counts so far: it would be 4 PiB of encrypted data, and the counter ends at 2^64."""
_MARGIN = 1 << 36
"""What may have been used beyond all that is found: 1 TiB of data that was pruned since."""
_HEAD, _NONCE, _BLOCK = 41, slice(33, 41), 16
"""An encrypted object begins with its type, its MAC and its first nonce; one nonce is used for each block."""


def begin(repository: Any, key: Any, copies: Sequence[bytes]) -> None:
    """Let what is encrypted from here on count on from what was used: never from a manifest that is none of ours."""
    if _manifest.first_nonce(key, bytes(_HEAD)) is None:
        key.init_ciphers()  # this kind of key counts nothing
        return
    sane = [sealed for sealed in copies if (_manifest.first_nonce(key, sealed) or 0) < _FAR]
    remembered = Path(_helpers.get_security_dir(repository.id_str)) / "nonce"
    given_out, own = repository.get_free_nonce(), _number(remembered)
    if given_out is None or given_out >= _FAR or (own or 0) >= _FAR:
        used = [nonce for nonce in (*_used(repository), *map(_end, sane), given_out or 0) if nonce < _FAR]
        right = max(used, default=0) + _MARGIN
        repository.commit_nonce_reservation(right, given_out)
        remembered.write_text(f"{right:016x}")
    key.init_ciphers(sane[0] if sane else None)


def forget_later(repository: Any, written: str) -> None:
    """Let this node take no later manifest for the last one: its borg would call the one just written a replay."""
    remembered = Path(_helpers.get_security_dir(repository.id_str)) / "manifest-timestamp"
    if remembered.exists() and remembered.read_text() > written:
        remembered.write_text(written)
    cache = _cache.CacheConfig(repository)
    if not cache.exists():
        return
    with cache:
        later = (cache.timestamp or "") > written
    if later:
        _cache.Cache.destroy(repository)


def _end(sealed: bytes) -> int:
    return int.from_bytes(sealed[_NONCE], "big") + len(sealed) // _BLOCK


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text().strip(), 16)
    except (OSError, ValueError):
        return None


def _used(repository: Any) -> Iterator[int]:
    """Return up to where each object that stands in the segments has used the counter, from its first bytes."""
    io = repository.io
    for segment, _ in io.segment_iterator():
        try:
            for tag, _, offset, size in io.iter_objects(segment, read_data=False):
                if tag == _repository.TAG_PUT:
                    stream = io.get_fd(segment)
                    stream.seek(offset + io.put_header_fmt.size)
                    yield int.from_bytes(stream.read(_HEAD)[_NONCE], "big") + size // _BLOCK
        except _sealed.GARBAGE:
            continue
