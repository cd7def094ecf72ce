"""A look at sources of which one hangs, on real shells and a file system that never answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from services.backup.create.sources import SCRIPT, SECONDS, read_sources
from services.backup.truth.evidence import Kind
from tests.harness.hanging import hanging
from tests.harness.patience import WAIT


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_one_that_hangs_costs_only_itself_and_is_ended(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    temporary = tmp_path / "tmp"
    for name in ("tmp", "a", "z"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (temporary / "file").unlink()
    token = f"token-{os.getpid()}-{shell}"
    with hanging(tmp_path / "nas"):
        sources = [str(tmp_path / name) for name in ("a", "nas", "nas/deep", "z")]
        argv = [shell, *(["ash"] if shell == "busybox" else []), "-c", SCRIPT, token, str(SECONDS), *sources]
        environment = os.environ | {"TMPDIR": str(temporary)}
        done = subprocess.run(argv, capture_output=True, check=True, env=environment, timeout=WAIT)
        # It tells all mounts of this machine, and another test's may have a name that is no UTF-8.
        found = read_sources(sources, done.stdout.decode(errors="replace"))
        assert [one.kind for one in found] == [Kind.DIRECTORY, Kind.HANGS, Kind.HANGS, Kind.DIRECTORY]
        assert [found[0].empty, found[3].empty] == [False, False]
        deadline = time.monotonic() + WAIT
        while left := [p for p in psutil.process_iter(["cmdline"]) if token in (p.info["cmdline"] or [])]:
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
    assert list(temporary.iterdir()) == []
