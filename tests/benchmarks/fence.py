"""What the fence costs: `borg create` through it and through plain `borg serve --append-only`, in turn, without SSH."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from shared.borg import commands
from shared.borg.node import BorgNode, Grant
from shared.domain.ids import new_id

BORG = str(Path(sys.executable).parent / "borg")
CLIENT = shutil.which("borg", path="/usr/bin") or BORG


class Cost(NamedTuple):
    """Seconds on the clock, and of the processors by client and server together."""

    wall: float
    cpu: float


def measure(say: Callable[[str], None], note: Callable[[str], None], directory: Path, source: Path, pairs: int) -> None:
    node = BorgNode(BORG, directory / "state")
    kinds = ("plain", "fenced")
    costs: dict[tuple[str, str], list[Cost]] = {(kind, data): [] for kind in kinds for data in ("new", "unchanged")}
    for pair in range(pairs):
        for kind in kinds if pair % 2 == 0 else reversed(kinds):  # who goes first finds a colder disk
            grant = Grant(new_id(), new_id(), str(directory / f"{kind}{pair}" / "repository"), 1)
            node.permit(grant, 3600)
            environment = _environment(directory, kind, pair, _served(node, grant, kind))
            init = [BORG, "init", "--encryption=repokey-blake2", "--make-parent-dirs", grant.path]
            subprocess.run(init, env=environment, check=True, capture_output=True)
            for data in ("new", "unchanged"):
                argv = [CLIENT, "create", "--compression=zstd,3", f"ssh://node{grant.path}::{data}", str(source)]
                costs[kind, data].append(_cost(argv, environment))
            assert node.sessions.reports(grant.repository_id) == []
            shutil.rmtree(directory / f"{kind}{pair}")
        note(f"fence pair {pair + 1} of {pairs}")
    _tell(say, costs)


def _served(node: BorgNode, grant: Grant, kind: str) -> list[str]:
    if kind == "plain":
        return [node.borg, *commands.serve(grant.path)]
    file = node.state_dir / "grants" / grant.file_name
    return node.script("fence.py", str(file), str(grant.epoch), *commands.serve(grant.path))


def _environment(directory: Path, kind: str, pair: int, served: list[str]) -> dict[str, str]:
    return os.environ | {
        "BORG_PASSPHRASE": "bench",
        "BORG_BASE_DIR": str(directory / f"base-{kind}{pair}"),
        "BORG_RSH": "sh -c " + shlex.quote(f"exec {shlex.join(served)}"),
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "TZ": "UTC",
    }


def _cost(argv: list[str], environment: dict[str, str]) -> Cost:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(argv, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.monotonic() - started, cpu)


def _tell(say: Callable[[str], None], costs: dict[tuple[str, str], list[Cost]]) -> None:
    say(
        "Client and server joined by a pipe; the processors' time is that of both. Ratios are medians over the pairs.\n"
    )
    say("| | plain `borg serve` | fenced | ratio |\n|---|---|---|---|")
    for data in ("new", "unchanged"):
        for what, index in (("wall", 0), ("CPU", 1)):
            plain = [cost[index] for cost in costs["plain", data]]
            fenced = [cost[index] for cost in costs["fenced", data]]
            ratio = statistics.median(f / p for f, p in zip(fenced, plain, strict=True))
            say(f"| {data} data, {what} | {_spread(plain)} | {_spread(fenced)} | {ratio:.3f} |")
    say("")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"
