"""Messages: the installation: its files, its keys, its processes."""

from __future__ import annotations

from shared.domain.message import Message

SECRET_CORRUPT = Message(
    "secret_corrupt",
    500,
    "the probe of the master key holds another text",
    "restore the database from a backup of its own",
)
SECRET_FILE_INVALID = Message(
    "secret_file_invalid", 500, "the {what} {path} holds no text", "write the secret into it, one line of UTF-8"
)
MASTER_KEY_INVALID = Message(
    "master_key_invalid", 500, "{path} holds no valid master key", "restore the file: one base64 line of 32 bytes a key"
)
MASTER_KEY_MISSING = Message(
    "master_key_missing",
    500,
    "there is no master key to {purpose} with",
    "restore the master key file from its safe copy",
)
MASTER_KEY_MISSING_RING = Message(
    "master_key_missing",
    500,
    "the master key {key_id} that sealed {secret} is not in the key ring",
    "restore the master key file from its safe copy",
    "ring",
)
SECRET_CORRUPT_ALTERED = Message(
    "secret_corrupt",
    500,
    "the secret {secret} was altered, cut short or copied from another place",
    "restore the secret from the recovery kit",
    "altered",
)
CERTIFICATE_UNUSABLE = Message(
    "certificate_unusable",
    400,
    "the certificate file {path} cannot be used: {error}",
    "give PEM files that this user can read: ca_file the authority, cert_file and key_file one pair, no passphrase",
)
CHILD_NOT_READY = Message(
    "child_not_ready",
    400,
    "nothing listens on {url} after {seconds:.0f} seconds",
    "see nats/nats.log in the data directory",
)
NATS_MISSING = Message(
    "nats_missing",
    400,
    "no nats-server 2.11 or newer",
    "install nats-server, or `pip install 'borgfleet[[nats-server]]'`",
)
CHILD_ENDED = Message(
    "child_ended", 503, "{program} ended with status {status}", "look into its log in the data directory"
)
BORG_TOO_OLD = Message(
    "borg_too_old",
    400,
    "borg {found} is older than 1.4.5",
    "backup nodes need borg 1.4.5 or newer: older ones extract outside their target",
)
BORG_MISSING_DOCTOR = Message(
    "borg_missing", 400, "no {borg} on this machine", "install borg 1.4.5 on backup nodes", "doctor"
)
CLOCKS_DIFFER = Message(
    "clocks_differ", 400, "this machine's clock and the database's differ by {drift:.1f} s", "run an NTP client on both"
)
BORG_DOES_NOT_RUN = Message(
    "borg_does_not_run", 400, "{borg} does not run: {error}", "install borg 1.4.5 or newer on backup nodes"
)
JETSTREAM_OFF = Message(
    "jetstream_off", 400, "nats-server answers, JetStream does not", "enable JetStream in nats-server's configuration"
)
SSHD_MISSING = Message(
    "sshd_missing", 400, "no sshd on this machine", "install openssh-server, or run without --with-endpoint"
)
KIT_UNREADABLE = Message(
    "kit_unreadable",
    422,
    "this is no recovery kit, or it holds no passphrase",
    "give it as `borgfleet recovery-kit` printed it",
)
MASTER_KEY_MISSING_EMPTY = Message(
    "master_key_missing",
    500,
    "there is no master key at {path}, and the database is empty",
    "run `borgfleet migrate`: it makes both",
    "empty",
)
SEEDS_UNWRITABLE = Message(
    "seeds_unwritable",
    400,
    "the seeds cannot be written to {directory}: {error}",
    "name a directory that this user may write to",
)
NATS_SEED_INVALID_MAKE = Message(
    "nats_seed_invalid",
    400,
    "the file {path} holds no NATS seed",
    "take the file away and run this again: a new seed is made, and nats-server is to be restarted",
    "make",
)
SECRET_FILE_MISSING = Message(
    "secret_file_missing", 500, "there is no {what} at {path}", "make the file, or correct its setting"
)
SECRET_FILE_UNREADABLE = Message(
    "secret_file_unreadable",
    500,
    "the {what} {path} cannot be read: {error}",
    "let the user who runs Borgfleet own it, mode 0600",
)
SECRET_FILE_EXPOSED = Message(
    "secret_file_exposed",
    500,
    "the {what} {path} can be read by others",
    "chmod 600 {path}; or 0440 with a group of the user who runs Borgfleet",
)
MASTER_KEY_MISSING_FILE = Message(
    "master_key_missing",
    500,
    "there is no master key at {path}[, in place of the {what}]",
    "restore the master key file from its safe copy",
    "file",
)
MASTER_KEY_UNREADABLE = Message(
    "master_key_unreadable",
    500,
    "the {what} at {path} cannot be read: {error}",
    "let the user who runs Borgfleet own this file, mode 0600",
)
MASTER_KEY_EXPOSED = Message(
    "master_key_exposed",
    500,
    "the {what} at {path} can be read by others",
    "chmod 600 {path}; or 0440 with a group of the user who runs Borgfleet",
)
SECRET_MISSING = Message(
    "secret_missing",
    404,
    "no secret named {name}",
    "set the server up again; a repository's passphrase comes back only from a backup of the database",
)
SECRET_MISSING_FLEET = Message(
    "secret_missing",
    404,
    "the fleet has no secret named {name}",
    "run `borgfleet migrate`: it makes the fleet's key where there is none",
    "fleet",
)
DISK_NEARLY_FULL = Message("disk_nearly_full", 400, "only {free} MiB free at {path}", "free at least 1 GiB")
PACKAGE_NAME_TAKEN = Message(
    "package_name_taken",
    400,
    "the package name `{package}` is also installed by {others}",
    "install borgfleet into an environment of its own",
)
STREAMS_MISSING = Message(
    "streams_missing", 503, "nats-server has {found} of {wanted} streams", "run `borgfleet migrate`, which makes them"
)
NOT_PREPARED = Message("", 503, "not prepared within {seconds:.0f} s: {reason}", "", "not_prepared")
MASTER_KEY_NEEDED = Message(
    "master_key_missing",
    500,
    "the database is sealed with the master key {keys}; it is looked for at {path}, and there is no file",
    "copy the master key file from a machine that runs Borgfleet on this database, or from its safe copy, to "
    "{path} (mode 0600), or name it in BORGFLEET_MASTER_KEY_FILE",
    "needed",
)
MASTER_KEY_OTHER = Message(
    "master_key_missing",
    500,
    "the database is sealed with the master key {keys}; it is looked for at {path}, and the key there is another",
    "copy the master key file from a machine that runs Borgfleet on this database, or from its safe copy, to "
    "{path} (mode 0600), or name it in BORGFLEET_MASTER_KEY_FILE",
    "other",
)
NATS_SERVERS_AWAY = Message(
    "nats_servers_away",
    503,
    "these nats-servers do not answer: {servers}",
    "start them: the bus works while more than half of its servers do; or correct BORGFLEET_NATS__MONITOR_URLS",
)
STREAMS_BEHIND = Message(
    "streams_behind",
    503,
    "these replicas do not hold all messages yet: {behind}",
    "wait while they copy; if it does not end, see the log of that nats-server",
)
NODE_TAKEN = Message(
    "node_taken",
    409,
    "the backup node {node} is at work in another place: {by}; this one is {here}",
    "stop the other process, or give this one a name of its own in BORGFLEET_BACKUP__NODE; processes of one node must "
    "share a machine, its list of processes and the data directory",
)
