"""The causes for which borg, or what runs it, fails; docs/errors.md shows them with those of SSH.

`server` is the machine that is backed up, `pool` the disk of a storage pool, `node` the backup node, `storage` the
endpoint that serves a repository. A full disk of a server is never told as a full pool.
"""

from __future__ import annotations

from shared.domain.cause import Cause

ROLLED_BACK = "repository_rolled_back"

LOCKED = Cause(
    "repository_locked", "another borg works on this repository",
    "it is tried again; if it stays so, see who runs borg there by hand, or whether a node that is gone left its lock",
    passing=True,
)  # fmt: skip
LOCK_LOST = Cause("lock_lost", "borg lost its lock on the repository", "see who else runs borg on it", passing=True)
PASSPHRASE = Cause(
    "passphrase_wrong",
    "the passphrase does not open it",
    "take it back from the recovery kit: `borgfleet recovery-kit --import FILE`",
)
KEY_MISSING = Cause(
    "key_missing", "the repository holds no key", "put the key back: `borgfleet repo recover`, or the recovery kit"
)
KEY_INVALID = Cause(
    "key_invalid",
    "the repository's key is not valid",
    "put the key back: `borgfleet repo recover`, or the recovery kit",
)
MISSING = Cause(
    "repository_missing", "no repository is there", "see that the storage pool is mounted and the repository in place"
)
EXISTS = Cause("repository_exists", "something is there already", "look at the directory; nothing was overwritten")
UNKNOWN_REPOSITORY = Cause(
    "repository_unknown", "borg does not know this repository", "see that it is encrypted and was made by Borgfleet"
)
IS_ROLLED_BACK = Cause(
    ROLLED_BACK,
    "the repository is older or elsewhere than borg remembers",
    "an incident, unless that machine lost power and its own notes of the repository are empty files since: see "
    "docs/operations/running.md",
)
CORRUPT = Cause(
    "repository_corrupt",
    "the repository is damaged",
    "look at the disk of its pool (dmesg, smartctl), then run a check of this repository",
)
MANIFEST = Cause(
    "manifest_unreadable",
    "the repository's list of archives cannot be read",
    "`borgfleet repo recover` puts the last whole list back",
)
FORGED = Cause(
    "manifest_forged",
    "the repository's list of archives is not what honest backups leave",
    "treat the server as taken over (docs/operations/security.md); `borgfleet repo recover` puts the list right",
)
NOT_THERE = Cause(
    "path_not_in_archive",
    "the backup does not hold what was chosen",
    "see the names that it holds: `borgfleet backup ls`",
    variant="exported",
)
NO_FILE = Cause(
    "path_no_file", "what was chosen is no regular file", "download it as `tar.zst`, `tar` or `zip`", variant="exported"
)
DAMAGED = Cause(
    "archive_damaged",
    "a file of this backup is damaged",
    "download it from another backup; a restore brings what is left of it",
    variant="exported",
)
HOSTILE = Cause(
    "hostile_archive",
    "the archive is hostile",
    "take the server or the person who made this archive for hostile; use another backup",
    variant="exported",
)
POOL_FULL = Cause("pool_full", "the storage pool has no space left", "free space there; older archives are intact")
POOL_QUOTA = Cause(
    "pool_quota", "the quota on the storage is used up", "raise the repository's or the pool user's quota, or prune"
)
POOL_READ_ONLY = Cause(
    "pool_read_only", "the storage pool can only be read", "see why (dmesg), then mount it writable on its node"
)
POOL_DENIED = Cause(
    "pool_denied", "the storage pool may not be written to", "give the repository's directory to the node's user"
)
POOL_GONE = Cause("pool_gone", "the storage pool's disk went away", "see the pool's mount on its node", passing=True)
POOL_SYSTEM = Cause(
    "pool_error",
    "the storage pool's file system gave an error",
    "look at the pool's mount on its node (dmesg), and at the limits of the node's services",
    passing=True,
)
SERVER_FULL = Cause(
    "server_disk_full", "the server itself has no space left", "free space where its path lies (borg's cache, /tmp)"
)
SERVER_READ_ONLY = Cause("server_read_only", "the server's own disk can only be read", "see why (dmesg) on the server")
SERVER_CACHE = Cause(
    "server_cache_denied",
    "borg may not use its own directories on the server",
    "give borg's cache, config and security directories to the user that runs borg there",
)
SERVER_DENIED = Cause("server_denied", "the server denies it", "see that borg runs as root on the server")
SERVER_DISK = Cause("server_disk_error", "the server's own disk fails", "look at the server's disk (dmesg, smartctl)")
SERVER_CACHE_DAMAGED = Cause(
    "server_cache_damaged", "borg's cache on the server is damaged", "delete borg's cache there; it is made anew"
)
SERVER_SECURITY_DAMAGED = Cause(
    "server_security_damaged",
    "what borg on the server remembers of this repository cannot be read, as after a power loss",
    "delete the directory of this repository below borg's security directory on the server "
    "(~/.config/borg/security/<repository id>); it is made anew",
)
SERVER_SYSTEM = Cause(
    "server_system_error",
    "the server's system gave borg an error",
    "look at the server: its limits (`ulimit -a`), its mounts and `dmesg`",
    passing=True,
)
SERVER_TMP = Cause(
    "server_tmp",
    "the server has no directory for temporary files that can be used",
    "see that /tmp of the server, or where its TMPDIR points, has space; a borg of a single file also needs it mounted "
    "without noexec",
    variant="borg",
)
SERVER_MEMORY = Cause("server_memory", "the server has too little memory", "see what else runs there", passing=True)
NODE_FULL = Cause("node_disk_full", "the node's own disk has no space left", "free space on the backup node")
NODE_READ_ONLY = Cause("node_read_only", "the node's own disk can only be read", "see why (dmesg) on the backup node")
NODE_DENIED = Cause("node_denied", "the node denies it", "give the node's state directory to its user")
NODE_DISK = Cause("node_disk_error", "the node's own disk fails", "look at the node's disk (dmesg, smartctl)")
NODE_CACHE_DAMAGED = Cause("node_cache_damaged", "borg's cache on the node is damaged", "delete it; it is made anew")
NODE_SECURITY_DAMAGED = Cause(
    "node_security_damaged",
    "what borg on the node remembers of this repository cannot be read, as after a power loss",
    "see that the repository was not put back from an older copy, then delete its directory below borg's security "
    "directory in the node's state directory; it is made anew",
)
NODE_SYSTEM = Cause(
    "node_system_error",
    "the node's system gave borg an error",
    "look at the backup node: its limits, its mounts and `dmesg`",
    passing=True,
)
NODE_TMP = Cause(
    "node_tmp", "the node has no directory for temporary files that can be used", "see /tmp of the backup node"
)
NODE_MEMORY = Cause("node_memory", "the node has too little memory", "see what else runs on the node", passing=True)
CLOSED = Cause(
    "storage_closed", "the storage endpoint ended the connection", "look at its sshd and its borg", passing=True
)
UNREACHABLE = Cause(
    "storage_unreachable",
    "the server cannot reach the storage endpoint",
    "check the network between them, or use the transport 'tunnel'",
    passing=True,
)
REFUSED = Cause(
    "storage_refused", "the storage endpoint does not take the server's key", "run the server's set-up again"
)
HOST_KEY = Cause(
    "storage_host_key",
    "the storage endpoint's host key is not the one that set-up pinned",
    "find out why it changed; if it is right, run the server's set-up again",
)
NOT_PINNED = Cause(
    "storage_not_pinned",
    "the server knows no host key of this kind for the storage endpoint",
    "run the server's set-up again, which pins it; if one was pinned, find out why the endpoint's is of another kind",
)
NO_COMMON = Cause(
    "storage_no_common_cipher",
    "the server's ssh and the storage endpoint have no algorithm in common",
    "add one that the server's ssh knows (`ssh -Q cipher`, `kex`, `mac`, `HostKeyAlgorithms`) to the named line of the "
    "endpoint's sshd_config, and reload its sshd",
)
ACCOUNT = Cause(
    "storage_account",
    "the account of the storage endpoint may not run commands",
    "give it a login shell on the backup node (`usermod --shell /bin/sh <user>`)",
)
GARBLED = Cause("storage_garbled", "server and storage do not understand one another", "update borg", passing=True)
STREAM_DAMAGED = Cause(
    "storage_stream_damaged",
    "what the server and the storage endpoint send to one another arrives changed",
    "look at the network between them: a faulty card or cable, a middlebox, offloading of checksums (`ethtool -k`)",
    passing=True,
)
LEASE = Cause("lease_not_current", "the lease of this repository is over", "it is tried again", passing=True)
NOT_OFFERED = Cause("not_offered", "the storage does not offer this", "see docs/operations/security.md")
PATH = Cause("path_refused", "the storage lets this server reach its own repositories only", "run its set-up again")
SSH_MISSING = Cause("ssh_missing", "there is no SSH client on the server", "install one, or run its set-up again")
SSH_BROKEN = Cause(
    "ssh_broken",
    "the server's SSH client does not start as it is called",
    "try `ssh -V` on the server, mend what it complains of, or install its OpenSSH client anew",
)
RELAY = Cause(
    "relay_missing",
    "the tunnel needs python3, socat or an nc that knows -U on the server",
    "install one (python3, socat, netcat-openbsd), or use the transport 'direct'",
)
ARCHIVE_EXISTS = Cause("archive_exists", "an archive of this name is there already", "see who else makes archives")
ARCHIVE_GONE = Cause("archive_missing", "the archive is not in the repository", "list the repository's archives")
VERSION = Cause(
    "borg_version",
    "one borg is too old for the other",
    "update borg to 1.2.5 or newer on the server",
    variant="mismatch",
)
USAGE = Cause("borg_usage", "borg does not take what it was given", "update borg there; 1.2.0 is the least that works")
ENCODING = Cause("borg_encoding", "the locale has no UTF-8", "see that C.UTF-8 exists there (`locale -a`)")
NO_BORG = Cause(
    "borg_missing",
    "there is no borg, or its Python is missing",
    "run the server's set-up, or install borg; if `command -v borg` finds one, see that the first line of it names a "
    "Python that is there",
)
NOT_EXECUTABLE = Cause(
    "borg_not_executable", "borg cannot be started", "see its mode, its file system (noexec) and its architecture"
)
BROKEN = Cause("borg_broken", "borg's installation is broken", "install borg anew there; try `borg --version`")
SCRIPT = Cause(
    "script_failed",
    "a script of Borgfleet met what it does not know",
    "see the job's log; report it with these words, and run a check of this repository",
)
KILLED = Cause(
    "borg_killed",
    "borg was ended by a signal",
    "look for the kernel's OOM killer (dmesg); it is tried again",
    passing=True,
)
UNKNOWN = Cause(
    "borg_failed", "borg failed for a reason not known here", "see the job's log; it is tried again", passing=True
)

CAUSES: tuple[Cause, ...] = tuple(value for value in dict(globals()).values() if isinstance(value, Cause))
"""All of them."""

BY_NAME: dict[str, tuple[int, Cause]] = {
    "CancelledByUser": (3, UNKNOWN), "CommandError": (4, USAGE), "PlaceholderError": (5, USAGE),
    "InvalidPlaceholder": (6, USAGE), "Repository.AlreadyExists": (10, EXISTS), "AtticRepository": (11, VERSION),
    "CheckNeeded": (12, CORRUPT), "Repository.DoesNotExist": (13, MISSING),
    "InsufficientFreeSpaceError": (14, POOL_FULL), "InvalidRepository": (15, MISSING),
    "InvalidRepositoryConfig": (16, CORRUPT), "ObjectNotFound": (17, CORRUPT),
    "ParentPathDoesNotExist": (18, MISSING), "PathAlreadyExists": (19, EXISTS),
    "StorageQuotaExceeded": (20, POOL_QUOTA), "PathPermissionDenied": (21, POOL_DENIED),
    "MandatoryFeatureUnsupported": (25, VERSION), "NoManifestError": (26, MANIFEST),
    "UnsupportedManifestError": (27, MANIFEST), "Archive.AlreadyExists": (30, ARCHIVE_EXISTS),
    "Archive.DoesNotExist": (31, ARCHIVE_GONE), "IncompatibleFilesystemEncodingError": (32, ENCODING),
    "KeyfileInvalidError": (40, KEY_INVALID), "KeyfileMismatchError": (41, KEY_INVALID),
    "KeyfileNotFoundError": (42, KEY_MISSING), "NotABorgKeyFile": (43, KEY_INVALID),
    "RepoKeyNotFoundError": (44, KEY_MISSING), "RepoIdMismatch": (45, KEY_INVALID),
    "UnencryptedRepo": (46, KEY_INVALID), "UnknownKeyType": (47, KEY_INVALID),
    "UnsupportedPayloadError": (48, MANIFEST), "NoPassphraseFailure": (50, PASSPHRASE),
    "PasscommandFailure": (51, PASSPHRASE), "PassphraseWrong": (52, PASSPHRASE),
    "PasswordRetriesExceeded": (53, PASSPHRASE), "CacheInitAbortedError": (60, UNKNOWN_REPOSITORY),
    "EncryptionMethodMismatch": (61, IS_ROLLED_BACK), "RepositoryAccessAborted": (62, IS_ROLLED_BACK),
    "RepositoryIDNotUnique": (63, IS_ROLLED_BACK), "RepositoryReplay": (64, IS_ROLLED_BACK),
    "LockError": (70, LOCKED), "LockErrorT": (71, LOCKED), "LockFailed": (72, LOCKED), "LockTimeout": (73, LOCKED),
    "NotLocked": (74, LOCK_LOST), "NotMyLock": (75, LOCK_LOST), "ConnectionClosed": (80, CLOSED),
    "ConnectionClosedWithHint": (81, CLOSED), "InvalidRPCMethod": (82, NOT_OFFERED), "PathNotAllowed": (83, PATH),
    "RPCServerOutdated": (84, VERSION), "UnexpectedRPCDataFormatFromClient": (85, GARBLED),
    "UnexpectedRPCDataFormatFromServer": (86, GARBLED), "ConnectionBrokenWithHint": (87, CLOSED),
    "IntegrityError": (90, CORRUPT), "FileIntegrityError": (91, CORRUPT), "DecompressionError": (92, CORRUPT),
    "ArchiveTAMInvalid": (95, CORRUPT), "ArchiveTAMRequiredError": (96, CORRUPT), "TAMInvalid": (97, CORRUPT),
    "TAMRequiredError": (98, CORRUPT), "TAMUnsupportedSuiteError": (99, VERSION),
    "RepositoryReplaced": (64, IS_ROLLED_BACK), "Refused": (77, NOT_OFFERED),
    "NotMeant": (77, FORGED), "NotThere": (77, NOT_THERE), "NoFile": (77, NO_FILE), "Damaged": (77, DAMAGED),
    "Hostile": (77, HOSTILE),
}  # fmt: skip
"""borg's errors by the name of their class (borg 1.2 says no more), with the status by which borg 1.4 ends."""
