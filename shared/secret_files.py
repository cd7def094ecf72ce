"""Reading files that hold a secret: password, token, seed, key. One that others can read is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from shared.errors import Permanent

_ORCHESTRATORS = Path("/run/secrets")
"""Where a container engine mounts its secrets; nothing else runs beside the service there."""
_OTHERS = stat.S_IRWXO
_GROUP_CHANGES = stat.S_IWGRP | stat.S_IXGRP


def read_secret(path: Path, what: str, *, code: str = "secret_file") -> bytes:
    """Return what a secret file holds; Permanent with `<code>_missing`, `_unreadable` or `_exposed` otherwise."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())  # of what is read, not of what has the name by now
            read_only = bool(os.fstatvfs(file.fileno()).f_flag & os.ST_RDONLY)
            content = file.read()
    except FileNotFoundError as error:
        message = f"there is no {what} at {path}"
        raise Permanent(message, code=f"{code}_missing", remedy="make the file, or correct its setting") from error
    except OSError as error:
        message = f"the {what} {path} cannot be read: {error.strerror}"
        remedy = "let the user who runs Borgfleet own it, mode 0600"
        raise Permanent(message, code=f"{code}_unreadable", remedy=remedy) from error
    if not _is_ours_alone(found) and not (read_only and _is_mounted_secret(path, found)):
        message = f"the {what} {path} can be read by others"
        remedy = f"chmod 600 {path}; or 0440 with a group of the user who runs Borgfleet"
        raise Permanent(message, code=f"{code}_exposed", remedy=remedy)
    return content


def read_secret_text(path: Path, what: str) -> str:
    """Return a secret of one line, without the white space around it; Permanent if there is none."""
    try:
        text = read_secret(path, what).decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text:
        message = f"the {what} {path} holds no text"
        raise Permanent(message, code="secret_file_invalid", remedy="write the secret into it, one line of UTF-8")
    return text


def _is_ours_alone(found: os.stat_result) -> bool:
    """Tell whether nobody else reads it; a group of ours may: a Kubernetes Secret is `root:<fsGroup> 0440`."""
    if found.st_mode & (_OTHERS | _GROUP_CHANGES):
        return False
    return not found.st_mode & stat.S_IRGRP or found.st_gid in {os.getegid(), *os.getgroups()}


def _is_mounted_secret(path: Path, found: os.stat_result) -> bool:
    """Tell whether a container engine gave it: a swarm secret is 0444, and its mount can only be read."""
    return not found.st_mode & (stat.S_IWOTH | stat.S_IXOTH | _GROUP_CHANGES) and path.resolve().is_relative_to(
        _ORCHESTRATORS.resolve()
    )
