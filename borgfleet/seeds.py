"""Seeds for the users of NATS: each in a file of its own, and the public keys in one for nats-server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import nkeys

from borgfleet.accounts import USERS, variable
from shared.domain.messages.installation import NATS_SEED_INVALID_MAKE, SEEDS_UNWRITABLE
from shared.errors import Permanent
from shared.secret_files import read_secret

if TYPE_CHECKING:
    from pathlib import Path

KEYS = "nats_keys.env"
"""Not secret: nats-server reads it as its environment."""


def seed_file(directory: Path, user: str) -> Path:
    """Return where a user's seed lies."""
    return directory / f"nats_seed_{user}"


def make_seeds(directory: Path) -> list[Path]:
    """Make the seeds that are missing, mode 0600, and write all public keys; return what was made.

    A seed that is there is kept: to change one, take its file away, run this again, and restart nats-server.
    """
    made: list[Path] = []
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for user in USERS:
            file = seed_file(directory, user)
            if not file.exists():
                _write_new(file, nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))  # pyright: ignore[reportUnknownMemberType] - nkeys is untyped
                made.append(file)
        lines = [f"{variable(user)}={_public_key(seed_file(directory, user))}" for user in USERS]
        (directory / KEYS).write_text("\n".join(lines) + "\n")
    except OSError as error:
        raise Permanent(SEEDS_UNWRITABLE(directory=directory, error=error.strerror)) from error
    return made


def _write_new(file: Path, seed: bytes) -> None:
    number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(number, "wb") as opened:
        opened.write(seed)
        opened.flush()
        os.fsync(number)


def _public_key(file: Path) -> str:
    seed = read_secret(file, "NATS seed file").strip()
    try:
        pair: Any = nkeys.from_seed(bytearray(seed))  # pyright: ignore[reportUnknownMemberType] - nkeys is untyped
        return bytes(pair.public_key).decode()
    except (nkeys.NkeysError, ValueError) as error:
        raise Permanent(NATS_SEED_INVALID_MAKE(path=file)) from error
