"""Recovery kits as files: written whole or not at all, for their owner alone; read however they are encrypted."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

from shared.domain.messages.recovery_kit import KIT_BROKEN, KIT_EXISTS, KIT_UNWRITABLE
from shared.errors import Conflict, Invalid, Permanent
from shared.kit.packed import LARGEST, unpacked
from shared.secret_files import read_secret, read_secret_text

if TYPE_CHECKING:
    from pathlib import Path

    from shared.kit.contents import Kit


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Conflict if something is there that must not be replaced: nothing has to be encrypted to tell that."""
    if not overwrite and os.path.lexists(path):
        raise Conflict(KIT_EXISTS(path=path))


def write_whole(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Write a file of mode 0600 in one step; Conflict or Permanent leave what was there, and nothing half written."""
    refuse_existing(path, overwrite=overwrite)
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _place(part, path, overwrite=overwrite)
        finally:
            part.unlink(missing_ok=True)
        _sync(path.parent)
    except FileExistsError as error:
        raise Conflict(KIT_EXISTS(path=path)) from error
    except OSError as error:
        raise Permanent(KIT_UNWRITABLE(path=path, error=error.strerror or error)) from error


def read_kit_file(path: Path, identity: Path | None = None, passphrase_file: Path | None = None) -> Kit:
    """Read a kit, with the file of a private key or of a passphrase where it is encrypted; Invalid says why not."""
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise Invalid(KIT_BROKEN(problem=f"it has more than {LARGEST // 1024**2} MiB"))
    identities = read_secret(identity, "file of the private key").decode(errors="replace") if identity else ""
    passphrase = read_secret_text(passphrase_file, "passphrase file") if passphrase_file else ""
    return unpacked(data, identities=identities, passphrase=passphrase)


def _place(part: Path, path: Path, *, overwrite: bool) -> None:
    """Give the whole file its name; unless that is wanted, never over what came there meanwhile."""
    if overwrite:
        part.replace(path)
        return
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a stick's file system has no links
        part.rename(path)


def _sync(directory: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
