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
import sys
import time
from configparser import ConfigParser
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# Python looks for no module beside a script that it runs isolated.
sys.path.append(str(Path(__file__).resolve().parent))
# borg has no types; sealed.py lies beside this script.
_sealed: Any = importlib.import_module("sealed")
_helpers: Any = importlib.import_module("borg.helpers")
_repository: Any = importlib.import_module("borg.repository")

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

    def is_none(self, object_id: bytes, segment: int) -> None:
        """Note garbage: the first ones, and of each segment at least one, for it tells whose it is."""
        if len(self.garbage) < _SHOWN or self.garbage[-1][1] != segment:
            self.garbage.append((object_id.hex(), segment))

    def lacks(self, first: int, last: int) -> None:
        """Note a gap; of one that goes on, no second."""
        if self.missing and self.missing[-1][1] == first - 1:
            self.missing[-1] = (self.missing[-1][0], last)
        elif first <= last:
            self.missing.append((first, last))


def main(argv: Sequence[str]) -> None:
    """Print what was found."""
    path, file = argv
    os.nice(_NICE)
    importlib.import_module("borg.logger").setup_logging(level="error")
    plan = json.loads(Path(file).read_text())
    _sealed.told(lambda: vars(_verified(path, plan)))


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
        found = _Found(plan["after"])
        there = io.segment_iterator(plan["after"] + 1) if (Path(path) / "data").is_dir() else iter(())
        for segment, file in there:
            if segment > plan["upto"]:
                break
            if time.monotonic() > until:
                return found
            found.lacks(found.reached + 1, segment - 1)
            _read(io, key, segment, Path(file), found, until)
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
    return _sealed.opened(source, encryption)


def _read(io: Any, key: Any, segment: int, file: Path, found: _Found, until: float) -> None:
    try:
        for tag, object_id, _, data in io.iter_objects(segment, include_data=True):
            if tag != _repository.TAG_PUT:
                continue
            found.objects += 1
            if not _sealed.opens(key, None if object_id == _MANIFEST else object_id, data):
                found.is_none(object_id, segment)
                if time.monotonic() > until:  # each may take seconds, on purpose; what follows is not proven either way
                    return
    except (OSError, _helpers.IntegrityError) as error:
        if file.exists() and file.stat().st_size:
            found.damaged.append(f"segment {segment}: {error}")
            found.damaged_segments.append(segment)
        else:  # compaction empties what it takes away, if it cannot remove it
            found.lacks(segment, segment)


if __name__ == "__main__":
    main(sys.argv[1:])
