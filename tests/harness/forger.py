"""Makes a manifest without archives, sealed with a repository's own key, as who has the passphrase can.

`python -m tests.harness.forger PATH`, the passphrase in BORG_PASSPHRASE; prints it in hex and writes nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def empty_manifest(path: str, passphrase: str, base: Path) -> bytes:
    environment = os.environ | {
        "BORG_PASSPHRASE": passphrase, "BORG_BASE_DIR": str(base), "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    argv = [sys.executable, "-m", "tests.harness.forger", path]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return bytes.fromhex(done.stdout.strip())


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
    manifest.archives._archives.clear()
    manifest.repository = nowhere
    key.nonce_manager.repository = nowhere
    manifest.write()
    print(nowhere.data.hex())


if __name__ == "__main__":
    _main()
