"""Lists an archive by borg's own command, whatever its name is: the archive is known by its id.

A script, run by the Python that runs the node's borg: `list_meant.py ID list ... PATH::NAME`; what follows the id is
borg's, and its name stands for nothing. What plain borg made may have a name that no command line and no database
holds as it is.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# Python looks for no module beside a script that it runs isolated.
sys.path.append(str(Path(__file__).resolve().parent))
# borg has no types; sealed.py lies beside this script.
_sealed: Any = importlib.import_module("sealed")
_archiver: Any = importlib.import_module("borg.archiver")
_Archive: Any = _archiver.Archive


def main(argv: Sequence[str]) -> None:
    """Let borg's main list."""
    meant, *arguments = argv

    class Meant(_Archive):
        def __init__(self, repository: Any, key: Any, manifest: Any, name: str, **more: Any) -> None:
            name = _sealed.named(manifest, meant) or name
            super().__init__(repository, key, manifest, name, **more)  # pyright: ignore[reportUnknownMemberType] - borg has no types

    # Python that runs isolated heeds no variable of its own; borg's main takes what it finds here.
    stdout: Any = sys.stdout
    stdout.reconfigure(encoding=os.environ.get("PYTHONIOENCODING", "utf-8"))
    _archiver.Archive = Meant
    sys.argv = ["borg", *arguments]
    _archiver.main()


if __name__ == "__main__":
    main(sys.argv[1:])
