"""The child process that writes a catalogue, so that no heartbeat waits for a core that merges a million names.

A line of JSON says what to do. For a merge the listing follows in blocks, each after its length; a length of 0
is the end. Without that end nothing is kept: borg failed, or whoever read it died. The answer is a line of JSON.
"""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from services.backup.catalogue.merge import Archived, Merge, archives, drop
from services.backup.catalogue.store import writing
from shared.borg.entries import EntryReader
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTH = struct.Struct(">I")
_NICENESS = 19


class _BrokenOffError(Exception):
    """The listing has no end."""


def _blocks(source: IO[bytes]) -> Iterator[bytes]:
    while True:
        head = source.read(LENGTH.size)
        if len(head) < LENGTH.size:
            raise _BrokenOffError
        (length,) = LENGTH.unpack(head)
        if not length:
            return
        block = source.read(length)
        if len(block) < length:
            raise _BrokenOffError
        yield block


def _merged(asked: dict[str, Any], source: IO[bytes]) -> dict[str, Any]:
    archive = Archived(bytes.fromhex(asked["borg_id"]), bytes.fromhex(asked["chain"]), asked["started_at"])
    with writing(Path(asked["file"])) as connection:
        if archive.borg_id in archives(connection):
            return {"entries": 0}
        merge = Merge(connection, archive)
        reader = EntryReader(merge)
        for block in _blocks(source):
            reader(block)
        reader.close()
        if asked["files"] is not None and merge.files != asked["files"]:
            merge.give_up()
            return {"code": "mismatch", "files": merge.files}
        return {"entries": merge.commit()}


def _dropped(asked: dict[str, Any]) -> dict[str, Any]:
    with writing(Path(asked["file"])) as connection:
        drop(connection, [bytes.fromhex(one) for one in asked["drop"]])
    return {"entries": 0}


def main() -> None:
    """Do what stdin says, and answer on stdout; whatever goes wrong leaves the catalogue as it was."""
    os.nice(_NICENESS)
    source = sys.stdin.buffer
    asked = json.loads(source.readline())
    try:
        answer = _dropped(asked) if "drop" in asked else _merged(asked, source)
    except _BrokenOffError:
        return
    except Permanent as error:
        answer = {"code": "garbled", "reason": error.message}
    except (sqlite3.DatabaseError, OSError) as error:
        answer = {"code": "unwritable", "reason": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
