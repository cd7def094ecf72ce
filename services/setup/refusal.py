"""Why an sshd refuses a key that stands in authorized_keys: asked of the server, and read without it."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from shared.domain.lines import some_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ASK = r"""
LC_ALL=C PATH=$PATH:/usr/sbin:/usr/local/sbin:/sbin; export LC_ALL PATH
home=$(getent passwd "$1" 2>/dev/null | cut -d: -f6)
home=${home:-$2}
echo "home=$home"
echo "uid=$(id -u "$1" 2>/dev/null)"
# The sshd that serves us may have a configuration of its own: its title names it, some parents up.
pid=$$ config=
while [ "${pid:-1}" -gt 1 ]; do
    title=$({ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null)
    case $title in
    'sshd: '*' -f '* | /*sshd' '*' -f '*) config=${title##* -f } config=${config%% *}; break ;;
    esac
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null)
done
sshd -T ${config:+-f "$config"} -C "user=$1,host=localhost,addr=127.0.0.1" 2>/dev/null | sed 's/^/sshd /'
for path in "$home" "$home/.ssh" "$home/.ssh/authorized_keys"; do
    stat -c 'mode %A %u %n' "$path" 2>/dev/null
done
grep -v '^[[:space:]]*#' "$home/.ssh/authorized_keys" 2>/dev/null | grep -F -e "$3" | sed 's/^/entry /'
[ "$(getenforce 2>/dev/null)" = Enforcing ] && ls -Zd "$home/.ssh/authorized_keys" 2>/dev/null | sed 's/^/selinux /'
true
"""
_ENTRIES = re.compile(r"^entry (.*?)ssh-ed25519 ", re.MULTILINE)
_MODE = re.compile(r"mode (\S{10})\S* (\d+) (/.*)")
_GROUP, _OTHERS = 5, 8
_LISTS = ("allowusers", "denyusers", "allowgroups", "denygroups")


def why_refused(answer: str, user: str, home: str) -> list[str]:
    """Read the answer to ASK, which is given the user, his HOME and the key.

    Return what of the server's answer keeps the key out, in sentences; nothing where nothing does.
    """
    options: dict[str, str] = {}
    facts: dict[str, str] = {}
    lines = some_lines(answer)
    answer = "\n".join(lines)
    for line in lines:
        if line.startswith("sshd "):
            name, _, value = line.removeprefix("sshd ").partition(" ")
            options[name] = f"{options[name]} {value}" if name in _LISTS and name in options else value
        elif "=" in line:
            name, _, value = line.partition("=")
            facts.setdefault(name, value)
    home = facts.get("home") or home
    causes = [*_options(options, user, home)]
    if options.get("strictmodes", "yes") == "yes":
        causes += _modes(answer, facts.get("uid", ""))
    return causes + _limits(answer) + _labels(answer)


def _options(options: Mapping[str, str], user: str, home: str) -> Iterator[str]:
    if options.get("pubkeyauthentication") == "no":
        yield "sshd has PubkeyAuthentication no"
    files = options.get("authorizedkeysfile", "").split()
    ours = posixpath.join(home, ".ssh/authorized_keys")
    if files and ours not in [_expanded(file, user, home) for file in files]:
        yield f"sshd reads AuthorizedKeysFile {' '.join(files)}, and the key stands in {ours}"
    methods = options.get("authenticationmethods", "any").split()
    if "any" not in methods and "publickey" not in methods:
        yield f"sshd has AuthenticationMethods {' '.join(methods)}, which a key alone does not satisfy"
    algorithms = options.get("pubkeyacceptedalgorithms", "")
    if algorithms and "ssh-ed25519" not in algorithms.split(","):
        yield "sshd has PubkeyAcceptedAlgorithms without ssh-ed25519"
    if user == "root" and options.get("permitrootlogin") in ("no", "forced-commands-only"):
        yield f"sshd has PermitRootLogin {options['permitrootlogin']}"
    for name in _LISTS:
        if options.get(name):
            yield f"sshd has {name} {options[name]}"


def _expanded(file: str, user: str, home: str) -> str:
    for token, value in (("%h", home), ("%u", user), ("%%", "%")):
        file = file.replace(token, value)
    return posixpath.normpath(posixpath.join(home, file))


def _modes(answer: str, uid: str) -> list[str]:
    causes: list[str] = []
    for mode, owner, path in _MODE.findall(answer):
        if "w" in (mode[_GROUP], mode[_OTHERS]):
            causes.append(f"{path} can be written by others than its owner ({mode}), which StrictModes forbids")
        if owner not in ("0", uid) and uid:
            causes.append(f"{path} belongs to user {owner}, which StrictModes forbids")
    return causes


def _limits(answer: str) -> list[str]:
    entries = (entry.strip() for entry in _ENTRIES.findall(answer))
    return [f"before the key in authorized_keys stands {entry}" for entry in entries if entry]


def _labels(answer: str) -> list[str]:
    label = re.search(r"^selinux (.*)$", answer, re.MULTILINE)
    if label is None or "ssh_home_t" in label[1]:
        return []
    return [f"SELinux enforces, and the label of authorized_keys is not ssh_home_t: {label[1]}"]
