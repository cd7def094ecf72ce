"""Messages: the recovery kit, and the way back of Borgfleet itself."""

from __future__ import annotations

from shared.domain.message import Message

KIT_NEEDS_TWO = Message(
    "kit_needs_two",
    409,
    "four eyes are on, and a recovery kit holds every passphrase and key",
    "make it on a machine with the database's settings: `borgfleet recovery-kit export --break-glass REASON`",
)
KIT_NO_RECIPIENT = Message(
    "kit_no_recipient",
    422,
    "nobody is named who could open the recovery kit",
    "give public keys of age (`age-keygen` makes them), or a passphrase",
)
KIT_RECIPIENT_INVALID = Message(
    "kit_recipient_invalid",
    422,
    "this is no public key of age: {recipient}",
    "give one as `age-keygen` prints it, beginning with age1, or an ssh-ed25519 or ssh-rsa public key",
)
KIT_PASSPHRASE_SHORT = Message(
    "kit_passphrase_short",
    422,
    "a recovery kit's passphrase has at least {least} characters",
    "choose a longer one: whoever opens the kit has the passphrases of all repositories",
)
KIT_PASSPHRASE_WRONG = Message(
    "kit_not_opened",
    422,
    "the passphrase does not open this recovery kit, or the file was altered or cut short",
    "give the passphrase that the kit was made with, or take another copy of it",
    "passphrase",
)
KIT_NOT_FOR_KEY = Message(
    "kit_not_opened",
    422,
    "the private key does not open this recovery kit, or the file was altered or cut short",
    "give the file with the private key of one of those that the kit was made for, or take another copy of the kit",
    "key",
)
KIT_SEALED_PASSPHRASE = Message(
    "kit_sealed",
    422,
    "this recovery kit is encrypted with a passphrase",
    "name a file that holds it: --passphrase-file",
    "passphrase",
)
KIT_SEALED_IDENTITY = Message(
    "kit_sealed",
    422,
    "this recovery kit is encrypted for a public key",
    "name the file that holds the private key: --identity",
    "key",
)
KIT_BROKEN = Message(
    "kit_broken",
    422,
    "this is no whole recovery kit: {problem}",
    "give a file that `borgfleet recovery-kit export` made, as it made it",
)
KIT_EXISTS = Message(
    "kit_exists",
    409,
    "{path} exists already",
    "give another name, or --overwrite; keep an older kit as long as you may need it",
)
KIT_UNWRITABLE = Message(
    "kit_unwritable",
    400,
    "the recovery kit cannot be written to {path}: {error}; nothing was left there",
    "make room, or name a place that this user may write to",
)
DUMP_CLIENT_MISSING = Message(
    "dump_client_missing",
    400,
    "there is no {program} on this machine",
    "install MariaDB's clients (package mariadb-client) where Borgfleet is backed up and recovered",
)
DUMP_FAILED = Message(
    "dump_failed",
    503,
    "the dump of the database failed, with status {status}[: {said}]",
    "see that the database answers, and that its user may read all tables and routines",
)
DUMP_CUT_SHORT = Message(
    "dump_cut_short",
    503,
    "the dump of the database broke off: its last line is missing",
    "look at the disk of the backup node's state directory, and at the database's log; it is tried again",
)
LOAD_FAILED = Message(
    "load_failed",
    400,
    "the dump could not be loaded: {said}",
    "give an empty database whose user may create tables, then run this again",
)
OWN_PLACE_TAKEN = Message(
    "place_taken",
    409,
    "{path} is the place of a server's repository; Borgfleet needs it for its own backups",
    "name another pool in BORGFLEET_SELF_BACKUP__POOL",
    "own",
)
OWN_POOL_UNKNOWN = Message(
    "pool_unknown",
    400,
    "there is no storage pool for the backups of Borgfleet itself[: {pool}]",
    "add a pool, or correct BORGFLEET_SELF_BACKUP__POOL",
    "own",
)
OWN_NOT_LISTED = Message(
    "archive_missing",
    400,
    "borg made the backup of Borgfleet, and the repository does not list it: {archive}",
    "look at the disk of the storage pool, and at this job's log",
    "own",
)
OWN_INCOMPLETE = Message(
    "own_incomplete",
    503,
    "the backup of Borgfleet itself is not whole: {archive} lacks {files}",
    "it is tried again; see what else works in the state directory, and this job's log",
)
OWN_KEY_CHANGED = Message(
    "repository_key_changed",
    400,
    "the key of the repository {path} is not the recorded one",
    "find out who did it; put back the key of the recovery kit: its page says how",
    "own",
)
RECOVER_NOT_EMPTY = Message(
    "recover_not_empty",
    409,
    "{what} is there already: Borgfleet is only recovered where there is none",
    "give an empty data directory and an empty database; to go back to an older state see docs/operations/running.md",
)
RECOVER_NO_REPOSITORY = Message(
    "recover_no_repository",
    404,
    "{path} is no repository",
    "mount the disk of the storage pool, and give the path that the kit's README.txt names",
)
RECOVER_KIT_OTHER = Message(
    "recover_kit_other",
    422,
    "the kit is not for the repository at {path}: it is of another installation, or older than the repository",
    "give the path that the kit's README.txt names, or a newer kit",
)
RECOVER_NOT_OURS = Message(
    "recover_not_ours",
    422,
    "this is no backup of Borgfleet itself, or the kit knows of none",
    "give the repository that the kit's README.txt names, and a kit that was made after the first such backup",
)
RECOVER_NO_ARCHIVE = Message(
    "recover_no_archive",
    404,
    "there is no such backup[: {archive}][; there are {archives}]",
    "leave --archive out to take the newest",
)
RECOVER_OTHER_DATABASE = Message(
    "recover_other_database",
    422,
    "the backup is of a {made} database, and the settings name one of {here}",
    "set BORGFLEET_DATABASE__URL to a database of that kind that is empty, or leave it out for SQLite",
)
OWN_POOL_UNKNOWN_ASKED = Message(
    "pool_unknown",
    409,
    "there is no storage pool yet for the backups of Borgfleet itself, or none of the name that is set",
    "add a pool, or correct BORGFLEET_SELF_BACKUP__POOL",
    "own_asked",
)
KIT_LACKS = Message(
    "kit_lacks",
    409,
    "no recovery kit has {missing} of {repositories} repositories as they are now",
    "make one, and keep it away from this machine: `borgfleet recovery-kit export --recipient age1... -o kit.age`",
)
