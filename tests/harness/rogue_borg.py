"""A server whose borg is its attacker's: each `create` is followed by a session of raw frames, by whatever route it had.

`python -m tests.harness.rogue_borg DIRECTORY` is that session: it says `reached`, waits for what to do, and does it.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path

from tests.harness.attacks import ATTACKS
from tests.harness.patience import WAIT
from tests.harness.rpc import MANIFEST, RawClient, RemoteError

_BORG = """\
#!/bin/sh
{borg} "$@"
status=$?
case " $* " in *" create "*)
    [ -e {directory}/armed ] && PYTHONPATH={root} {python} -m tests.harness.rogue_borg {directory} >{directory}/said 2>&1 ;;
esac
exit $status
"""


class RogueBorg:
    """Puts such a borg in front of a server's own in PATH."""

    def __init__(self, directory: Path, borg: str = "/usr/bin/borg") -> None:
        self.directory = directory
        self.tools = directory / "tools"
        self.tools.mkdir(parents=True)
        program = self.tools / "borg"
        root = Path(__file__).parents[2]
        program.write_text(_BORG.format(borg=borg, directory=directory, root=root, python=sys.executable))
        program.chmod(0o755)
        self.armed, self.reached, self.said = directory / "armed", directory / "reached", directory / "said"

    def arm(self) -> None:
        """Let the next `create` be followed by the attack."""
        self.reached.unlink(missing_ok=True)
        (self.directory / "order").unlink(missing_ok=True)
        self.armed.touch()

    def send(self, path: str, manifest: bytes) -> None:
        """Let the attack, once it was reached, replace the manifest of the repository that is served."""
        self._order({"path": path, "manifest": manifest.hex()})

    def attack(self, path: str, name: str) -> None:
        """Let it be one of ATTACKS."""
        self._order({"path": path, "attack": name})

    def _order(self, order: dict[str, str]) -> None:
        waiting = self.directory / "order.new"
        waiting.write_text(json.dumps(order))
        waiting.rename(self.directory / "order")


def _main(directory: Path) -> None:
    (directory / "armed").unlink()
    (directory / "reached").touch()
    deadline = time.monotonic() + WAIT
    while not (directory / "order").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    order = json.loads((directory / "order").read_text())
    # As borg itself calls it; ssh takes host and user from its options, the tunnel's relay ignores all of it.
    argv = [*shlex.split(os.environ["BORG_RSH"]), "node", f"{os.environ['BORG_REMOTE_PATH']} serve"]
    with RawClient(argv, dict(os.environ)) as client:
        client.open(order["path"])
        if name := order.get("attack"):
            ATTACKS[name](client)
            print("tried")
        else:
            _replace_manifest(client, bytes.fromhex(order["manifest"]))


def _replace_manifest(client: RawClient, manifest: bytes) -> None:
    try:
        client.call("put", id=MANIFEST, data=manifest)
    except RemoteError as error:
        print("refused:", error)
        return
    client.call("commit", save_space=False)
    print("committed")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
