"""Makes a manifest that lies, sealed with a repository's own key, as who has the passphrase can.

`python -m tests.harness.forger PATH FORGERY`, the passphrase in BORG_PASSPHRASE; prints it in hex and writes nothing.
A forgery is Python that works on `manifest`, `key` and `repository`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EMPTY = "manifest.archives._archives.clear()"
NAMES = "old = manifest.archives._archives; names = sorted(old); "
CHECKPOINT = "b'web1-system-2000-01-01T00000%dZ-' % number + b'0' * 32 + b'.checkpoint'"
LATE = "key.nonce_manager.ensure_reservation = lambda nonce, need: {}"
FORGERIES: dict[str, str] = {
    "a checkpoint for each archive": f"{NAMES}[old.update({{{CHECKPOINT}: dict(old[name])}}) for number, name in enumerate(names)]",
    "a checkpoint instead of an archive": f"{NAMES}number = 1; old[{CHECKPOINT}] = old.pop(names[0])",
    "ten more names of one archive": f"{NAMES}old.update({{b'x%d' % n: dict(old[names[0]]) for n in range(10)}})",
    "two exchanged": f"{NAMES}old[names[0]], old[names[1]] = old[names[1]], old[names[0]]",
    "one renamed": f"{NAMES}old[b'other'] = old.pop(names[0])",
    "a name that leads nowhere": f"{NAMES}old[b'nowhere'] = {{b'id': b'n' * 32, b'time': old[names[0]][b'time']}}",
    "an entry that is none": f"{NAMES}old[b'odd'] = {{b'id': b'short', b'time': b'never'}}",
    "an archive of the year 9999": f"{NAMES}old[names[-1]] = old[names[-1]] | {{b'time': b'9999-12-31T23:59:59.999997'}}",
    "a nonce far ahead": LATE.format(2**50),
    "the last nonces": LATE.format(2**64 - 2),
    "the year 9995": "manifest.timestamp = '9995-01-01T00:00:00.000000'",
    "the end of time": "manifest.timestamp = '9999-12-31T23:59:59.999997'",
    "no time": "manifest.__class__.last_timestamp = manifest.timestamp = None; import borg.item; "
    "manifest.write = lambda: repository.put(b'\\0' * 32, key.encrypt(key.pack_and_authenticate_metadata("
    "{'version': 1, 'archives': dict(manifest.archives._archives), 'timestamp': 'never', 'config': {}, 'item_keys': ()})))",
    "a feature that no borg has": "manifest.config = {b'feature_flags': {b'delete': {b'mandatory': [b'x']}}}",
}  # fmt: skip


SEAL = """
class AsItIs:
    compress = staticmethod(lambda data: data)
key.compressor = AsItIs()
print(*(key.encrypt(bytes.fromhex(payload)).hex() for payload in {!r}), sep="\\n")
"""


def forged_manifest(path: str, passphrase: str, base: Path, forgery: str = EMPTY) -> bytes:
    return _forged(path, passphrase, base, forgery)[-1]


def sealed(path: str, passphrase: str, base: Path, *payloads: bytes) -> list[bytes]:
    """Return objects whose MAC is right, and in which lies what borg would have compressed."""
    return _forged(path, passphrase, base, SEAL.format([payload.hex() for payload in payloads]))[:-1]


def _forged(path: str, passphrase: str, base: Path, forgery: str) -> list[bytes]:
    environment = os.environ | {
        "BORG_PASSPHRASE": passphrase, "BORG_BASE_DIR": str(base), "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    argv = [sys.executable, "-m", "tests.harness.forger", path, forgery]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [bytes.fromhex(line) for line in done.stdout.split()]


class _Nowhere:
    """Takes what would be written."""

    def __init__(self, nonce: int) -> None:
        self.nonce = nonce
        self.data = b""

    def put(self, _id: bytes, data: bytes) -> None:
        self.data = data

    def get_free_nonce(self) -> int:
        return self.nonce

    def commit_nonce_reservation(self, _next: int, _start: int) -> None:
        return


def _main() -> None:
    from borg.helpers import Manifest
    from borg.logger import setup_logging
    from borg.repository import Repository

    setup_logging(level="error")
    with Repository(sys.argv[1], lock=False) as repository:
        repository.lock = None
        repository.do_lock = False
        manifest, key = Manifest.load(repository, Manifest.NO_OPERATION_CHECK)
        nowhere = _Nowhere(repository.get_free_nonce())
    manifest.repository = repository = nowhere
    key.nonce_manager.repository = nowhere
    exec(sys.argv[2], {"manifest": manifest, "key": key, "repository": repository})  # noqa: S102 - ours
    manifest.write()
    print(nowhere.data.hex())


if __name__ == "__main__":
    _main()
