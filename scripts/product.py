"""Runs the standalone product with two private SSH servers for the journeys, until its standard input is closed."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from pathlib import Path

from demo import Demo, end_by_signal

from shared.testing.sshd import login_user


def main() -> None:
    """Start it, print where it is as one line of JSON, and end it with the caller."""
    signal.signal(signal.SIGTERM, end_by_signal)
    with tempfile.TemporaryDirectory(prefix="borgfleet-web-") as directory:
        demo = Demo(Path(directory))
        try:
            demo.start()
            fleet_key = demo.call("GET", "/api/fleet-key")["public_key"]
            servers: list[dict[str, str | int]] = []
            for name, sshd in demo.servers.items():
                sshd.authorize(fleet_key)
                known = {"name": name, "port": sshd.port, "user": login_user(), "fingerprint": sshd.fingerprint()}
                servers.append(known)
            sys.stdout.write(
                json.dumps(
                    {
                        "url": demo.url,
                        "token": demo.token,
                        "link": demo.link,
                        "pool": str(demo.pool),
                        "servers": servers,
                    }
                )
                + "\n"
            )
            sys.stdout.flush()
            sys.stdin.read()
        finally:
            demo.stop()


if __name__ == "__main__":
    main()
