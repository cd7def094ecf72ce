"""`borgfleet health`: asks the service of this container how it is; a healthcheck runs often and must be light.

Only the standard library: reading all settings would cost a second of processor time each time.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import tomllib
from pathlib import Path

_SECONDS = 4.0
_DEFAULT_PORT = 9090


def main(arguments: list[str]) -> int:
    """Print what the service says; 0 if its event loop turns, or with `--ready` if it can do its work."""
    if unknown := [one for one in arguments if one != "--ready"]:
        sys.stderr.write(f"error: there is no option {unknown[0]}\n  use `borgfleet health [--ready]`\n")
        return 2
    try:
        status, said = _asked("/readyz" if arguments else "/livez", _port())
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stderr.write(f"error: the service does not answer: {error}\n  see its log, and BORGFLEET_HEALTH__PORT\n")
        return 1
    sys.stdout.write(said + "\n")
    return 0 if status == http.HTTPStatus.OK else 1


def _asked(path: str, port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.dumps(json.loads(answer.read()))
    finally:
        connection.close()


def _port() -> int:
    if given := os.environ.get("BORGFLEET_HEALTH__PORT"):
        return int(given)
    file = Path(os.environ.get("BORGFLEET_CONFIG", "/etc/borgfleet/borgfleet.toml"))
    settings = tomllib.loads(file.read_text()) if file.is_file() else {}
    return int(settings.get("health", {}).get("port", _DEFAULT_PORT))
