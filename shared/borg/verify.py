"""Reads and decrypts every object in a range of segments: what somebody stored that is none of borg's is found.

A script, run by the Python that runs the node's borg: `verify.py PATH PLAN`, the passphrase by BORG_PASSPHRASE_FD. PLAN
is a JSON file: `encryption`, `key` as borg exports it, `after` and `upto`, segments, `seconds`. It takes no lock and
writes nothing: committed segments do not change, and what compaction takes away meanwhile it wrote again further on. It
prints JSON: the last segment that was `reached`, how many `objects`, `garbage` as [id, segment], what is `damaged` and
in which `damaged_segments`, and which segments are `missing`, as [first, last] of each gap: who knows what was
compacted judges that.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import struct
import sys
import time
from configparser import ConfigParser
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# borg has no types.
_helpers: Any = importlib.import_module("borg.helpers")
_key: Any = importlib.import_module("borg.crypto.key")
_low_level: Any = importlib.import_module("borg.crypto.low_level")
_repository: Any = importlib.import_module("borg.repository")

_ALIVE_SECONDS = 5.0
_GARBAGE = (
    _low_level.IntegrityError, _helpers.Error, ArithmeticError, LookupError, MemoryError, TypeError, ValueError,
    struct.error,
)  # fmt: skip
"""What borg raises where bytes are none of its own, from whichever of its steps."""
_MANIFEST = _helpers.Manifest.MANIFEST_ID
_SHOWN = 100
_NICE = 19


@dataclass
class _Found:
    reached: int
    objects: int = 0
    garbage: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    damaged: list[str] = field(default_factory=list[str])
    damaged_segments: list[int] = field(default_factory=list[int])
    missing: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def lacks(self, first: int, last: int) -> None:
        """Note a gap; of one that goes on, no second."""
        if self.missing and self.missing[-1][1] == first - 1:
            self.missing[-1] = (self.missing[-1][0], last)
        elif first <= last:
            self.missing.append((first, last))


class _Alive:
    """Gives signs of life, as blank lines before the answer: who says nothing for long is taken for hung."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._last > _ALIVE_SECONDS:
            self._last = time.monotonic()
            sys.stdout.write("\n")
            sys.stdout.flush()


def main(argv: Sequence[str]) -> None:
    """Print what was found."""
    path, file = argv
    os.nice(_NICE)
    importlib.import_module("borg.logger").setup_logging(level="error")
    plan = json.loads(Path(file).read_text())
    try:
        found = _verified(path, plan)
    except _helpers.Error as error:
        said = {"type": "log_message", "levelname": "ERROR", "name": "borg", "message": error.get_message()}
        sys.stderr.write(json.dumps(said | {"msgid": type(error).__qualname__}) + "\n")
        sys.exit(error.exit_mcode)
    sys.stdout.write(json.dumps(vars(found)) + "\n")


def _verified(path: str, plan: dict[str, Any]) -> _Found:
    config = ConfigParser(interpolation=None)
    config.read(Path(path) / "config")
    if not config.has_option("repository", "id"):
        raise _repository.Repository.DoesNotExist(path)
    section = config["repository"]
    key = _opened(path, section["id"].strip(), plan["key"] or "\n" + section.get("key", ""), plan["encryption"])
    with contextlib.closing(
        _repository.LoggedIO(path, section.getint("max_segment_size"), section.getint("segments_per_dir"))
    ) as io:
        until = time.monotonic() + plan["seconds"]
        found, alive = _Found(plan["after"]), _Alive()
        there = io.segment_iterator(plan["after"] + 1) if (Path(path) / "data").is_dir() else iter(())
        for segment, file in there:
            if segment > plan["upto"]:
                break
            if time.monotonic() > until:
                return found
            found.lacks(found.reached + 1, segment - 1)
            _read(io, key, segment, Path(file), found, alive)
            found.reached = segment
        found.lacks(found.reached + 1, plan["upto"])
        found.reached = plan["upto"]
        return found


def _opened(path: str, repository_id: str, exported: str, encryption: str) -> Any:
    """Return the key without the repository: what lies in its configuration may have been changed."""
    blob = "\n".join(exported.split("\n")[1:]).strip().encode()
    source = SimpleNamespace(
        id=bytes.fromhex(repository_id), id_str=repository_id, load_key=lambda: blob,
        _location=SimpleNamespace(canonical_path=lambda: path),
    )  # fmt: skip
    kind = next(kind for kind in _key.AVAILABLE_KEY_TYPES if encryption == kind.ARG_NAME)
    key = kind(source)
    if not key.load(source, _key.Passphrase.env_passphrase()):
        raise _key.PassphraseWrong
    key.init_ciphers()
    return key


def _read(io: Any, key: Any, segment: int, file: Path, found: _Found, alive: _Alive) -> None:
    try:
        for tag, object_id, _, data in io.iter_objects(segment, include_data=True):
            alive()
            if tag == _repository.TAG_PUT:
                found.objects += 1
                _open(key, object_id, data, segment, found)
    except (OSError, _helpers.IntegrityError) as error:
        if file.exists() and file.stat().st_size:
            found.damaged.append(f"segment {segment}: {error}")
            found.damaged_segments.append(segment)
        else:  # compaction empties what it takes away, if it cannot remove it
            found.lacks(segment, segment)


def _open(key: Any, object_id: bytes, data: bytes, segment: int, found: _Found) -> None:
    try:
        key.decrypt(None if object_id == _MANIFEST else object_id, data)
    except _GARBAGE:
        if len(found.garbage) < _SHOWN or found.garbage[-1][1] != segment:  # of each segment at least one: whose it is
            found.garbage.append((object_id.hex(), segment))


if __name__ == "__main__":
    main(sys.argv[1:])
