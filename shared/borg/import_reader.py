"""Reads what a repository holds that plain borg made, of whatever version, under whatever names.

A script, run by the Python that runs the node's borg: `import_reader.py PATH PLAN`, the passphrase by
BORG_PASSPHRASE_FD. PLAN is a JSON file: `known`, the ids of archives whose figures are known, and `seconds`, for how
long files of archives may be counted that do not say how many they hold. It prints JSON: the `encryption`, whether it
is `hidden`, whether the list of archives is `signed`, or has to be first (`upgrade`), and the `archives`, each with
`name`, `id`, `start`, `end`, `files`, `size`, `csize` (null where nobody knows), `there`, and `signed`: true, false, or
null where it is forged.
"""

from __future__ import annotations

import importlib
import json
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# Python looks for no module beside a script that it runs isolated.
sys.path.append(str(Path(__file__).resolve().parent))
# borg has no types; sealed.py lies beside this script.
_sealed: Any = importlib.import_module("sealed")
_archive: Any = importlib.import_module("borg.archive")
_helpers: Any = importlib.import_module("borg.helpers")
_key: Any = importlib.import_module("borg.crypto.key")
_repository: Any = importlib.import_module("borg.repository")

_MANIFEST = _helpers.Manifest.MANIFEST_ID
_LOCK_WAIT = 60


class Unreadable(_helpers.Error):
    """The list of archives cannot be read: {}."""

    exit_mcode = 27


def main(argv: Sequence[str]) -> None:
    """Print what is there."""
    path, file = argv
    importlib.import_module("borg.logger").setup_logging(level="error")
    plan = json.loads(Path(file).read_text())
    _sealed.told(lambda: _found(path, plan))


def _found(path: str, plan: dict[str, Any]) -> dict[str, Any]:
    until = time.monotonic() + plan["seconds"]
    with _repository.Repository(path, exclusive=False, lock_wait=_LOCK_WAIT) as repository:
        try:
            sealed: bytes = repository.get(_MANIFEST)
        except _repository.Repository.ObjectNotFound:
            raise _helpers.NoManifestError from None
        key = _key.key_factory(repository, sealed)
        if _sealed.decrypted(key, None, sealed) is None:  # borg itself would unpack it without a bound
            message = "it is none that borg wrote"
            raise Unreadable(message)
        kind = {"encryption": key.ARG_NAME, "hidden": bool(key.logically_encrypted)}
        try:
            manifest, _ = _loaded(repository, key)
        except _key.TAMRequiredError:
            return kind | {"signed": False, "upgrade": True}
        known, listed = frozenset(plan["known"]), sorted(manifest.archives.get_raw_dict().items(), key=_moment)
        archives = [_told(repository, key, manifest, name, entry, known, until) for name, entry in listed]
    return kind | {
        "signed": bool(manifest.tam_verified),
        "archives": [one for one in archives if one is not None],
        "odd": sum(one is None for one in archives),
    }  # fmt: skip


def _loaded(repository: Any, key: Any) -> Any:
    try:
        return _helpers.Manifest.load(repository, (_helpers.Manifest.Operation.READ,), key=key)
    except _helpers.Error:
        raise
    except _sealed.GARBAGE as error:
        raise Unreadable(type(error).__name__) from error


def _moment(one: tuple[Any, Any]) -> bytes:
    try:
        found: Any = one[1][b"time"]
    except _sealed.GARBAGE:
        return b""
    return found if isinstance(found, bytes) else b""


def _told(
    repository: Any, key: Any, manifest: Any, name: Any, entry: Any, known: frozenset[str], until: float
) -> dict[str, Any] | None:
    """Return what there is to say of an archive; None of what is none of borg's."""
    _sealed.alive()
    try:
        archive_id, start = entry[b"id"], entry[b"time"].decode()
        shown = name.decode("utf-8", "surrogateescape")
        told = {"name": shown, "id": archive_id.hex(), "start": start, "end": start, "there": archive_id in repository}
        told |= {"files": None, "size": None, "csize": None, "signed": False}
    except _sealed.GARBAGE:
        return None
    if told["there"] and told["id"] not in known:
        told |= _figures(repository, key, manifest, told, until)
    return told


def _figures(repository: Any, key: Any, manifest: Any, told: dict[str, Any], until: float) -> dict[str, Any]:
    archive_id = bytes.fromhex(told["id"])
    try:
        data = _sealed.decrypted(key, archive_id, repository.get(archive_id))
        own, signed, _ = key.unpack_and_verify_archive(data, force_tam_not_required=True)
        item = {one.decode(): value for one, value in own.items()}
        end = item.get("time_end")
        found = {"signed": bool(signed), "end": end.decode() if isinstance(end, bytes) else told["end"]}
        sizes = {name: item[key] for name, key in (("files", "nfiles"), ("size", "size"), ("csize", "csize"))
                 if isinstance(item.get(key), int)}  # fmt: skip
        if "files" not in sizes and time.monotonic() < until:
            sizes |= _counted(repository, key, manifest, told["name"], until)
    except _helpers.Error as error:
        if isinstance(error, _key.ArchiveTAMInvalid):
            return {"signed": None}
        return {}
    except _sealed.GARBAGE:  # the disk, or who wrote it: reading it tells
        return {}
    return found | sizes


def _counted(repository: Any, key: Any, manifest: Any, name: str, until: float) -> dict[str, int]:
    """Count the files of an archive that does not say how many they are; nothing where that takes too long."""
    files = size = 0
    for item in _archive.Archive(repository, key, manifest, name).iter_items():
        _sealed.alive()
        if time.monotonic() > until:
            return {}
        if stat.S_ISREG(item.mode) and "source" not in item:
            files, size = files + 1, size + item.get_size()
    return {"files": files, "size": size}


if __name__ == "__main__":
    main(sys.argv[1:])
