"""What the storage endpoint refused: serve.sh writes a line each time, this node reads them and forgets them."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.domain.text import clean

if TYPE_CHECKING:
    from pathlib import Path

_PREFIX, _TAKEN = "refused.", ".taken"
_BYTES = 64 * 1024
_WORDS = 200


@dataclass(frozen=True, slots=True)
class Refused:
    """What the key of one server was refused: how often which repository, how often what was no repository at all."""

    server_id: uuid.UUID
    file: Path
    repositories: Counter[uuid.UUID] = field(default_factory=Counter[uuid.UUID])
    commands: int = 0
    last_command: str = ""


def take_refused(directory: Path) -> list[Refused]:
    """Return what was refused since it was last forgotten, of each server.

    Each file is moved aside first: what is refused from then on stands in a new one, and none is told twice or lost.
    """
    for file in directory.glob(f"{_PREFIX}*"):
        taken = file.with_name(f"{file.name}{_TAKEN}")
        if file.suffix != _TAKEN and not taken.exists():
            file.rename(taken)
    found: list[Refused] = []
    for file in sorted(directory.glob(f"{_PREFIX}*{_TAKEN}")):
        with contextlib.suppress(ValueError):  # not the name of a server: serve.sh never wrote it
            found.append(_read(file, uuid.UUID(file.name.removeprefix(_PREFIX).removesuffix(_TAKEN))))
    return found


def forget_refused(refused: Refused) -> None:
    """Remove what is on record."""
    refused.file.unlink(missing_ok=True)


def _read(file: Path, server_id: uuid.UUID) -> Refused:
    repositories: Counter[uuid.UUID] = Counter()
    commands, last = 0, ""
    with file.open("rb") as stream:
        lines = stream.read(_BYTES + os.sysconf("SC_PAGE_SIZE")).splitlines()
    for raw in lines:
        what, _, said = raw.partition(b" ")
        try:
            repositories[_repository(what, said)] += 1
        except ValueError:
            commands, last = commands + 1, clean(said.decode(errors="replace"), _WORDS)
    return Refused(server_id, file, repositories, commands, last)


def _repository(what: bytes, said: bytes) -> uuid.UUID:
    """Return which repository was asked for; ValueError where it was none."""
    if what != b"repository":
        raise ValueError(what)
    return uuid.UUID(said.decode("ascii").strip())
