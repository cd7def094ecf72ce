"""Opens what lies in a repository, whatever it is: what our scripts that stand on borg's own package share.

Who has the passphrase can seal any bytes, and who has the key of a server can send any. Neither may end a script: what
is none of borg's is garbage, and is told as that.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

# borg has no types.
_helpers: Any = importlib.import_module("borg.helpers")
_key: Any = importlib.import_module("borg.crypto.key")
_low_level: Any = importlib.import_module("borg.crypto.low_level")

GARBAGE = (
    _low_level.IntegrityError, _helpers.Error, _helpers.msgpack.UnpackException, _helpers.msgpack.OutOfData,
    ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError, MemoryError, OSError,
    RuntimeError, SystemError, TypeError, ValueError, struct.error,
)  # fmt: skip
"""What borg raises where bytes are none of its own, from whichever of its steps: the only list of it.

SystemError comes from its ciphers where an object is shorter than its MAC, OutOfData where what is to be unpacked holds
nothing, MemoryError where it holds more than `_ROOM`, RuntimeError where it is nested without end.
"""
_ROOM = 512 << 20
"""What opening one object may take: borg's own are of 20 MiB at most, and so many may unpack to 20 GiB of zeros."""
_ALIVE_SECONDS = 5.0
_PAGE = os.sysconf("SC_PAGE_SIZE")


def told(work: Callable[[], Any]) -> None:
    """Print an answer as JSON; borg's own errors as borg itself tells them."""
    try:
        answer = work()
    except _helpers.Error as error:
        said = {"type": "log_message", "levelname": "ERROR", "name": "borg", "message": error.get_message()}
        sys.stderr.write(json.dumps(said | {"msgid": type(error).__qualname__}) + "\n")
        sys.exit(error.exit_mcode)
    sys.stdout.write(json.dumps(answer) + "\n")


def opened(repository: Any, encryption: str) -> Any:
    """Return the repository's key, whatever the manifest says."""
    kind = next(kind for kind in _key.AVAILABLE_KEY_TYPES if encryption == kind.ARG_NAME)
    key = kind(repository)
    if kind is _key.PlaintextKey:
        return key
    # Where the key is in a file, BORG_KEY_FILE names it.
    target = key.find_key() if kind.STORAGE == _key.KeyBlobStorage.KEYFILE else repository
    if not key.load(target, _key.Passphrase.env_passphrase()):
        raise _key.PassphraseWrong
    key.init_ciphers()
    return key


def named(manifest: Any, meant: str) -> str | None:
    """Return the name under which the archive of an id is listed; None where it is not."""
    entries = manifest.archives.get_raw_dict().items()
    found = (name for name, entry in entries if entry[b"id"].hex() == meant)
    name: bytes | None = next(found, None)
    return None if name is None else name.decode("utf-8", "surrogateescape")


def decrypted(key: Any, object_id: bytes | None, data: bytes) -> bytes | None:
    """Return what an object holds, None where it is garbage; without an id it is not held against one."""
    try:
        with _bounded():
            found: bytes = key.decrypt(object_id, data)
    except GARBAGE:
        return None
    return found


def opens(key: Any, object_id: bytes | None, data: bytes) -> bool:
    """Tell whether an object is borg's own, and give a sign of life."""
    alive()
    return decrypted(key, object_id, data) is not None


class _Alive:
    """Gives signs of life, as blank lines before the answer: who says nothing for long is taken for hung."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._last > _ALIVE_SECONDS:
            self._last = time.monotonic()
            sys.stdout.write("\n")
            sys.stdout.flush()


alive = _Alive()


@contextlib.contextmanager
def _bounded() -> Generator[None]:
    """Let this process grow by `_ROOM` at most: beyond it there is MemoryError, and not a node without memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _size() + _ROOM
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _size() -> int:
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - once per object: half the time of Path.open
        return int(file.read().split()[0]) * _PAGE
