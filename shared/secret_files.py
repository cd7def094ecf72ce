"""Reading files that hold a secret: password, token, seed, key. One that others can read is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from shared.domain.messages.installation import (
    MASTER_KEY_EXPOSED,
    MASTER_KEY_MISSING_FILE,
    MASTER_KEY_UNREADABLE,
    SECRET_FILE_EXPOSED,
    SECRET_FILE_INVALID,
    SECRET_FILE_MISSING,
    SECRET_FILE_UNREADABLE,
)
from shared.errors import Permanent

_ORCHESTRATORS = Path("/run/secrets")
"""Where a container engine mounts its secrets; nothing else runs beside the service there."""
_OTHERS = stat.S_IRWXO
_GROUP_CHANGES = stat.S_IWGRP | stat.S_IXGRP
_REFUSALS = {
    "secret_file": (SECRET_FILE_MISSING, SECRET_FILE_UNREADABLE, SECRET_FILE_EXPOSED),
    "master_key": (MASTER_KEY_MISSING_FILE, MASTER_KEY_UNREADABLE, MASTER_KEY_EXPOSED),
}
"""By the beginning of the code that is told: not there, not to be read, to be read by others."""


def read_secret(path: Path, what: str, *, code: str = "secret_file") -> bytes:
    """Return what a secret file holds; Permanent with `<code>_missing`, `_unreadable` or `_exposed` otherwise."""
    missing, unreadable, exposed = _REFUSALS[code]
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())  # of what is read, not of what has the name by now
            read_only = bool(os.fstatvfs(file.fileno()).f_flag & os.ST_RDONLY)
            content = file.read()
    except FileNotFoundError as error:
        raise Permanent(missing(what=what, path=path)) from error
    except OSError as error:
        raise Permanent(unreadable(what=what, path=path, error=error.strerror)) from error
    if not _is_ours_alone(found) and not (read_only and _is_mounted_secret(path, found)):
        raise Permanent(exposed(what=what, path=path))
    return content


def read_secret_text(path: Path, what: str) -> str:
    """Return a secret of one line, without the white space around it; Permanent if there is none."""
    try:
        text = read_secret(path, what).decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise Permanent(SECRET_FILE_INVALID(what=what, path=path))
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
