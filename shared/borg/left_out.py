"""Opens with the repository's key what a session left out: what lies there, and what was sent instead.

A script, run by the Python that runs the node's borg: `left_out.py PATH REPORT [ENCRYPTION]`, the passphrase by
BORG_PASSPHRASE_FD. It prints JSON: the ids under which garbage lies, and those under which garbage was sent. borg
asserts that an object's content belongs to its id. Without ENCRYPTION the manifest says which kind of key it is; but
who sends garbage can send that as well, so the node gives it.
"""

from __future__ import annotations

import importlib
import json
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Python looks for no module beside a script that it runs isolated.
sys.path.append(str(Path(__file__).resolve().parent))
# borg has no types.
_manifest: Any = importlib.import_module("manifest_reader")
_helpers: Any = importlib.import_module("borg.helpers")
_key: Any = importlib.import_module("borg.crypto.key")
_repository: Any = importlib.import_module("borg.repository")

_ALIVE_SECONDS = 5.0
_GARBAGE = _manifest.GARBAGE
_OBJECT = struct.Struct("<32sI")
_LOCK_WAIT = 60
_ENOUGH = 1000


class _Alive:
    """Gives signs of life, as blank lines before the answer: who says nothing for long is taken for hung."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._last > _ALIVE_SECONDS:
            self._last = time.monotonic()
            sys.stdout.write("\n")
            sys.stdout.flush()


def main(argv: Sequence[str]) -> None:
    """Print what is garbage."""
    path, report, *encryption = argv
    importlib.import_module("borg.logger").setup_logging(level="error")
    _manifest.told(lambda: _garbage(path, Path(report), encryption))


def _garbage(path: str, report: Path, encryption: Sequence[str]) -> dict[str, list[str]]:
    alive = _Alive()
    ids = [bytes.fromhex(line["left_out"]) for line in _lines(report) if "left_out" in line]
    with _repository.Repository(path, exclusive=False, lock_wait=_LOCK_WAIT) as repository:
        if encryption:
            key = _manifest.opened(repository, encryption[0])
        else:
            key = _key.key_factory(repository, repository.get(_helpers.Manifest.MANIFEST_ID))
        lying = {i.hex() for i, data in _stored(repository, ids) if not _opens(key, i, data, alive)}
    sent: set[str] = set()
    for object_id, data in _objects(report.with_suffix(".objects")):
        if not _opens(key, object_id, data, alive):
            sent.add(object_id.hex())
        if len(sent) >= _ENOUGH:
            break
    return {"lying": sorted(lying), "sent": sorted(sent)}


def _stored(repository: Any, ids: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for object_id in dict.fromkeys(ids):
        try:
            yield object_id, repository.get(object_id)
        except _GARBAGE:  # pruned since; or the disk cannot give it, which a verification and a check tell
            continue


def _opens(key: Any, object_id: bytes, data: bytes, alive: _Alive) -> bool:
    alive()
    try:
        key.decrypt(object_id, data)
    except _GARBAGE:
        return False
    return True


def _lines(report: Path) -> Iterator[dict[str, Any]]:
    for line in report.read_bytes().splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # the last line of a machine that lost its power
            continue


def _objects(file: Path) -> Iterator[tuple[bytes, bytes]]:
    if not file.exists():
        return
    with file.open("rb") as stream:
        while len(head := stream.read(_OBJECT.size)) == _OBJECT.size:
            object_id, size = _OBJECT.unpack(head)
            yield object_id, stream.read(size)


if __name__ == "__main__":
    main(sys.argv[1:])
