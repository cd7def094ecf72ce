"""What a child process is handed by the number of a file descriptor: a secret, or a plan that stands on no disk."""

from __future__ import annotations

import fcntl
import os

_ABOVE_SHELLS = 64
"""File descriptors that are not a script's own (guard.sh: 8, 9), nor such as a shell saves its own under (10 on)."""


def to_read(secret: bytes) -> int:
    """Return the number of a pipe that holds a secret, to be passed on under this number."""
    reader, writer = os.pipe()
    try:
        os.write(writer, secret)
        # Under the lowest free number, as after a broken connection, it could be one that guard.sh opens for itself:
        # borg would read its lock file, or nothing.
        return fcntl.fcntl(reader, fcntl.F_DUPFD_CLOEXEC, _ABOVE_SHELLS)
    finally:
        os.close(reader)
        os.close(writer)


def in_memory(text: bytes) -> int:
    """Return the number of a file that stands on no disk, to be passed on under this number."""
    descriptor = os.memfd_create("plan", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)  # made for all to write, and MariaDB's clients take no such file
        with os.fdopen(os.dup(descriptor), "wb") as stream:
            stream.write(text)
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _ABOVE_SHELLS)
    finally:
        os.close(descriptor)
