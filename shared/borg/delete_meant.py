"""Deletes one archive by borg's own command, once the archive of that name is the one that was meant.

A script, run by the Python that runs the node's borg: `delete_meant.py ID delete ... PATH::NAME`; what follows the id
is borg's. borg deletes by a name, and where a name leads can be changed by who has the passphrase: the id is compared
under the lock that the deletion holds.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# borg has no types.
_archiver: Any = importlib.import_module("borg.archiver")
_helpers: Any = importlib.import_module("borg.helpers")
_Archive: Any = _archiver.Archive


class NotMeant(_helpers.Error):
    """The archive {} is not the one that was to be deleted: {}."""

    exit_mcode = 77


def main(argv: Sequence[str]) -> None:
    """Let borg's main delete, with an archive that looks first."""
    meant, *arguments = argv

    class Meant(_Archive):
        def __init__(self, repository: Any, key: Any, manifest: Any, name: str, **more: Any) -> None:
            entries = manifest.archives.get_raw_dict()
            found = manifest.archives[name].id.hex()
            if found != meant:
                raise NotMeant(name, f"it has the id {found[:12]}, not {meant[:12]}")
            if sum(entry[b"id"].hex() == meant for entry in entries.values()) > 1:
                raise NotMeant(name, "it has another name too, under which it would be gone as well")
            super().__init__(repository, key, manifest, name, **more)  # pyright: ignore[reportUnknownMemberType] - borg has no types
            self.name = name  # what borg takes off the list is the name that the archive gives itself

    _archiver.Archive = Meant
    sys.argv = ["borg", *arguments]
    _archiver.main()


if __name__ == "__main__":
    main(sys.argv[1:])
