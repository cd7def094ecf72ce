"""A server's borg that stands still in the middle of a source for as long as a test wants: what the test does then hits it there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILES = 6
"""So many of a source's files are read before."""
_PAUSE = f"""
import os, sys, time
if "create" in sys.orig_argv:
    from borg.archive import FilesystemObjectProcessors as Processors
    from borg.helpers import sig_int
    process_file, read = Processors.process_file, []

    def paused(self, *, path, **more):
        held = os.path.dirname(path) + ".held"
        if os.path.exists(held):
            if len(read) == {FILES}:
                if self.show_progress:
                    self.stats.show_progress()
                while os.path.exists(held) and not sig_int:  # that is how it hears of the first Ctrl-C
                    time.sleep(0.05)
            read.append(path)
        return process_file(self, path=path, **more)

    Processors.process_file = paused
"""


def can_be_held(directory: Path) -> dict[str, str]:
    """Return the environment of a server whose borg can be held, and put what it needs into a directory."""
    directory.mkdir(parents=True)
    (directory / "sitecustomize.py").write_text(_PAUSE)
    return {"PYTHONPATH": str(directory)}


@contextmanager
def held(source: Path) -> Iterator[None]:
    """Let no `create` read the whole of a source while the block lasts; it can be ended like any other."""
    mark = source.with_name(f"{source.name}.held")
    mark.touch()
    try:
        yield
    finally:
        mark.unlink()
