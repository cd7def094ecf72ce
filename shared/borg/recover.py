"""Puts a repository back as it was: its key, the objects that were deleted or replaced, a manifest with all archives.

A script, run by the Python that runs the node's borg: `recover.py PATH PLAN`, the passphrase by BORG_PASSPHRASE_FD.
PLAN is a JSON file: `encryption`; `key` as borg exports it; `recorded`, archives, id -> name; `copies`, files with
manifests, the newest first; `originals`, where objects stand as they were before: [id, segment, offset]; `since`,
the segment after which objects are suspect; `latest`, the time after which no manifest is believed. It prints JSON: how
many `archives` the manifest names now, how many objects were `put_back`, are `lost`, or were garbage and `removed`,
whether the `key` was another.
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Python looks for no module beside a script that it runs isolated.
sys.path.append(str(Path(__file__).resolve().parent))
# borg has no types.
_sealed: Any = importlib.import_module("sealed")
_manifest: Any = importlib.import_module("manifest_reader")
_counter: Any = importlib.import_module("nonce_counter")
_helpers: Any = importlib.import_module("borg.helpers")
_repository: Any = importlib.import_module("borg.repository")

_GARBAGE = _sealed.GARBAGE
_LOCK_WAIT = 60
_ID, _LONGEST_NAME = 32, 240
"""The bytes of an id; those of a name, which may get nine more here: borg takes 255."""
_MANIFEST = _manifest.MANIFEST


@dataclass(frozen=True)
class _Manifest:
    """One that could be opened: its bytes, the ids that it names, when it was written, whether it is a copy of ours."""

    sealed: bytes
    ids: tuple[bytes, ...]
    written: datetime
    config: dict[bytes, Any]
    ours: bool


def main(argv: Sequence[str]) -> None:
    """Put back, commit, and say what came of it."""
    path, file = argv
    importlib.import_module("borg.logger").setup_logging(level="error")
    plan = json.loads(Path(file).read_text())
    _sealed.told(lambda: _recovered(path, plan))


def _recovered(path: str, plan: dict[str, Any]) -> dict[str, Any]:
    recorded = {bytes.fromhex(borg_id): name.encode() for borg_id, name in plan["recorded"].items()}
    with _repository.Repository(path, exclusive=True, lock_wait=_LOCK_WAIT) as repository:
        upto = repository.get_transaction_id()
        changed = _put_key_back(repository, plan["key"])
        key = _sealed.opened(repository, plan["encryption"])
        put_back, lost = _put_objects_back(repository, key, plan["originals"])
        brought, missed = _bring_back(repository, key, recorded, upto)
        removed = 0 if plan["since"] is None else _remove_garbage(repository, key, plan["since"], upto)
        stored = _stored(repository, _MANIFEST)
        manifests = [*_manifests(key, [stored], ours=False), *_manifests(key, _copies(plan["copies"]), ours=True)]
        _counter.begin(repository, key, [one.sealed for one in manifests if one.ours])
        archives = _joined(repository, key, manifests, recorded)
        latest = datetime.fromisoformat(plan["latest"])
        _write_manifest(repository, key, [one for one in manifests if one.written <= latest], archives)
        repository.commit(compact=False)
    return {
        "archives": len(archives),
        "put_back": put_back + brought,
        "lost": lost + missed,
        "removed": removed,
        "key": changed,
    }


def _copies(files: Sequence[str]) -> Iterator[bytes | None]:
    for file in files:
        try:
            yield Path(file).read_bytes()
        except OSError:
            yield None


def _put_key_back(repository: Any, exported: str | None) -> bool:
    if not exported:
        return False
    blob = "\n".join(exported.split("\n")[1:]).strip()
    if repository.load_key().decode().split() == blob.split():
        return False
    repository.save_key(blob.encode())
    return True


def _put_objects_back(repository: Any, key: Any, originals: list[tuple[str, int, int]]) -> tuple[int, int]:
    """Write again what was deleted or replaced, from the segment where it still stands."""
    put_back = lost = 0
    for name, segment, offset in originals:
        object_id = bytes.fromhex(name)
        data = _read(repository, segment, offset, object_id)
        if data is None or not _sealed.opens(key, object_id, data):
            lost += 1
        elif _stored(repository, object_id) != data:
            repository.put(object_id, data)
            put_back += 1
    return put_back, lost


def _bring_back(repository: Any, key: Any, recorded: Mapping[bytes, bytes], upto: int) -> tuple[int, int]:
    """Write again what archives on record need and the repository holds no more, from where it stands deleted.

    An archive that was deleted under another's name, by whomever, stands in the segments until they are compacted.
    """
    gone = [archive_id for archive_id in recorded if archive_id not in repository]
    if not gone:
        return 0, 0
    deleted = _deleted(repository, upto)
    put_back = lost = 0
    for archive_id in gone:
        if archive_id not in deleted:
            continue  # nothing of it can be named; that it is missing is told by the list
        for object_id in _needed(repository, key, archive_id, deleted):
            if object_id in repository:
                continue
            data = _read(repository, *deleted[object_id], object_id) if object_id in deleted else None
            if data is None or not _sealed.opens(key, object_id, data):
                lost += 1
            else:
                repository.put(object_id, data)
                put_back += 1
    return put_back, lost


def _deleted(repository: Any, upto: int) -> dict[bytes, tuple[int, int]]:
    """Return where each object that the index knows no more was put last; what cannot be read is passed over."""
    found: dict[bytes, tuple[int, int]] = {}
    for segment, _ in repository.io.segment_iterator():
        if segment > upto:
            break
        _sealed.alive()
        try:
            for tag, object_id, offset, _ in repository.io.iter_objects(segment, read_data=False):
                if tag == _repository.TAG_PUT and object_id not in repository:
                    found[object_id] = (segment, offset)
        except _GARBAGE:
            continue
    return found


def _needed(repository: Any, key: Any, archive_id: bytes, deleted: Mapping[bytes, tuple[int, int]]) -> Iterator[bytes]:
    """Return what an archive consists of, itself first, by what its own objects say."""

    def content(object_id: bytes) -> bytes | None:
        sealed = _stored(repository, object_id)
        if sealed is None and object_id in deleted:
            sealed = _read(repository, *deleted[object_id], object_id)
        return None if sealed is None else _sealed.decrypted(key, object_id, sealed)

    yield archive_id
    unpacker = _helpers.msgpack.Unpacker(use_list=False)
    try:
        archive = _helpers.msgpack.unpackb(content(archive_id))
        for object_id in archive[b"items"]:
            yield object_id
            unpacker.feed(content(object_id) or b"")
            for item in unpacker:
                yield from (chunk[0] for chunk in item.get(b"chunks") or ())
    except _GARBAGE:
        return


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
        and not _sealed.opens(key, object_id, data)
    ]
    for object_id in garbage:
        repository.delete(object_id)
    return len(garbage)


def _stored(repository: Any, object_id: bytes) -> bytes | None:
    try:
        found: bytes = repository.get(object_id)
    except _GARBAGE:
        return None
    return found


def _manifests(key: Any, sealed: Iterator[bytes | None] | list[bytes | None], *, ours: bool) -> Iterator[_Manifest]:
    """Return those that can be read: who has the passphrase can write one of any shape."""
    for one in sealed:
        data = None if one is None else _sealed.decrypted(key, None, one)
        if one is None or data is None:
            continue
        try:
            opened, _ = key.unpack_and_verify_manifest(data)
            ids = tuple(entry[b"id"] for entry in opened[b"archives"].values() if _names_one(entry))
            found = _Manifest(one, ids, _moment(opened.get(b"timestamp")), dict(opened.get(b"config", {})), ours)
        except _GARBAGE:
            continue
        yield found


def _names_one(entry: Any) -> bool:
    try:
        return isinstance(entry[b"id"], bytes) and len(entry[b"id"]) == _ID
    except _GARBAGE:
        return False


def _moment(text: Any) -> datetime:
    """Return when a manifest was written; what is no time is later than all, so that nobody believes it."""
    try:
        return datetime.fromisoformat(text.decode()).replace(tzinfo=None)
    except _GARBAGE:
        return datetime(9999, 12, 31)  # noqa: DTZ001 - borg writes times without a zone


def _joined(
    repository: Any, key: Any, manifests: list[_Manifest], recorded: Mapping[bytes, bytes]
) -> dict[bytes, dict[bytes, bytes]]:
    """Return every archive that a manifest or the records name, and whose own object can be opened, by its right name.

    The right name is the recorded one, else what the archive calls itself: what a manifest says leads anywhere. What we
    deleted is named by older copies: its object is gone, so it does not come back.
    """
    joined: dict[bytes, dict[bytes, bytes]] = {}
    for archive_id in dict.fromkeys([*recorded, *(one for found in manifests for one in found.ids)]):
        sealed = _stored(repository, archive_id)
        own = None if sealed is None else _manifest.inside(key, archive_id, sealed)
        if own is None:
            continue
        name: bytes = recorded.get(archive_id, own[b"name"])
        entry: dict[bytes, bytes] = {b"id": archive_id, b"time": own[b"time"]}
        if not _manifest.fits(name, entry):
            continue
        if name in joined:  # somebody gave it the name of another: that one keeps it
            name, entry = _renamed(repository, key, own, archive_id)
        joined[name] = entry
    return joined


def _renamed(repository: Any, key: Any, own: dict[bytes, Any], archive_id: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Give an archive another name, as `borg rename` does: a name that it does not have itself counts as forged."""
    name = own[b"name"][:_LONGEST_NAME] + b"." + archive_id.hex()[:8].encode()
    # borg adds a key of text, and sorts them all.
    metadata = {field.decode(): value for field, value in (own | {b"name": name}).items() if field != b"tam"}
    data = key.pack_and_authenticate_metadata(metadata, context=b"archive")
    renamed = key.id_hash(data)
    repository.put(renamed, key.encrypt(data))
    repository.delete(archive_id)
    return name, {b"id": renamed, b"time": own[b"time"]}


def _write_manifest(repository: Any, key: Any, manifests: list[_Manifest], archives: dict[bytes, Any]) -> None:
    """Write it later than any that an honest client has seen: borg takes an older one for a replayed repository."""
    made = _helpers.Manifest(key, repository)
    made.archives.set_raw_dict(archives)
    copies = [one for one in manifests if one.ours]
    if manifests:
        made.config = (copies or manifests)[0].config
        made.timestamp = max(one.written for one in manifests).isoformat(timespec="microseconds")
    made.write()
    _counter.forget_later(repository, made.timestamp)


if __name__ == "__main__":
    main(sys.argv[1:])
