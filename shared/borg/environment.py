"""The one place that builds borg's environment; secrets are never in it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

_PASSPHRASE_FD = 3

# A small block is followed by a moment of patience: borg writes chunk by chunk, and each packet has its price. By
# select, since time.sleep waits for an absolute time, which a library that fakes a process's clock misreads.
_RELAY = """import os,select,socket,sys,threading
s=socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
def up():
    for b in iter(lambda:os.read(0,262144),b''):
        s.sendall(b)
        if len(b)<32768: select.select((),(),(),.002)
    s.shutdown(1)
threading.Thread(target=up,daemon=True).start()
o=sys.stdout.buffer
for b in iter(lambda:s.recv(262144),b''): o.write(b);o.flush()
"""
# borg looks at its peer's stdout before it looks at its stderr, and gives up at once where that is closed. So a peer
# that failed keeps both open for a moment, or borg would tell a closed connection and nobody would learn why.
_LINGER = '|| { status=$?; sleep 1; exit "$status"; }'
_SSH_SH = f'"$@" {_LINGER}'
_RELAY_SH = (
    'if command -v python3 >/dev/null; then python3 -c "$1" "$2"; '
    'elif command -v socat >/dev/null; then socat - "UNIX-CONNECT:$2"; else nc -U "$2"; fi ' + _LINGER
)
# The cheapest first; behind it what a peer may insist on, by names that every OpenSSH since 7.4 knows: of a name that
# it does not know ssh makes an error, so that a list with the newest ones would shut out the oldest servers.
_KEY_EXCHANGES = (
    "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,"
    "diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,"
    "diffie-hellman-group14-sha256"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a server reaches the storage endpoint of a node; `alias` names its host key."""

    alias: str
    host: str
    port: int
    user: str


def common() -> dict[str, str]:
    """Return what every borg needs: UTC, UTF-8, modern exit codes."""
    return {"TZ": "UTC", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "BORG_EXIT_CODES": "modern"}


def on_server(rsh: str, grant: str, files_cache: str = "") -> dict[str, str]:
    """Return the environment of a server's borg; `grant` travels in the remote command's name.

    `files_cache` names a files cache of its own: borg forgets a file that 20 runs in a row did not meet, so that in a
    shared one an hourly job would make a weekly job of the same repository read everything anew.
    """
    own_cache = {"BORG_FILES_CACHE_SUFFIX": files_cache} if files_cache else {}
    return (
        common()
        | own_cache
        | {
            "BORG_RSH": rsh,
            "BORG_REMOTE_PATH": f"borgfleet-{grant}",
            "BORG_PASSPHRASE_FD": str(_PASSPHRASE_FD),
            "BORG_DISPLAY_PASSPHRASE": "no",
        }
    )


def on_node(base_dir: str, host_id: str) -> dict[str, str]:
    """Return the environment of a node's own borg; the base directory must outlive it: it detects rollback."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    own = {"BORG_BASE_DIR": base_dir, "BORG_HOST_ID": host_id, "PATH": path, "HOME": base_dir}
    # A third of a short command's time; this borg is tried where the service starts, and by `borgfleet doctor`. A
    # server's borg, which changes whenever its distribution likes, goes on trying itself before each run.
    return common() | own | {"BORG_SELFTEST": "disabled"}


def apart(base_dir: str) -> dict[str, str]:
    """Return what lets a node's borg read a view: it remembers nothing of it beside what it knows of repositories.

    There the same repository stands in another place, which anywhere else would be an incident.
    """
    return {"BORG_BASE_DIR": base_dir, "HOME": base_dir} | relocated()


def unencrypted() -> dict[str, str]:
    """Return what lets borg read a repository that hides nothing without asking whether that is meant."""
    return {"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}


def relocated() -> dict[str, str]:
    """Return what lets borg use a repository that it knows by another place; for one run that expects just that."""
    return {"BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}


def key_file(path: str) -> dict[str, str]:
    """Return where borg finds the key of a repository that does not hold it."""
    return {"BORG_KEY_FILE": path}


def ssh_command(endpoint: Endpoint, key_file: str, known_hosts_file: str) -> str:
    """Return BORG_RSH for the direct transport: nothing of the user's configuration, our key, our known_hosts."""
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "IdentityFile": key_file,
        "UserKnownHostsFile": known_hosts_file,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": endpoint.alias,
        "HostName": endpoint.host,
        "Port": str(endpoint.port),
        "User": endpoint.user,
        "KexAlgorithms": _KEY_EXCHANGES,
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "2",
        "ConnectTimeout": "10",
        # Below it ssh does not say that both sides have no algorithm in common.
        "LogLevel": "INFO",
        # OpenSSH 10 tells at this level, at each connection, that the key exchange is none of the newest.
        "IgnoreUnknown": "WarnWeakCrypto",
        "WarnWeakCrypto": "no",
    }
    ssh = ["ssh", "-F", "none", *(f"-o{key}={value}" for key, value in options.items())]
    return shlex.join(["sh", "-c", _SSH_SH, "sh", *ssh])


def relay_command(socket_path: str) -> str:
    """Return BORG_RSH for the tunnel: it joins borg's stream to a Unix socket, and ignores host and command."""
    return shlex.join(["sh", "-c", _RELAY_SH, "sh", _RELAY, socket_path])


def location(alias: str, path: str) -> str:
    """Return a repository's URL: the same by every route, so that borg never takes it for moved."""
    return f"ssh://{alias}{path}"


def as_argv(environment: dict[str, str]) -> list[str]:
    """Return `env` with the variables, to stand before a command on a server."""
    return ["env", *(f"{key}={value}" for key, value in environment.items())]
