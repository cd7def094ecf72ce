"""From what SSH, a login shell or sudo says to the cause why nothing could be done on a server."""

from __future__ import annotations

import errno
import os
import re
import socket
from typing import TYPE_CHECKING

from shared.domain.messages import ssh_causes as causes
from shared.domain.text import clean
from shared.ssh.one_line import SHELL_RUNS

if TYPE_CHECKING:
    from shared.domain.cause import Cause
    from shared.errors import Permanent, Transient

_QUOTED = 300
_SIGNALLED = 128

_BY_KIND: dict[str, Cause] = {
    "PermissionDenied": causes.LOGIN_REFUSED,
    "IllegalUserName": causes.LOGIN_REFUSED,
    "ServiceNotAvailable": causes.NOT_SERVED,
    "ChannelOpenError": causes.NO_SESSION,
    "ChannelListenError": causes.FORWARDING_REFUSED,
    "ProtocolNotSupported": causes.NOT_SSH,
    "ConnectionLost": causes.CUT_SHORT,
}
"""By the name of asyncssh's exception."""
_BY_SSHD: tuple[tuple[re.Pattern[str], Cause], ...] = (
    (re.compile(r"Password change required but no TTY available"), causes.PASSWORD_EXPIRED),
    (re.compile(r"This service allows sftp connections only|safely_chroot: |chroot\(\""), causes.NO_COMMANDS),
)
"""What OpenSSH's sshd itself says instead of starting a shell, in no language but its own."""
_NOLOGIN_STATUS = 254
"""sshd's own, where it shows /etc/nologin instead of starting a shell."""
_GONE = "SSH connection closed"
_NO_COMMON = re.compile(r"No matching (?P<what>.+) algorithm found, sent (?P<ours>\S+) and received (?P<theirs>\S+)")
_LINES = {"encryption": "Ciphers", "key exchange": "KexAlgorithms", "MAC": "MACs", "compression": "Compression"}
_NO_ALGORITHM = ("kex-strict-", "ext-info-")
"""What stands in a list of algorithms and is none."""


def refusal(name: str, kind: str, error: Exception) -> Permanent | Transient:
    """Return what an exception of SSH means; `kind` is its class's name."""
    said = clean(str(error), _QUOTED)
    if kind == "KeyExchangeFailed" and (found := _NO_COMMON.search(str(error))):
        line = _LINES.get(found["what"], found["what"])
        seen = f"{line} of its sshd_config: {_listed(found['theirs'])}; Borgfleet offers {_listed(found['ours'])}"
        return causes.NO_COMMON_ALGORITHM.error(seen, where=name)
    if "Too many authentication failures" in said:
        return causes.TOO_MANY_ATTEMPTS.error("", where=name)
    if "Banner line too long" in said:
        return causes.NOT_SSH.error(said, where=name)
    if isinstance(error, OSError):
        return _of_the_network(name, error)
    if said == _GONE:  # said by asyncssh itself, in the exception of a server that refuses
        return connection_lost(name)
    cause = _BY_KIND.get(kind, causes.BROKEN_PROTOCOL)
    return cause.error(said, where=name)


def _of_the_network(name: str, error: OSError) -> Permanent | Transient:
    if isinstance(error, socket.gaierror):
        return causes.NO_NAME.error(clean(error.strerror or str(error), _QUOTED), where=name)
    if error.errno in (errno.ECONNRESET, errno.EPIPE):
        return causes.CUT_SHORT.error(os.strerror(error.errno).lower(), where=name)
    why = os.strerror(error.errno).lower() if error.errno else str(error) or "no answer in time"
    return causes.UNREACHABLE.error(clean(why, _QUOTED), where=name)


def _listed(algorithms: str) -> str:
    return ", ".join(word for word in algorithms.split(",") if not word.startswith(_NO_ALGORITHM))


def not_begun(name: str, status: int | None, *said: bytes) -> Permanent | Transient:
    """Return why a command never began: what came instead of its first mark says who ended it."""
    heard = b"\n".join(part.strip() for part in said if part.strip())
    by_sudo = SHELL_RUNS.encode() in heard
    text = " ".join(clean(heard.replace(SHELL_RUNS.encode(), b""), 8192).split())
    ended = f"it ended with status {status}" if status is not None else "it never ended"
    if len(text) > _QUOTED:  # a shell that quotes our command says what is wrong behind it
        text = f"{text[: _QUOTED // 3]} … {text[-_QUOTED // 3 * 2 :]}"
    quoted = f"{ended} and said {text!r}" if text else f"{ended} and said nothing"
    if by_sudo:
        return causes.SUDO.error(quoted, where=name)
    by_sshd = next((cause for pattern, cause in _BY_SSHD if pattern.search(text)), causes.NO_SHELL)
    if status == _NOLOGIN_STATUS and by_sshd is causes.NO_SHELL:
        by_sshd = causes.LOGINS_CLOSED
    return by_sshd.error(quoted, where=name)


def connection_lost(name: str) -> Permanent | Transient:
    """Return that a connection broke while a command ran."""
    return causes.LOST.error("", where=name)


def timed_out(name: str, seconds: float, *, begun: bool) -> Permanent | Transient:
    """Return that a command did not end within a time of ours; the server itself was there."""
    what = "it did not end" if begun else "its login did not even begin it"
    return causes.TIMED_OUT.error(f"{what} within {seconds:.0f} seconds", where=name)


def status_of(returncode: int | None) -> int | None:
    """Return an exit status as shells count: 128 and more for a signal; None where there was none."""
    return _SIGNALLED - returncode if returncode is not None and returncode < 0 else returncode
