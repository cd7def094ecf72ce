"""What others than borg say of why it had no storage, or never began: ssh, its sshd, a shell, a linker, a Python.

Only the beginning of a line counts, and never a line of borg's about a file: a file's name may hold any of these words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shared.domain.messages import borg_causes as causes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.borg.output import LogLine
    from shared.domain.cause import Cause

_PASSED_ON = re.compile(r"Remote: |Got unexpected RPC data format from server:\s*")
"""How borg passes on what it met on its peer's stderr, or on the stdout where it awaited another borg."""
_SHELL = r"(?:\S*/)?(?:ba|da|a|k|bu)?sh: (?:exec: |line \d+: |\d+: )*"
"""How the shells begin a complaint: dash, bash, and busybox, which says who complains before it says where."""

_STORAGE: tuple[tuple[re.Pattern[str], Cause], ...] = tuple(
    (re.compile(pattern), cause)
    for pattern, cause in (
        (r"ssh: (connect to host \S+ port \d+|Could not resolve hostname \S+): ", causes.UNREACHABLE),
        (r"Connection (timed out during banner exchange|to \S+ port \d+ timed out)", causes.UNREACHABLE),
        (r"No \S+ host key is known for ", causes.NOT_PINNED),
        (r"Host key verification failed", causes.HOST_KEY),
        (r"Unable to negotiate with \S+ port \d+: no matching ", causes.NO_COMMON),
        (r"\S+: Permission denied \(", causes.REFUSED),
        (r"Received disconnect from .*Too many authentication failures", causes.REFUSED),
        (r"(no such identity|Load key) ", causes.REFUSED),
        (r"This account is (currently )?not available", causes.ACCOUNT),
        (r"Bad packet length|Corrupted MAC on input", causes.STREAM_DAMAGED),
        (r"ssh_dispatch_run_fatal: .*(corrupted|incorrect)", causes.STREAM_DAMAGED),
        (r"(\S+ line \d+: |\S+: line \d+: )?(Bad |Unsupported option |keyword \S+ extra arguments)", causes.SSH_BROKEN),
        (r"(\S*/)?ssh: (error while loading shared libraries|symbol lookup error): ", causes.SSH_BROKEN),
        (r"(\S*/)?ssh: (?>.*?version [`']).*' not found", causes.SSH_BROKEN),
        (r"OpenSSL version mismatch", causes.SSH_BROKEN),
        (rf"{_SHELL}(\S*/)?ssh: (command )?not found", causes.SSH_MISSING),
        (rf"{_SHELL}(\S*/)?nc: (command )?not found", causes.RELAY),
        (r"(\S*/)?nc: (invalid|unrecognized|unknown|illegal) option", causes.RELAY),
        (r".* socat\[\d+\] E unknown (device/)?address ", causes.RELAY),
        (r"(kex_exchange_identification|client_loop|Connection (closed|reset) by|Timeout, server) ?", causes.CLOSED),
    )
)  # fmt: skip
_LINE_OF = {
    "cipher": "Ciphers", "MAC": "MACs", "key exchange method": "KexAlgorithms", "host key type": "HostKeyAlgorithms",
    "compression method": "Compression",
}  # fmt: skip
"""The line of sshd_config that decides what ssh says was not matched."""
# Atomic groups: a server that repeats such words must not make a search of one line last for seconds.
_NOT_MATCHED = re.compile(r"(?>.*: no matching )(.+?) found")

_LOADER = re.compile(r"\S+: error while loading shared libraries: |(?>.*?: version [`']).+' not found")
_INTERPRETER = re.compile(r".*: bad interpreter: No such file or directory")
_UNPACKING = re.compile(
    r".*([Cc](annot|ould not) create temporary directory|failed to map segment|Failed to (extract|write all bytes))"
)
"""A borg of a single file unpacks itself below TMPDIR first, and loads its Python from there."""

_NO_MEMORY = re.compile(
    r"MemoryError$|(OSError: |ImportError: )?.*\bCannot allocate memory\b|.*can't start new thread$"
)


def of_the_storage(lines: Sequence[LogLine]) -> tuple[Cause, str] | None:
    """Return why the storage was not reached, if ssh, its sshd or a shell between said so."""
    said = [_own_words(line.message) for line in lines if not line.is_warning]
    for pattern, cause in _STORAGE:
        for text in reversed(said):
            if pattern.match(text):
                return cause, _with_its_line(text) if cause is causes.NO_COMMON else text
    return None


def _own_words(text: str) -> str:
    passed_on = _PASSED_ON.match(text)
    return text[passed_on.end() :] if passed_on else text


def _with_its_line(text: str) -> str:
    found = _NOT_MATCHED.match(text)
    line = _LINE_OF.get(found[1], found[1]) if found else "the line"
    return f"{line} of its sshd_config: {text}"


def of_the_start(lines: Sequence[LogLine], no_tmp: Cause, no_memory: Cause) -> tuple[Cause, str] | None:
    """Return why a borg that never spoke did not start, if the linker or what unpacks it said so."""
    for line in reversed(lines):
        if _LOADER.match(line.message) or _INTERPRETER.match(line.message):
            return causes.BROKEN, line.message
        if _UNPACKING.match(line.message):
            return no_tmp, line.message
        if _NO_MEMORY.match(line.message):
            return no_memory, line.message
    return None
