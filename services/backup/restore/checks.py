"""What a restore is held against: the place, what the archive holds, what passed, and what arrived."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.backup.restore.tar import shown
from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.backup.restore.plan import RestorePlan
    from services.backup.restore.server import Probed
    from services.backup.restore.tar import Passed, TarReader

_MARGIN = 1.05
_SPARE_BYTES = 64 * 1024 * 1024
_SPARE_INODES = 10
_BLOCK = 4096
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Expected:
    """What was chosen, as the archive itself has it."""

    files: int
    size: int
    links: int
    directories: int
    others: int
    attributes: int
    lists: int
    flags: int
    damaged: list[str]
    missing: list[str]
    found: frozenset[str]
    """The items that are there."""
    sample: frozenset[bytes]

    @classmethod
    def of(cls, plan: RestorePlan, counted: Mapping[str, Any]) -> Expected:
        """Read the answer of `export_archive.py`; Permanent where nothing of what was chosen is there."""
        missing = sorted({*plan.asked.items} - {*counted["found"]})
        if plan.asked.items and len(missing) == len({*plan.asked.items}):
            message = f"nothing of what was chosen is in this backup: {_paths(missing)[0]} for one"
            remedy = "see the names that the backup holds: borgfleet backup ls"
            raise Permanent(message, code="path_not_in_archive", remedy=remedy)
        figures = ("files", "size", "links", "directories", "others", "attributes", "lists", "flags")
        return cls(
            *(int(counted[name]) for name in figures),
            damaged=_paths(counted["damaged"]),
            missing=_paths(missing),
            found=frozenset(counted["found"]),
            sample=frozenset(map(base64.b64decode, counted["sample"])),
        )

    def fits(self, plan: RestorePlan, probed: Probed) -> None:
        """Refuse what the target has no room for, before a byte of it is written."""
        entries = self.files + self.directories + self.others
        needed = int((self.size + _BLOCK * (self.directories + self.files // 2)) * _MARGIN) + _SPARE_BYTES
        if needed > probed.free_bytes:
            message = (
                f"{plan.target.name} has {probed.free_bytes / _GIB:.2f} GiB free at {plan.parent}, "
                f"and {needed / _GIB:.2f} GiB are needed"
            )
        elif probed.free_inodes is not None and entries + _SPARE_INODES > probed.free_inodes:
            message = f"{plan.target.name} has {probed.free_inodes} inodes free there, and {entries} are needed"
        else:
            return
        raise Permanent(message, code="target_full", remedy="make room, or restore to another file system")

    def lost(self, *, full: bool) -> list[str]:
        """Return which metadata the chosen way does not carry, of what is there."""
        basic = () if full else (
            ("extended attributes and capabilities", self.attributes), ("access control lists", self.lists),
            ("fractions of seconds", self.files + self.directories),
        )  # fmt: skip
        return [f"{what} of {count} entries" for what, count in (*basic, ("flags", self.flags)) if count]


def judge_route(plan: RestorePlan, probed: Probed) -> bool:
    """Return whether all metadata will be kept; Permanent where it cannot be and was asked for."""
    name = plan.target.name
    if not probed.root:
        message = f"on {name} the restore would not be root's"
        raise Permanent(message, code="no_privilege", remedy="let the fleet's user be root, or give it sudo -n")
    if probed.tar == "none":
        message = f"there is no tar on {name}"
        raise Permanent(message, code="tar_missing", remedy="install tar there")
    if plan.asked.metadata == "basic":
        return False
    if probed.tar != "gnu":
        message = f"the tar of {name} keeps no extended attributes, access control lists and fractions of seconds"
        remedy = "install GNU tar there, or restore with metadata `basic`"
        raise Permanent(message, code="metadata_would_be_lost", remedy=remedy)
    return True


def judge_placing(plan: RestorePlan, probed: Probed) -> None:
    """Refuse what is to go to where it was, where nothing can place it safely."""
    if plan.asked.in_place and not probed.python:
        message = f"mode `{plan.asked.mode}` needs Python 3.7 or newer on {plan.target.name}"
        remedy = "install python3 there, or restore to a new directory"
        raise Permanent(message, code="merge_needs_python", remedy=remedy)


def judge_place(plan: RestorePlan, probed: Probed) -> None:
    """Refuse a place that is taken or cannot be."""
    if not probed.place:
        return
    code = "target_exists" if "not empty" in probed.place or "file" in probed.place else "target_refused"
    message = f"{plan.path} on {plan.target.name} cannot be restored to: {probed.place}"
    raise Permanent(message, code=code, remedy="restore to a path that does not exist yet, or to an empty directory")


def judge_stream(expected: Expected, reader: TarReader) -> None:
    """Hold what passed against what the archive holds."""
    passed = reader.passed
    names = ("files", "size", "links", "directories", "others")
    wrong = [
        f"{getattr(passed, name)} {name} instead of {getattr(expected, name)}"
        for name in names
        if getattr(passed, name) != getattr(expected, name)
    ]
    if wrong:
        message = f"what borg wrote is not what the backup holds: {', '.join(wrong)}; nothing was placed"
        raise Permanent(message, code="restore_partial", remedy="restore again; if it stays, check the repository")


def judge_tree(passed: Passed, measured: Mapping[str, int]) -> None:
    """Hold what stands on the server against what passed."""
    wanted = {"names": passed.names, "files": passed.files, "bytes": passed.size}
    wrong = [
        f"{measured.get(name, 0)} {name} instead of {count}"
        for name, count in wanted.items()
        if measured.get(name, 0) != count
    ]
    if wrong:
        message = f"what stands on the server is not what was sent: {', '.join(wrong)}; nothing was placed"
        remedy = "see whether somebody works in that directory, or its file system joins names, as vfat does"
        raise Permanent(message, code="restore_partial", remedy=remedy)


def _paths(encoded: list[str]) -> list[str]:
    return [shown(base64.b64decode(one)) for one in encoded]
