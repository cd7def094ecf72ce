"""Puts a repository back as it was: its key, the objects that were deleted or replaced, a manifest with all archives.

A script, run by the Python that runs the node's borg: `recover.py PATH PLAN`, the passphrase by BORG_PASSPHRASE_FD.
PLAN is a JSON file: `encryption`; `key` as borg exports it; `recorded`, the ids of archives; `copies`, files with
manifests, the newest first; `originals`, where objects stand as they were before: [id, segment, offset]; `since`,
the segment after which objects are suspect. It prints JSON: how many `archives` the manifest names now, how many
objects were `put_back`, are `lost`, or were garbage and `removed`, whether the `key` was another.
"""

from __future__ import annotations

import importlib
import json
import struct
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# borg has no types.
_helpers: Any = importlib.import_module("borg.helpers")
_key: Any = importlib.import_module("borg.crypto.key")
_low_level: Any = importlib.import_module("borg.crypto.low_level")
_repository: Any = importlib.import_module("borg.repository")

_GARBAGE = (
    _low_level.IntegrityError, _helpers.Error, ArithmeticError, LookupError, MemoryError, TypeError, ValueError,
    struct.error, OSError,
)  # fmt: skip
"""What borg raises where bytes are none of its own, from whichever of its steps."""
_LOCK_WAIT = 60
_ALIVE_SECONDS = 5.0
_ID, _LONGEST_NAME = 32, 240
"""What borg asserts of an archive: the bytes of its id; at most 255 of its name, which may get nine more here."""
_LATEST = datetime(9990, 1, 1)  # noqa: DTZ001 - borg writes times without a zone
"""A time that leaves room for later ones."""
_MANIFEST = _helpers.Manifest.MANIFEST_ID


@dataclass(frozen=True)
class _Manifest:
    """One that could be opened: its bytes, its archives by name, when it was written."""

    sealed: bytes
    archives: dict[bytes, dict[bytes, bytes]]
    written: str
    config: dict[bytes, Any]


class _Alive:
    """Gives signs of life, as blank lines before the answer: who says nothing for long is taken for hung."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._last > _ALIVE_SECONDS:
            self._last = time.monotonic()
            sys.stdout.write("\n")
            sys.stdout.flush()


_alive = _Alive()


def main(argv: Sequence[str]) -> None:
    """Put back, commit, and say what came of it."""
    path, file = argv
    importlib.import_module("borg.logger").setup_logging(level="error")
    plan = json.loads(Path(file).read_text())
    try:
        answer = _recovered(path, plan)
    except _helpers.Error as error:
        said = {"type": "log_message", "levelname": "ERROR", "name": "borg", "message": error.get_message()}
        sys.stderr.write(json.dumps(said | {"msgid": type(error).__qualname__}) + "\n")
        sys.exit(error.exit_mcode)
    sys.stdout.write(json.dumps(answer) + "\n")


def _recovered(path: str, plan: dict[str, Any]) -> dict[str, Any]:
    with _repository.Repository(path, exclusive=True, lock_wait=_LOCK_WAIT) as repository:
        upto = repository.get_transaction_id()
        changed = _put_key_back(repository, plan["key"])
        key = _opened(repository, plan["encryption"])
        put_back, lost = _put_objects_back(repository, key, plan["originals"])
        removed = 0 if plan["since"] is None else _remove_garbage(repository, key, plan["since"], upto)
        copies = [Path(copy).read_bytes() for copy in plan["copies"]]
        manifests = [*_manifests(key, [_stored(repository, _MANIFEST), *copies])]
        archives = _joined(repository, key, manifests, plan["recorded"])
        _write_manifest(repository, key, manifests, archives)
        repository.commit(compact=False)
    return {"archives": len(archives), "put_back": put_back, "lost": lost, "removed": removed, "key": changed}


def _put_key_back(repository: Any, exported: str | None) -> bool:
    if not exported:
        return False
    blob = "\n".join(exported.split("\n")[1:]).strip()
    if repository.load_key().decode().split() == blob.split():
        return False
    repository.save_key(blob.encode())
    return True


def _opened(repository: Any, encryption: str) -> Any:
    """Return the repository's key, whatever the manifest says."""
    kind = next(kind for kind in _key.AVAILABLE_KEY_TYPES if encryption == kind.ARG_NAME)
    key = kind(repository)
    if not key.load(repository, _key.Passphrase.env_passphrase()):
        raise _key.PassphraseWrong
    key.init_ciphers()
    return key


def _put_objects_back(repository: Any, key: Any, originals: list[tuple[str, int, int]]) -> tuple[int, int]:
    """Write again what was deleted or replaced, from the segment where it still stands."""
    put_back = lost = 0
    for name, segment, offset in originals:
        object_id = bytes.fromhex(name)
        data = _read(repository, segment, offset, object_id)
        if data is None or not _opens(key, object_id, data):
            lost += 1
        elif _stored(repository, object_id) != data:
            repository.put(object_id, data)
            put_back += 1
    return put_back, lost


def _read(repository: Any, segment: int, offset: int, object_id: bytes) -> bytes | None:
    try:
        found: bytes = repository.io.read(segment, offset, object_id)
    except _GARBAGE:
        return None
    return found


def _remove_garbage(repository: Any, key: Any, since: int, upto: int) -> int:
    """Delete what was put since and is none of borg's: under the id of content to come it would hit a later archive."""
    len(repository)  # opens the index
    garbage = [
        object_id
        for segment, _ in repository.io.segment_iterator(since + 1)
        if segment <= upto
        for tag, object_id, offset, data in repository.io.iter_objects(segment, include_data=True)
        if tag == _repository.TAG_PUT
        and object_id != _MANIFEST
        and repository.index.get(object_id) == (segment, offset)
        and not _opens(key, object_id, data)
    ]
    for object_id in garbage:
        repository.delete(object_id)
    return len(garbage)


def _opens(key: Any, object_id: bytes, data: bytes) -> bool:
    _alive()
    try:
        key.decrypt(object_id, data)
    except _GARBAGE:
        return False
    return True


def _stored(repository: Any, object_id: bytes) -> bytes | None:
    try:
        found: bytes = repository.get(object_id)
    except _GARBAGE:
        return None
    return found


def _manifests(key: Any, sealed: list[bytes | None]) -> Iterator[_Manifest]:
    """Return those that can be read: who has the passphrase can write one of any shape."""
    for one in sealed:
        if one is None:
            continue
        try:
            opened, _ = key.unpack_and_verify_manifest(key.decrypt(None, one))
            archives = {
                name: {b"id": entry[b"id"], b"time": entry[b"time"]}
                for name, entry in opened[b"archives"].items()
                if _fits(name, entry)
            }
            written = datetime.fromisoformat(opened[b"timestamp"].decode())
            found = _Manifest(
                one,
                archives,
                min(written, _LATEST).isoformat(timespec="microseconds"),
                dict(opened.get(b"config", {})),
            )
        except (*_GARBAGE, AttributeError):
            continue
        yield found


def _fits(name: Any, entry: Any) -> bool:
    """Tell whether borg can list an archive of this name and entry: one that it cannot keeps it from listing any."""
    try:
        moment = datetime.fromisoformat(entry[b"time"].decode())
        return len(entry[b"id"]) == _ID and 0 < len(name) <= _LONGEST_NAME and moment.tzinfo is None
    except (*_GARBAGE, AttributeError):
        return False


def _joined(
    repository: Any, key: Any, manifests: list[_Manifest], recorded: list[str]
) -> dict[bytes, dict[bytes, bytes]]:
    """Return every archive that a manifest or the records name, and whose own object can be opened.

    What we deleted is named by older copies: its object is gone, so it does not come back.
    """
    ours = {bytes.fromhex(borg_id) for borg_id in recorded}
    named = [entry for one in manifests for entry in one.archives.items()]
    unnamed = ours - {entry[b"id"] for _, entry in named}
    named += [found for one in unnamed if (found := _from_its_object(repository, key, one))]
    joined: dict[bytes, dict[bytes, bytes]] = {}
    seen: set[bytes] = set()
    # Ours first: an archive that somebody else gave the name of one of ours gets another.
    for name, entry in sorted(named, key=lambda one: one[1][b"id"] not in ours):
        archive_id = entry[b"id"]
        if archive_id not in seen and _from_its_object(repository, key, archive_id) is not None:
            joined[name if name not in joined else name + b"." + archive_id.hex()[:8].encode()] = entry
        seen.add(archive_id)
    return joined


def _from_its_object(repository: Any, key: Any, archive_id: bytes) -> tuple[bytes, dict[bytes, bytes]] | None:
    sealed = _stored(repository, archive_id)
    if sealed is None:
        return None
    try:
        opened, *_ = key.unpack_and_verify_archive(key.decrypt(archive_id, sealed), force_tam_not_required=True)
        return opened[b"name"], {b"id": archive_id, b"time": opened[b"time"]}
    except _GARBAGE:
        return None


def _write_manifest(repository: Any, key: Any, manifests: list[_Manifest], archives: dict[bytes, Any]) -> None:
    """Write it later than any that a client may have seen: borg takes an older one for a replayed repository."""
    key.init_ciphers(manifests[0].sealed if manifests else None)
    made = _helpers.Manifest(key, repository)
    made.archives.set_raw_dict(archives)
    if manifests:
        made.config = manifests[-1].config  # of a copy, where there is one: ours, not what lies there now
        made.timestamp = max(one.written for one in manifests)
    made.write()


if __name__ == "__main__":
    main(sys.argv[1:])
