"""Nothing an honest client does is refused: borgs 1.2.4, 1.2.9 and 1.4.5, checkpoints, lost caches, runs cut short, two clients."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.harness.borg_many import BORG_1_2
from tests.integration.borg.conftest import BORG, PASSPHRASE, SCRIPTS, World, make_files

DEBIANS = "/usr/bin/borg"
LAST_1_2 = BORG_1_2.with_name("borg")
RUNS = 20
pytestmark = pytest.mark.unmeasured  # each run starts a fence: test_fence.py measures it


def client(world: World, borg: str, base: str, name: str, *, upload_kib: int | None = None) -> subprocess.Popen[str]:
    """Start `borg create` as a server does, with the fence in the place of ssh."""
    grant = world.node.state_dir / "grants" / world.grant.file_name
    served = ["serve", "--append-only", "--umask=077", "--restrict-to-repository", world.grant.path]
    fence = [world.node.python, "-I", str(SCRIPTS / "fence.py"), str(grant), str(world.grant.epoch), *served]
    rsh = "sh -c " + shlex.quote(f"exec {shlex.join(fence)}")
    environment = os.environ | {
        "BORG_RSH": rsh, "BORG_PASSPHRASE": PASSPHRASE, "BORG_BASE_DIR": str(world.directory / base),
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "TZ": "UTC",
    }  # fmt: skip
    limit = [f"--upload-ratelimit={upload_kib}"] if upload_kib else []
    argv = [borg, "create", "--checkpoint-interval=1", "--compression=none", "--lock-wait=60", *limit,
            f"ssh://node{world.grant.path}::{name}", "source"]  # fmt: skip
    return subprocess.Popen(
        argv, env=environment, cwd=world.directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=240)
    return process.returncode, said


@pytest.mark.parametrize("borg", [DEBIANS, str(LAST_1_2), BORG], ids=["1.2.4", "1.2.9", "1.4.5"])
def test_twenty_honest_runs_are_refused_nothing(world: World, borg: str) -> None:
    chance = random.Random(4)
    made: dict[str, dict[str, bytes]] = {}
    source = world.directory / "source"
    for number in range(RUNS):
        make_files(source / f"new{number}", 3, 40_000)
        if number % 5 == 4:  # a cache that is lost, and a second client
            shutil.rmtree(world.directory / "first" / ".cache" / "borg", ignore_errors=True)
        base = "second" if number % 7 == 6 else "first"
        process = client(world, borg, base, f"run{number}", upload_kib=40 if number % 3 == 1 else None)
        if number % 3 == 1:  # slow enough for checkpoints, and cut in the middle
            cut(
                process, world, chance.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL]), chance.uniform(0.3, 1.6)
            )
            process = client(world, borg, base, f"run{number}b")
        status, said = ended(process)
        assert status in (0, 1), f"run {number}: {status}\n{said}"
        made[f"run{number}b" if number % 3 == 1 else f"run{number}"] = contents(source)
    assert world.refused() == ""
    assert judged_sound(world)
    world.borg("check", "--verify-data", world.grant.path)
    for name in list(made)[:: RUNS // 4]:
        target = world.directory / f"extracted-{name}"
        target.mkdir()
        world.borg("extract", f"{world.grant.path}::{name}", cwd=target)
        assert contents(target / "source") == made[name]


def cut(process: subprocess.Popen[str], world: World, how: signal.Signals, seconds: float) -> None:
    """End a client in the middle of its writing: when its session has written so far, or it has ended by itself."""
    before = size(world)
    while process.poll() is None and size(world) < before + 30_000:
        time.sleep(0.02)
    time.sleep(seconds)
    if process.poll() is None:
        os.killpg(process.pid, how)
    process.communicate(timeout=240)


def size(world: World) -> int:
    return sum(file.stat().st_size for file in (Path(world.grant.path) / "data").rglob("*") if file.is_file())


def contents(directory: Path) -> dict[str, bytes]:
    return {str(f.relative_to(directory)): f.read_bytes() for f in directory.rglob("*") if f.is_file()}


def judged_sound(world: World) -> bool:
    """Tell whether all that was left out is what it should be: honest clients may send what is there already."""
    for report in world.reports():
        done = subprocess.run(
            [world.node.python, "-I", str(SCRIPTS / "left_out.py"), world.grant.path, str(report.file)],
            env=os.environ | world.node._environment | {"BORG_PASSPHRASE": PASSPHRASE},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        if done.stdout.strip() != '{"lying": [], "sent": []}':
            return False
    return True
