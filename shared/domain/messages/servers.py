"""Messages: servers: reaching them, their set-up, their statistics, their tags."""

from __future__ import annotations

from shared.domain.message import Message

IN_USE = Message(
    "in_use",
    409,
    "the tag {tag} is in use: {users}",
    "give them another tag, or delete them first; with `from_servers=true` it is taken from servers",
)
NOT_FOUND_SERVER = Message(
    "not_found", 404, "there is no server {server}", "GET /api/servers lists them; nothing was changed", "server"
)
COMMAND_SILENT_SERVER = Message(
    "command_silent",
    503,
    "{server}: the command said nothing for {seconds:.0f} seconds and was stopped",
    "look at the server's load, disks and network mounts",
    "server",
)
BAD_PUBLIC_KEY = Message(
    "bad_public_key",
    422,
    "not a public key: expected `<algorithm> <base64>`",
    "give one line of a .pub file: the algorithm, a space, the key in base64",
)
LOGIN_REFUSED_SCRIPTED = Message(
    "login_refused", 400, "{server} refused the login", "check user and password", "scripted"
)
SERVER_UNREACHABLE_SCRIPTED = Message(
    "server_unreachable",
    503,
    "{host}:{port} cannot be reached: connection refused",
    "check that the server is up",
    "scripted",
)
GROUP_EMPTY = Message(
    "group_empty", 422, "a group without a tag would be every server", "name one tag at least in `all`, `any` or `none`"
)
BAD_SPAN = Message("bad_span", 422, "`from` is not before `to`", "give an earlier `from`")
STEP_TOO_SMALL = Message(
    "step_too_small",
    422,
    "a step of {step} s makes more than {most} points of this span",
    "give a larger `step`, or none",
)
SERVER_IN_USE = Message(
    "server_in_use", 409, "{server} still has {count} repositories", "its backups would be orphaned: keep the server"
)
FINGERPRINT_NOT_OFFERED = Message(
    "fingerprint_not_offered",
    409,
    "{server} has not shown a key with this fingerprint",
    "run its set-up, compare the fingerprint it reports with the server's console, then approve that one",
)
HOST_KEY_UNKNOWN_SHOWN = Message(
    "host_key_unknown",
    400,
    "{server} shows the host key {shown}[, but {approved} was approved]; nothing was sent to it",
    "compare it with `ssh-keygen -lf` on the server's console; if they agree, approve it and run set-up again",
    "shown",
)
SERVER_UNKNOWN = Message(
    "server_unknown", 400, "no server is named {server}", 'publish {{"server": "<name>"}}; GET /api/servers lists them'
)
SERVER_MISSING = Message("server_missing", 400, "the server was deleted while its set-up was queued", "nothing to do")
KEY_OF_ANOTHER_SERVER = Message(
    "key_of_another_server",
    400,
    "{server} has the backup key of the server {other}",
    "if {server} was cloned from {other}, remove root's ~/.ssh/borgfleet_ed25519 and its .pub there and run "
    "set-up again; if not, find out how it came to that key",
)
BORG_MISSING_INSTALLED = Message(
    "borg_missing",
    400,
    "borg was installed on {server}, but does not run",
    "log in and run `borg --version`",
    "installed",
)
BORG_VERSION = Message(
    "borg_version",
    400,
    "borg {shown} on {server} is too old",
    "install borg 1.2.5 or newer; 1.2.0 is the least that works",
)
NO_PACKAGE_MANAGER = Message(
    "no_package_manager",
    400,
    "no package manager that Borgfleet knows on {server}",
    "install borg >= 1.2.5 and an OpenSSH client by hand",
)
INSTALL_FAILED = Message(
    "install_failed",
    503,
    "{manager} could not install borg on {server}: {said}",
    "check the server's package sources and network",
)
WAY_BACK_UNPROVEN = Message(
    "way_back_unproven",
    400,
    "`borg list` ended with status {status}, and the storage's borg was not heard",
    "see which borg runs there (`command -v borg`, `borg --version`), and whether a wrapper stands before it",
)
HOST_KEY_CHANGED = Message(
    "host_key_changed",
    400,
    "{server} shows the host key {shown}, but {pinned} is pinned; nothing was sent to it",
    "find out why the key changed; if it is right, approve the new fingerprint, then run set-up again",
)
HOST_KEY_CHANGED_HANDSHAKE = Message(
    "host_key_changed",
    400,
    "the host key is not the pinned one: {error}",
    "find out why the key changed; if it is right, approve the new one",
    "handshake",
)
SERVER_UNREACHABLE_NO_KEY = Message(
    "server_unreachable", 503, "{address} showed no host key", "see that an SSH server listens there", "no_key"
)
GROUP_CONTRADICTS = Message(
    "group_contradicts",
    422,
    "the tag {tag} stands in more than one of `all`, `any` and `none`",
    "name each tag in one of them",
)
NAME_UNKNOWN = Message(
    "name_unknown",
    422,
    "there is none of the name {names}",
    "GET /api/servers and GET /api/storage-pools list the names",
)
AUTHORIZED_KEYS_NOT_WRITTEN = Message(
    "authorized_keys_not_written",
    400,
    "cannot write authorized_keys of {user}: {said}",
    "check home directory, permissions and disk",
)
NO_PRIVILEGE = Message(
    "no_privilege",
    400,
    "{user} on {server} is neither root nor allowed to use sudo without a password[: {said}]",
    "{fix}",
)
KEY_NOT_MADE = Message(
    "key_not_made",
    400,
    "no key pair could be made on {server}: {said}",
    "check that root's ~/.ssh can be written there",
)
KNOWN_HOSTS_NOT_WRITTEN = Message(
    "known_hosts_not_written",
    400,
    "cannot write known_hosts on {server}: {said}",
    "check that root's ~/.ssh can be written there",
)
NO_WAY_BACK = Message("", 400, "{server} cannot reach the storage endpoint {endpoint}: {reason}", "", "no_way_back")
PASSWORD_KEPT = Message("", 400, "the password is kept[ until {until:moment}]", "", "password_kept")
PASSWORD_NOT_KEPT = Message("", 400, "no password is kept for it", "", "password_not_kept")
KEY_REFUSED = Message(
    "key_not_accepted",
    400,
    "{server} takes the fleet's key into authorized_keys, but does not let {user} in with it: {why}",
    "mend that on the server, then run set-up again; {password}",
    "refused",
)
KEY_REFUSED_WITHOUT_REASON = Message(
    "key_not_accepted",
    400,
    "{server} takes the fleet's key into authorized_keys, but does not let {user} in with it: its sshd gives no reason",
    "look into the log of its sshd (`journalctl -u ssh -u sshd`), then run set-up again; {password}",
    "refused_without_reason",
)
KEY_NOT_ROOT = Message(
    "key_not_accepted",
    400,
    "{server} lets the fleet's key in, but commands run as user {uid}, not as root",
    "see sudo's rules and what stands before the key in authorized_keys, then run set-up again; {password}",
    "not_root",
)
KEY_WITHOUT_BACKUP_KEY = Message(
    "key_not_accepted",
    400,
    "{server} lets the fleet's key in, but root's ~/.ssh/borgfleet_ed25519 cannot be read then",
    "see that HOME is the same in every session (sudo's env_reset and always_set_home), then run set-up again; "
    "{password}",
    "without_backup_key",
)
KEY_MUTE = Message(
    "key_not_accepted",
    400,
    "{server} lets the fleet's key in, but does not run a command for it: {said}",
    "see what stands before the key in authorized_keys (command=, restrict), ForceCommand, and sudo's rules, then "
    "run set-up again; {password}",
    "mute",
)
