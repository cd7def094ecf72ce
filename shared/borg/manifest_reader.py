"""Lists a repository's archives as its manifest names them, with all that no honest client leaves in one.

A script, run by the Python that runs the node's borg: `manifest_reader.py PATH PLAN`, the passphrase by
BORG_PASSPHRASE_FD. PLAN is a JSON file: `encryption`; `known`, the ids of archives whose own name was read before;
`latest`, the time after which no manifest is believed. Some of what a holder of the passphrase can write would end
`borg list`, and the rest it believes. It prints JSON: `archives`, each with its `name`, `id`, the name `inside` its
own object (null where that was not read) and whether it is `there`; and what is `wrong` with the manifest, in
sentences.
"""

from __future__ import annotations

import importlib
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Python looks for no module beside a script that it runs isolated.
sys.path.append(str(Path(__file__).resolve().parent))
# borg has no types; sealed.py lies beside this script.
_sealed: Any = importlib.import_module("sealed")
_cache: Any = importlib.import_module("borg.cache")
_helpers: Any = importlib.import_module("borg.helpers")
_key: Any = importlib.import_module("borg.crypto.key")
_repository: Any = importlib.import_module("borg.repository")

MANIFEST = _helpers.Manifest.MANIFEST_ID
NONCES = 1 << 32
"""How far ahead of what is given out a manifest may count: a client's last step may have been cut short."""
_LOCK_WAIT = 60
_ID, _LONGEST_NAME, _LAST_YEAR = 32, 255, 9990


def main(argv: Sequence[str]) -> None:
    """Print what is listed."""
    path, file = argv
    importlib.import_module("borg.logger").setup_logging(level="error")
    plan = json.loads(Path(file).read_text())
    _sealed.told(lambda: _listed(path, plan))


def inside(key: Any, archive_id: bytes, sealed: bytes) -> dict[bytes, Any] | None:
    """Return what an archive's own object says; None where it cannot be opened."""
    data = _sealed.decrypted(key, archive_id, sealed)
    if data is None:
        return None
    try:
        found, *_ = key.unpack_and_verify_archive(data, force_tam_not_required=True)
        return found if isinstance(found[b"name"], bytes) and isinstance(found[b"time"], bytes) else None
    except _sealed.GARBAGE:
        return None


def fits(name: Any, entry: Any) -> bool:
    """Tell whether borg can list an archive of this name and entry: one that it cannot keeps it from listing any."""
    try:
        moment = datetime.fromisoformat(entry[b"time"].decode())
        return (
            isinstance(entry[b"id"], bytes)
            and len(entry[b"id"]) == _ID
            and isinstance(name, bytes)
            and 0 < len(name) <= _LONGEST_NAME
            and moment.tzinfo is None
            and moment.year < _LAST_YEAR
        )
    except _sealed.GARBAGE:
        return False


def first_nonce(key: Any, sealed: bytes) -> int | None:
    """Return from where an object is encrypted; None where its kind of key counts nothing."""
    cipher = getattr(key, "cipher", None)
    if cipher is None or isinstance(key, _key.AuthenticatedKeyBase):
        return None
    return int(cipher.extract_iv(sealed))


def given_out(path: str) -> int | None:
    """Return up to where nonces are given out; None where the repository does not say."""
    try:
        return int((Path(path) / "nonce").read_text().strip(), 16)
    except (FileNotFoundError, ValueError):
        return None


def _listed(path: str, plan: dict[str, Any]) -> dict[str, Any]:
    with _repository.Repository(path, exclusive=False, lock_wait=_LOCK_WAIT) as repository:
        key = _sealed.opened(repository, plan["encryption"])
        try:
            sealed: bytes = repository.get(MANIFEST)
        except _repository.Repository.ObjectNotFound:
            raise _helpers.NoManifestError from None
        if _sealed.decrypted(key, None, sealed) is None:  # borg itself would unpack it without a bound
            return {"archives": [], "wrong": ["it cannot be read: it is none that borg wrote"], "readable": False}
        try:
            manifest, _ = _helpers.Manifest.load(repository, tuple(_helpers.Manifest.Operation), key=key)
            entries = list(manifest.archives.get_raw_dict().items())
            wrong = list(_wrong(path, key, manifest, sealed, entries, plan["latest"]))
        except _sealed.GARBAGE as error:
            return {"archives": [], "wrong": [f"it cannot be read: {type(error).__name__}"], "readable": False}
        if not wrong:
            # What borg would ask before it lists; not of a manifest that must not be remembered.
            _cache.assert_secure(repository, manifest, _LOCK_WAIT)
        known = frozenset(plan["known"])
        right = sorted((one for one in entries if fits(*one)), key=lambda one: one[1][b"time"])
        archives = [_entry(repository, key, name, entry, known) for name, entry in right]
    return {"archives": archives, "wrong": wrong, "readable": len(right) == len(entries)}


def _wrong(
    path: str, key: Any, manifest: Any, sealed: bytes, entries: list[tuple[Any, Any]], latest: str
) -> Iterator[str]:
    written = datetime.fromisoformat(manifest.timestamp)  # what is no time makes it unreadable
    if written.replace(tzinfo=None) > datetime.fromisoformat(latest):
        yield f"it was written at {manifest.timestamp[:19]}, later than now: it is forged, or that clock was wrong"
    nonce = first_nonce(key, sealed)
    free = given_out(path)
    if nonce is not None and free is not None and nonce > free + NONCES:
        yield f"it counts from nonce {nonce}, and {free} are given out"
    if odd := sum(not fits(*one) for one in entries):
        yield f"{odd} of its entries are none that borg writes"


def _entry(repository: Any, key: Any, name: bytes, entry: dict[bytes, bytes], known: frozenset[str]) -> dict[str, Any]:
    archive_id = entry[b"id"]
    said = {"name": name.decode("utf-8", "surrogateescape"), "id": archive_id.hex(), "inside": None, "there": True}
    if archive_id not in repository:
        return said | {"there": False}
    if said["id"] in known:
        return said
    try:
        own = inside(key, archive_id, repository.get(archive_id))
    except _sealed.GARBAGE:  # the disk, or who wrote it: the check and the proof of what was written tell
        own = None
    return said if own is None else said | {"inside": own[b"name"].decode("utf-8", "surrogateescape")}


if __name__ == "__main__":
    main(sys.argv[1:])
