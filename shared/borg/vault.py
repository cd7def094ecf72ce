"""What a node keeps of its repositories outside of them: the key as borg exports it, copies of the manifest."""

from __future__ import annotations

import contextlib
import errno
import os
from configparser import ConfigParser, Error
from pathlib import Path

from shared.domain.messages import borg_causes as causes

KEPT = 30
_SUFFIX = ".manifest"


def exported_key(path: str) -> str | None:
    """Return a repository's key as `borg key export` writes it; empty where it has none, None without a repository."""
    config = ConfigParser(interpolation=None)
    try:
        if not config.read(Path(path) / "config") or not config.has_option("repository", "id"):
            return None
    except (Error, UnicodeDecodeError):  # borg itself says what is wrong with it
        return None
    lines = config.get("repository", "key", fallback="").split()
    return "\n".join([f"BORG_KEY {config.get('repository', 'id').strip()}", *lines, ""]) if lines else ""


def repository_id(path: str) -> str | None:
    """Return borg's id of what is at a path, as its `config` has it; None where that tells none."""
    config = ConfigParser(interpolation=None)
    try:
        config.read(Path(path) / "config")
    except (Error, UnicodeDecodeError):
        return None
    return config.get("repository", "id", fallback="").strip() or None


def keep_manifest(directory: Path, sealed: bytes, upto: int) -> None:
    """Keep the manifest as of a transaction, and the last ones before it."""
    temporary = directory / f".{upto}.{os.getpid()}"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(sealed)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(directory / f"{upto}{_SUFFIX}")
    except OSError as error:  # a full disk of the node must not end the run whose archive is whole
        with contextlib.suppress(OSError):
            temporary.unlink()
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cause = causes.NODE_FULL if full else causes.NODE_DISK
        raise cause.error(f"no copy of the list of archives was kept in {directory}: {error.strerror}") from error
    for old in kept_manifests(directory)[KEPT:]:
        old.unlink(missing_ok=True)


def kept_manifests(directory: Path) -> list[Path]:
    """Return the copies, the newest first."""
    found = (file for file in directory.glob(f"*{_SUFFIX}") if file.stem.isdecimal())
    return sorted(found, key=lambda file: int(file.stem), reverse=True)
