"""An sshd that stands still, as on a machine that hangs: the kernel takes connections for it, and nobody answers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import psutil

from shared.testing.sshd import PrivateSshd
from tests.harness.patience import WAIT


@contextlib.contextmanager
def standing_still(sshd: PrivateSshd) -> Iterator[None]:
    """Stop it with all of its sessions and what runs in them, and let all go on afterwards."""
    assert sshd.process is not None
    server = psutil.Process(sshd.process.pid)
    stopped = [server, *server.children(recursive=True)]
    try:
        for one in stopped:
            one.suspend()
        deadline = time.monotonic() + WAIT
        while not all(one.status() == psutil.STATUS_STOPPED for one in stopped):
            assert time.monotonic() < deadline, "it does not stand still"
            time.sleep(0.01)
        yield
    finally:
        for one in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.resume()
