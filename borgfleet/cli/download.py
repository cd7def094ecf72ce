"""`borgfleet backup download`: files of a backup come to this machine, whole or not at all."""

from __future__ import annotations

import base64
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from borgfleet.cli.failing import fail

if TYPE_CHECKING:
    from collections.abc import Generator

    from borgfleet.cli.client import Client

STANDARD_OUTPUT = "-"
_HIDDEN_END = ".part"


def bring(client: Client, backup_id: str, paths: list[str], form: str, output: str | None) -> tuple[str, int]:
    """Download into a file, which appears only when it is whole; return its name and its bytes."""
    items = [{"path_b64": base64.b64encode(os.fsencode(path)).decode()} for path in paths]
    body = {"items": items, "format": form}
    if output not in (None, STANDARD_OUTPUT) and os.path.lexists(output or ""):
        fail(f"{output} exists already", "give another name with --output")
    made = client.post(f"/api/backups/{backup_id}/downloads", body)
    name = output or os.path.basename(str(made["name"])) or "download"  # noqa: PTH119 - what a server says of a name
    with target(name) as (file, size):
        for block in client.download(str(made["url"])):
            file.write(block)
            size.append(len(block))
    return name, sum(size)


@contextlib.contextmanager
def target(name: str) -> Generator[tuple[BinaryIO, list[int]]]:
    """Open what is written to; a file has another name until it is whole."""
    if name == STANDARD_OUTPUT:
        yield sys.stdout.buffer, []
        sys.stdout.buffer.flush()
        return
    final = Path(name)
    part = final.with_name(final.name + _HIDDEN_END)
    try:
        if os.path.lexists(final):
            fail(f"{name} exists already", "give another name with --output")
        with part.open("xb") as file:
            try:
                yield file, []
                file.flush()
                os.fsync(file.fileno())
                _place(part, final)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        fail(f"{error.filename or name} cannot be written: {error.strerror}", "make room, or give another --output")


def _place(part: Path, final: Path) -> None:
    """Give a whole file its name: never over what came there meanwhile, where the file system can tell."""
    try:
        os.link(part, final)
    except FileExistsError:
        raise
    except OSError:  # a stick's file system has no links
        part.rename(final)
