"""What the fence costs: `borg create` through it and through plain `borg serve --append-only`, in turn, over one real sshd."""

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

import psutil

from shared.borg import commands
from shared.borg.node import BorgNode, Grant
from shared.domain.ids import new_id
from shared.testing.sshd import PrivateSshd, login_user

BORG = str(Path(sys.executable).parent / "borg")
CLIENT = shutil.which("borg", path="/usr/bin") or BORG
KINDS = ("plain", "fenced")
AGAIN = 4
"""So many runs of unchanged data for one of new data: they are short, and what differs is small."""
_SSH = "-F none -oBatchMode=yes -oIdentitiesOnly=yes -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oLogLevel=ERROR"


class Cost(NamedTuple):
    """Seconds on the clock, and of the processors by client, ssh, sshd and server together."""

    wall: float
    cpu: float


class _Yard:
    """One sshd, one key, and the command that the key may run by now."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.node = BorgNode(BORG, directory / "state")
        self.sshd = PrivateSshd(directory / "sshd")
        self.sshd.start()
        self.key = directory / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)

    def environment(self, name: str, served: list[str]) -> dict[str, str]:
        """Let the key run this alone, as a server's key may at the storage endpoint; return the client's environment."""
        public = self.key.with_suffix(".pub").read_text()
        self.sshd.authorize(f'restrict,command="exec {shlex.join(served)}" {public}')
        return os.environ | {
            "BORG_PASSPHRASE": "bench",
            "BORG_BASE_DIR": str(self.directory / f"base-{name}"),
            "BORG_RSH": f"ssh -i {self.key} {_SSH} -oKexAlgorithms=curve25519-sha256",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
            "TZ": "UTC",
        }

    def cost(self, argv: list[str], environment: dict[str, str]) -> Cost:
        before, started = self._busy(), time.monotonic()
        subprocess.run(argv, env=environment, check=True, capture_output=True)
        wall = time.monotonic() - started
        while self._server().children():  # what a session took counts when sshd has waited for it
            time.sleep(0.01)
        return Cost(wall, self._busy() - before)

    def _server(self) -> psutil.Process:
        assert self.sshd.process is not None
        return psutil.Process(self.sshd.process.pid)

    def _busy(self) -> float:
        own, server = resource.getrusage(resource.RUSAGE_CHILDREN), self._server().cpu_times()
        return own.ru_utime + own.ru_stime + sum(server[:4])


def measure(say: Callable[[str], None], note: Callable[[str], None], directory: Path, source: Path, pairs: int) -> None:
    yard = _Yard(directory)
    costs: dict[tuple[str, str], list[Cost]] = {(kind, data): [] for kind in KINDS for data in ("new", "unchanged")}
    try:
        for pair in range(pairs):
            grants = {kind: Grant(new_id(), new_id(), str(directory / f"{kind}{pair}" / "r"), 1) for kind in KINDS}
            for grant in grants.values():
                yard.node.permit(grant, 3600)
            for run in range(1 + AGAIN):
                for kind in KINDS if (pair + run) % 2 == 0 else reversed(KINDS):  # who goes first finds a colder disk
                    grant = grants[kind]
                    environment = yard.environment(f"{kind}{pair}", _served(yard.node, grant, kind))
                    if run == 0:
                        init = [BORG, "init", "--encryption=repokey-blake2", "--make-parent-dirs", grant.path]
                        subprocess.run(init, env=environment, check=True, capture_output=True)
                    url = f"ssh://{login_user()}@127.0.0.1:{yard.sshd.port}{grant.path}::run{run}"
                    argv = [CLIENT, "create", "--compression=zstd,3", url, str(source)]
                    costs[kind, "unchanged" if run else "new"].append(yard.cost(argv, environment))
            for kind, grant in grants.items():
                assert yard.node.sessions.reports(grant.repository_id) == []
                shutil.rmtree(directory / f"{kind}{pair}")
            note(f"fence pair {pair + 1} of {pairs}")
    finally:
        yard.sshd.stop()
    _tell(say, costs)


def _served(node: BorgNode, grant: Grant, kind: str) -> list[str]:
    if kind == "plain":
        return [node.borg, *commands.serve(grant.path)]
    file = node.state_dir / "grants" / grant.file_name
    return node.script("fence.py", str(file), str(grant.epoch), *commands.serve(grant.path))


def _tell(say: Callable[[str], None], costs: dict[tuple[str, str], list[Cost]]) -> None:
    say(
        "Over one sshd on loopback; the processors' time is that of client, ssh, sshd and server. Each run is compared with "
        f"the other kind's beside it; unchanged data {AGAIN} times for each time of new data. Ratios are medians over them.\n"
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
