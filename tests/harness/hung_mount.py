"""A mount that really hangs: a FUSE file system that nobody serves, in a mount namespace of its own.

Run as a script: `hung_mount.py POINT COMMAND...` runs the command while the mount at POINT answers nothing.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

_REC, _PRIVATE, _DETACH = 0x4000, 1 << 18, 2


def why_not() -> str:
    """Return why there can be no such mount here; empty if there can."""
    if os.geteuid() != 0:
        return "a mount that hangs needs root"
    return "" if Path("/dev/fuse").exists() else "a mount that hangs needs /dev/fuse"


def within(point: Path, argv: list[str]) -> list[str]:
    """Return the command that runs another one beside a mount that hangs."""
    return [
        shutil.which("unshare") or "unshare",
        "-m",
        "--propagation",
        "unchanged",
        sys.executable,
        "-S",
        __file__,
        str(point),
        *argv,
    ]


def _run(point: str, argv: list[str]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    # In a chroot `/` is no mount point: what is mounted shows outside the namespace then, so it is taken away again.
    libc.mount(None, b"/", None, _REC | _PRIVATE, None)
    served_by_nobody = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={served_by_nobody},rootmode=40000,user_id=0,group_id=0"
    if libc.mount(b"hung", point.encode(), b"fuse", 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount {point}")
    try:
        return subprocess.call(argv)
    finally:
        libc.umount2(point.encode(), _DETACH)


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1], sys.argv[2:]))
