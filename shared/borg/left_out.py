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
    from collections.abc import Iterable, Iterator, Sequence

# Python looks for no module beside a script that it runs isolated.
sys.path.append(str(Path(__file__).resolve().parent))
# borg has no types.
_sealed: Any = importlib.import_module("sealed")
_helpers: Any = importlib.import_module("borg.helpers")
_key: Any = importlib.import_module("borg.crypto.key")
_repository: Any = importlib.import_module("borg.repository")

_OBJECT = struct.Struct("<32sI")
_LOCK_WAIT = 60
_ENOUGH = 1000
_LONG_SECONDS = 120.0
"""Of both nothing more is sought once so many are known, or one after so long: each may take seconds, on purpose."""


def main(argv: Sequence[str]) -> None:
    """Print what is garbage."""
    path, report, *encryption = argv
    importlib.import_module("borg.logger").setup_logging(level="error")
    _sealed.told(lambda: _garbage(path, Path(report), encryption))


def _garbage(path: str, report: Path, encryption: Sequence[str]) -> dict[str, list[str]]:
    ids = [bytes.fromhex(line["left_out"]) for line in _lines(report) if "left_out" in line]
    with _repository.Repository(path, exclusive=False, lock_wait=_LOCK_WAIT) as repository:
        if encryption:
            key = _sealed.opened(repository, encryption[0])
        else:
            key = _key.key_factory(repository, repository.get(_helpers.Manifest.MANIFEST_ID))
        lying = _no_content(key, _stored(repository, ids))
    return {"lying": lying, "sent": _no_content(key, _objects(report.with_suffix(".objects")))}


def _no_content(key: Any, objects: Iterable[tuple[bytes, bytes]]) -> list[str]:
    found: set[str] = set()
    until = time.monotonic() + _LONG_SECONDS
    for object_id, data in objects:
        if not _sealed.opens(key, object_id, data):
            found.add(object_id.hex())
        if len(found) >= _ENOUGH or (found and time.monotonic() > until):
            break
    return sorted(found)


def _stored(repository: Any, ids: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for object_id in dict.fromkeys(ids):
        try:
            yield object_id, repository.get(object_id)
        except _sealed.GARBAGE:  # pruned since; or the disk cannot give it, which a verification and a check tell
            continue


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
