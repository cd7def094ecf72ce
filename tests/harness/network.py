"""A network namespace joined by veth, for a link that goes down without a word."""

from __future__ import annotations

import os
import random
import subprocess
from typing import Self

from shared.testing.sshd import PrivateSshd, reserved


class Namespace:
    """One namespace with one link; 10.213.N.1 is ours, 10.213.N.2 is inside, and N is ours alone on this machine."""

    def __init__(self) -> None:
        number = next(n for n in random.sample(range(255), 255) if reserved(f"network-{n}"))
        self.name = f"bf{os.getpid()}n{number}"
        self._outer, self._inner = f"bf{number}a", f"bf{number}b"
        self.inside = f"10.213.{number}.2"
        self._outside = f"10.213.{number}.1"

    def __enter__(self) -> Self:
        _ip("netns", "add", self.name)
        _ip("link", "add", self._outer, "type", "veth", "peer", "name", self._inner, "netns", self.name)
        _ip("addr", "add", f"{self._outside}/24", "dev", self._outer)
        _ip("link", "set", self._outer, "up")
        _ip("-n", self.name, "addr", "add", f"{self.inside}/24", "dev", self._inner)
        _ip("-n", self.name, "link", "set", self._inner, "up")
        _ip("-n", self.name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        _ip("netns", "del", self.name)

    def cut(self) -> None:
        """Take the link down: no FIN, no RST, only silence; and see that it really is down."""
        _ip("link", "set", self._outer, "down")
        shown = subprocess.run(["ip", "link", "show", self._outer], capture_output=True, text=True, check=True)
        assert "state DOWN" in shown.stdout

    def slow(self, rate: str) -> None:
        """Let no more than this through each way, as `1mbit`."""
        shape = ("root", "tbf", "rate", rate, "burst", "16kb", "latency", "400ms")
        for where in (
            ("-n", self.name, "qdisc", "replace", "dev", self._inner),
            ("qdisc", "replace", "dev", self._outer),
        ):
            subprocess.run(["tc", *where, *shape], check=True, capture_output=True)

    def mend(self) -> None:
        _ip("link", "set", self._outer, "up")


class NamespacedSshd(PrivateSshd):
    """An sshd inside a namespace."""

    namespace: Namespace | None = None

    def command(self, argv: list[str]) -> list[str]:
        assert self.namespace is not None
        return ["ip", "netns", "exec", self.namespace.name, *argv]


def available() -> bool:
    """Whether this machine lets us make namespaces."""
    name = f"bfprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        _ip("netns", "del", name)
    return made


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
