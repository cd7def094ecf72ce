"""A file system that never answers, as a mount whose server is gone; whoever touches it can still be killed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def hanging(directory: Path) -> Iterator[Path]:
    """Mount it; needs root and /dev/fuse."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("mounting needs root and /dev/fuse")
    directory.mkdir(parents=True, exist_ok=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"hanging", bytes(directory), b"fuse", 0, options.encode()) != 0:
        os.close(device)
        pytest.skip(f"cannot mount here: {os.strerror(ctypes.get_errno())}")
    try:
        yield directory
    finally:
        os.close(device)  # whoever waits gets an error
        subprocess.run(["umount", "-l", str(directory)], check=False)


@contextlib.contextmanager
def mounted(directory: Path, *arguments: str) -> Iterator[Path]:
    """Mount something else, a small memory file system by default."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    directory.mkdir(parents=True, exist_ok=True)
    arguments = arguments or ("-t", "tmpfs", "-o", "size=4m", "tmpfs")
    subprocess.run(["mount", *arguments, str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=False)
