"""From borg's exit code and message ids to our errors, each with cause and remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import AppError, Permanent, Transient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.borg.output import LogLine

WARNINGS = frozenset({1, *range(100, 128)})
_NOT_FOUND = 127
_SIGNALLED = 128
_LEASE = 75
_BAD_ARGUMENTS = 2
_REASON = 500
ROLLED_BACK = "repository_rolled_back"


@dataclass(frozen=True, slots=True)
class _Kind:
    error: type[Permanent | Transient]
    code: str
    remedy: str


_LOCKED = _Kind(Transient, "repository_locked", "another borg is writing to this repository; it is tried again")
_PASSPHRASE = _Kind(Permanent, "passphrase_wrong", "restore this repository's passphrase from its recovery kit")
_MISSING = _Kind(Permanent, "repository_missing", "see that the storage pool is mounted and the repository is in place")
_CLOSED = _Kind(Transient, "storage_closed", "the storage endpoint ended the connection: look at its sshd and its borg")
_NO_ROUTE = _Kind(
    Transient, "storage_unreachable", "check the network to the storage endpoint; or use the tunnel transport"
)
_REFUSED = _Kind(Permanent, "path_refused", "the storage endpoint lets this server reach its own repositories only")
_ROLLED_BACK = _Kind(
    Permanent, ROLLED_BACK, "an incident: the repository is older or elsewhere than borg remembers; see docs/operations"
)
_CORRUPT = _Kind(
    Permanent, "repository_corrupt", "run a check of this repository before anything else; see docs/operations"
)
_FULL = _Kind(
    Permanent, "disk_full", "free space on the storage pool, or move the repository; older archives are intact"
)
_EXISTS = _Kind(Permanent, "archive_exists", "an archive of this name is there already")
_GONE = _Kind(Permanent, "archive_missing", "the archive is not in the repository")
_PERMISSION = _Kind(
    Permanent, "permission_denied", "see that borg runs as root on the server and may write on the storage"
)
_VERSION = _Kind(Permanent, "borg_version", "update borg on the server to 1.2.5 or newer")
_SSH_KEY = _Kind(Permanent, "storage_refused", "run the server's set-up again: its key or the endpoint's changed")
_NO_SPACE = "No space left on device"
_SEGMENT_GONE = re.compile(r"FileNotFoundError: .* '[^'\n]*/data/\d+/\d+'")

_BY_ID: dict[str, _Kind] = {
    "LockTimeout": _LOCKED, "LockFailed": _LOCKED, "LockErrorT": _LOCKED, "LockError": _LOCKED, "NotLocked": _LOCKED,
    "PassphraseWrong": _PASSPHRASE, "NoPassphraseFailure": _PASSPHRASE, "PasscommandFailure": _PASSPHRASE,
    "Repository.DoesNotExist": _MISSING, "Repository.InvalidRepository": _MISSING,
    "Repository.InvalidRepositoryConfig": _CORRUPT, "Repository.CheckNeeded": _CORRUPT, "IntegrityError": _CORRUPT,
    "Repository.ObjectNotFound": _CORRUPT, "NoManifestError": _CORRUPT, "DecompressionError": _CORRUPT,
    "TAMRequiredError": _CORRUPT, "TAMInvalid": _CORRUPT, "ArchiveTAMInvalid": _CORRUPT, "FileIntegrityError": _CORRUPT,
    "ConnectionClosed": _CLOSED, "ConnectionClosedWithHint": _CLOSED, "ConnectionBrokenWithHint": _CLOSED,
    "PathNotAllowed": _REFUSED, "Repository.StorageQuotaExceeded": _FULL,
    "Repository.InsufficientFreeSpaceError": _FULL, "Cache.RepositoryReplay": _ROLLED_BACK,
    "Cache.RepositoryAccessAborted": _ROLLED_BACK, "Cache.EncryptionMethodMismatch": _ROLLED_BACK,
    "RepositoryReplaced": _ROLLED_BACK, "Archive.AlreadyExists": _EXISTS, "Archive.DoesNotExist": _GONE,
    "Repository.PathPermissionDenied": _PERMISSION, "MandatoryFeatureUnsupported": _VERSION,
    "UnsupportedPayloadError": _VERSION, "UnsupportedManifestError": _VERSION, "RPCServerOutdated": _VERSION,
}  # fmt: skip

_BY_STATUS: dict[int, _Kind] = {
    13: _MISSING, 15: _MISSING, 30: _EXISTS, 31: _GONE, 52: _PASSPHRASE, 62: _ROLLED_BACK, 63: _ROLLED_BACK,
    64: _ROLLED_BACK, 70: _LOCKED, 71: _LOCKED, 72: _LOCKED, 73: _LOCKED, 80: _CLOSED, 81: _CLOSED, 83: _REFUSED,
    87: _CLOSED, 14: _FULL, 90: _CORRUPT,
}  # fmt: skip

_BY_TEXT: tuple[tuple[str, _Kind], ...] = (
    (_NO_SPACE, _FULL),
    ("OSError: [Errno 5] Input/output error", _CORRUPT),
    ("Host key verification failed", _SSH_KEY),
    ("Permission denied (publickey", _SSH_KEY),
    ("lease of this repository is not current", _Kind(Transient, "lease_not_current", "it is tried again")),
    *(
        (words, _NO_ROUTE)
        for words in ("Connection refused", "timed out", "No route to host", "Network is unreachable", "not resolve")
    ),
    ("Is borg working on the server?", _CLOSED),
)


def failure(status: int, lines: Sequence[LogLine]) -> AppError | None:
    """Return why borg failed, or None if its exit code means success or warnings."""
    if status == 0 or (status in WARNINGS and status != _NOT_FOUND):
        return None
    errors = [line for line in lines if line.is_error] or list(lines)
    reason = errors[-1].message.strip()[:_REASON] if errors else f"borg ended with status {status}"
    kind = _kind(status, lines) or _other(status)
    return kind.error(f"borg: {reason}", code=kind.code, remedy=kind.remedy)


def _kind(status: int, lines: Sequence[LogLine]) -> _Kind | None:
    # What ssh or the disk says is closer to the cause than the connection that broke because of it.
    text = "\n".join(line.message for line in lines)
    if _SEGMENT_GONE.search(text):
        return _CORRUPT
    by_text = next((kind for words, kind in _BY_TEXT if words in text), None)
    by_id = next((_BY_ID[line.code] for line in reversed(lines) if line.code in _BY_ID), None)
    return by_text or by_id or _BY_STATUS.get(status)


def _other(status: int) -> _Kind:
    if status == _NOT_FOUND:
        return _Kind(Permanent, "borg_missing", "borg is not installed there: run the server's set-up")
    if status == _BAD_ARGUMENTS:
        return _Kind(Transient, "borg_failed", "see the job's log for what borg said")
    if status > _SIGNALLED:
        return _Kind(Transient, "borg_killed", "borg was ended by a signal, perhaps for want of memory")
    return _Kind(Transient, "borg_failed", "see the job's log for what borg said")
