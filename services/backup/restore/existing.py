"""Tells which of the names that a restore is to bring are there already; sent to the server and run there.

Runs with nothing but Python 3.7, in the directory that holds the places: `existing.py PLAN` changes nothing, reads
names from its input, and answers with one line of JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import sys
from typing import Any

_SHOWN = 1000


class Existing:
    """Tells which of the names that are to come are there already."""

    def __init__(self, plan: dict[str, Any]) -> None:
        """Take the plan: only `existing` and `mode` matter."""
        self.swap = plan["mode"] == "swap"
        self.first: list[dict[str, Any]] = []
        self.count = 0
        self.digest = hashlib.sha256()
        self._above: dict[str, bool] = {"": True}

    def look(self, kind: str, path: str) -> None:
        """Look at one name; `kind` is `d` for a directory."""
        if not self._enterable(path.rpartition("/")[0]):
            return
        try:
            found = os.lstat(path)
        except OSError:
            return
        if kind == "d" and stat.S_ISDIR(found.st_mode) and not self.swap:
            return
        self.count += 1
        told = {"path": path, "size": found.st_size, "mtime_ns": found.st_mtime_ns}
        self.digest.update(json.dumps([path, found.st_ino, found.st_size, found.st_mtime_ns]).encode())
        if len(self.first) < _SHOWN:
            self.first.append(told)

    def _enterable(self, path: str) -> bool:
        """Tell whether a directory is there, by no link."""
        if path not in self._above:
            try:
                there = self._enterable(path.rpartition("/")[0]) and stat.S_ISDIR(os.lstat(path).st_mode)
            except OSError:
                there = False
            self._above[path] = there
        return self._above[path]


def _path(encoded: str) -> str:
    return os.fsdecode(base64.b64decode(encoded))


def main(encoded: str) -> None:
    """Read the names, and tell of those that are there."""
    existing = Existing(json.loads(base64.b64decode(encoded)))
    for line in sys.stdin:
        kind, _, path = line.strip().partition(" ")
        existing.look(kind, _path(path))
    found = {"count": existing.count, "first": existing.first, "digest": existing.digest.hexdigest()}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
