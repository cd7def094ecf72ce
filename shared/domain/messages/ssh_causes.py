"""The causes for which a server is not reached, lets nobody in, or does not run what it should.

What borg says is in borg_causes.py; docs/errors.md shows both.
"""

from __future__ import annotations

from shared.domain.cause import Cause

UNREACHABLE = Cause(
    "server_unreachable",
    "cannot be reached",
    "check that the server is up, its address and port, and the network between",
    passing=True,
)
STALLED = Cause(
    "server_unreachable",
    "accepts the connection, but does not answer in time",
    "look at the server's load and its sshd (a hanging PAM, LDAP or DNS), and at the network between: a firewall that "
    "forgot the connection, or an MTU for which large packets are too large",
    passing=True,
    variant="stalled",
)
NO_NAME = Cause(
    "server_unreachable",
    "cannot be reached, its host name is not known",
    "check the host name and this node's DNS",
    passing=True,
    variant="no_name",
)
CUT_SHORT = Cause(
    "server_unreachable",
    "closed the connection before the login",
    "look at the server's sshd log: MaxStartups, a firewall or fail2ban may turn us away, or it is no SSH server",
    passing=True,
    variant="cut_short",
)
NOT_SSH = Cause(
    "not_ssh", "does not speak SSH 2 on this port", "check the port; the server's sshd must allow protocol 2"
)
NO_COMMON_ALGORITHM = Cause(
    "no_common_cipher",
    "has no algorithm in common with Borgfleet",
    "add one that Borgfleet offers to the named line of the server's sshd_config and reload its sshd",
)
LOGIN_REFUSED = Cause(
    "login_refused",
    "refused the login",
    "check user and password, or put the fleet's public key (GET /api/fleet-key) into authorized_keys; "
    "AllowUsers and DenyUsers in the server's sshd_config may be the reason too",
)
TOO_MANY_ATTEMPTS = Cause(
    "too_many_attempts",
    "ended the login after too many attempts",
    "raise MaxAuthTries in the server's sshd_config to 2 or more, and see that the fleet's key is in authorized_keys",
)
NOT_SERVED = Cause(
    "login_not_served",
    "offers no login on this port",
    "look at the server's sshd log; the account or the service may be disabled there",
)
LOGIN_BROKEN_OFF = Cause(
    "login_broken_off",
    "ended the connection while it checked the login",
    "look at the server's sshd log: PAM may refuse the account (`chage -l USER` tells whether it has expired), "
    "fail2ban may have cut us off, or the server is starting or going down; it is tried again",
    passing=True,
)
LOGINS_CLOSED = Cause(
    "logins_closed",
    "lets nobody log in at the moment",
    "the server has a file /etc/nologin, as in maintenance, at its start or its end; remove it there, or wait",
    passing=True,
)
PASSWORD_EXPIRED = Cause(
    "password_expired",
    "runs no command, because the password of the account has expired",
    "set a new one on the server, or let it never expire: `chage --maxdays -1 USER`; a key does not help against it",
)
NO_COMMANDS = Cause(
    "commands_forbidden",
    "its sshd runs no commands for this account",
    "take ForceCommand, internal-sftp and ChrootDirectory of this user out of the server's sshd_config, or give "
    "Borgfleet another user",
)
NO_SESSION = Cause(
    "session_refused",
    "let us in, but opens no session",
    "raise MaxSessions in the server's sshd_config, and see that nothing there forbids commands",
)
FORWARDING_REFUSED = Cause(
    "forwarding_refused",
    "refuses to forward a Unix socket",
    "set AllowStreamLocalForwarding and AllowTcpForwarding to yes and DisableForwarding to no in the server's "
    "sshd_config, or use the transport 'direct'",
)
BROKEN_PROTOCOL = Cause(
    "ssh_failed", "broke off the SSH protocol", "look at the server's sshd log; it is tried again", passing=True
)
LOST = Cause(
    "connection_lost", "the connection broke while a command ran", "check the network and the server", passing=True
)
NO_SHELL = Cause(
    "no_shell",
    "its login shell does not run POSIX commands",
    "give the user a POSIX shell (`chsh -s /bin/sh`), and see that its start-up files end without an error",
)
SUDO = Cause(
    "sudo_refused",
    "sudo does not run commands without a password",
    "put `<user> ALL=(root) NOPASSWD: ALL` into /etc/sudoers.d/borgfleet, and no `requiretty` for this user",
)
TIMED_OUT = Cause(
    "command_timed_out",
    "the server answers, but a command there took too long and was ended",
    "look at the server's load and disks; whoever looks at a network mount that is gone waits for ever",
    passing=True,
)
TOO_LONG = Cause(
    "answer_too_long",
    "answered more than is read, and was cut off",
    "see what its shell prints at login, and whether it is the server it should be",
)
SERVER_TMP = Cause(
    "server_tmp",
    "its directory for temporary files cannot be used",
    "see that /tmp of the server, or where its TMPDIR points, exists, has space and inodes, and may be written to",
)
NO_SETSID = Cause("setsid_missing", "a command is missing", "install util-linux or busybox on the server")

LEASH: dict[int, Cause] = {201: SERVER_TMP, 202: NO_SETSID}
"""leash.sh's own ends, by exit status."""

CAUSES: tuple[Cause, ...] = (
    UNREACHABLE, NOT_SSH, NO_COMMON_ALGORITHM, LOGIN_REFUSED, TOO_MANY_ATTEMPTS, NOT_SERVED, LOGIN_BROKEN_OFF,
    LOGINS_CLOSED, PASSWORD_EXPIRED, NO_COMMANDS, NO_SESSION, FORWARDING_REFUSED, BROKEN_PROTOCOL, LOST, NO_SHELL, SUDO,
    TIMED_OUT, TOO_LONG, SERVER_TMP, NO_SETSID,
)  # fmt: skip
"""All of them, a code once."""
NO_WAY_IN = frozenset(
    cause.code
    for cause in (
        *(UNREACHABLE, NOT_SSH, NO_COMMON_ALGORITHM, LOGIN_REFUSED, TOO_MANY_ATTEMPTS, NOT_SERVED, NO_SESSION),
        *(LOGIN_BROKEN_OFF, LOGINS_CLOSED, PASSWORD_EXPIRED, NO_COMMANDS),
    )
)
"""Codes that say that nothing can be done on the server at all."""
