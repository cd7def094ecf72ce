"""What servers did in their sessions on this node: the fence's reports, and whether a session still lives."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from shared.domain.text import clean
from shared.errors import Permanent, Transient

if TYPE_CHECKING:
    import uuid

Ask: TypeAlias = Callable[[Callable[[], bool]], Awaitable[bool]]
_POLL_SECONDS = 0.05
_LONGEST_SECONDS = 60.0
_SHOWN = 5
_LINES = 20_000
_WORDS = 200


@dataclass(frozen=True, slots=True)
class SessionReport:
    """What the fence refused and left out in the sessions of one lease."""

    epoch: int
    refused: tuple[str, ...] = ()
    """What was asked for and is not offered; no honest client does."""
    left_out: tuple[str, ...] = ()
    """Ids of objects that were sent and were there from before, each once."""
    left_out_bytes: int = 0
    unkept: int = 0
    """How many of what was left out is not at hand to look at: it was too much."""
    file: Path | None = None
    """Where it stands, for the script that reads the objects."""

    @property
    def summary(self) -> str:
        """Say what was refused, in a sentence's part."""
        shown = ", ".join(dict.fromkeys(self.refused[:_SHOWN]))
        return f"{len(self.refused)} refused: {shown}" + (" and more" if len(self.refused) > _SHOWN else "")


@dataclass(frozen=True, slots=True)
class Garbage:
    """Ids of objects whose content does not belong to them: of those in the repository, and of those that were sent."""

    lying: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()


def parse_garbage(stdout: str) -> Garbage:
    """Read what left_out.py prints; Permanent if it could not open what it was to look at."""
    try:
        found = json.loads(stdout)
        return Garbage(tuple(map(str, found["lying"])), tuple(map(str, found["sent"])))
    except (ValueError, LookupError, TypeError) as error:
        message = "what the server sent in the place of objects that were there cannot be examined"
        remedy = "see in the job's log what borg said; a check of the repository tells whether it can be read at all"
        raise Permanent(message, code="session_unexamined", remedy=remedy) from error


class Sessions:
    """The reports and locks of this node's repositories."""

    def __init__(self, state_dir: Path) -> None:
        """Take the node's state directory."""
        self._reports = state_dir / "sessions"
        self._locks = state_dir / "locks"
        for directory in (self._reports, self._locks):
            directory.mkdir(parents=True, exist_ok=True)

    async def over(self, repository_id: uuid.UUID, ask: Ask = asyncio.to_thread) -> None:
        """Wait until no process that had a grant which is no longer current works on a repository.

        Transient if one does not end: nothing may be begun beside it. `ask` runs what looks at the state directory.
        """
        deadline = time.monotonic() + _LONGEST_SECONDS
        for kind in ("session", "own"):
            while not await ask(partial(_free, self._locks / f"{repository_id.hex}.{kind}")):
                if time.monotonic() > deadline:
                    message = f"a process of an earlier run still works on the repository {repository_id}"
                    remedy = "it is tried again; if it stays so, look for that borg on the backup node and end it"
                    raise Transient(message, code="session_not_ended", remedy=remedy)
                await asyncio.sleep(_POLL_SECONDS)

    def reports(self, repository_id: uuid.UUID) -> list[SessionReport]:
        """Read what was refused or left out since it was last forgotten, oldest lease first."""
        return sorted(
            (_read(file) for file in self._reports.glob(f"{repository_id.hex}.*.report")),
            key=lambda report: report.epoch,
        )

    def forget(self, report: SessionReport) -> None:
        """Remove a report, once what it says is on record."""
        if report.file is not None:
            for file in (report.file.with_suffix(".objects"), report.file):
                file.unlink(missing_ok=True)

    def forget_all(self, repository_id: uuid.UUID) -> None:
        """Remove every trace of a repository that is no more, as of a view."""
        for directory in (self._reports, self._locks):
            for file in directory.glob(f"{repository_id.hex}.*"):
                file.unlink(missing_ok=True)


def _free(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _read(file: Path) -> SessionReport:
    refused: list[str] = []
    left_out: dict[str, None] = {}
    size = unkept = 0
    for raw in file.read_bytes().splitlines()[:_LINES]:
        line = _parsed(raw)
        if "refused" in line:
            refused.append(clean(str(line["refused"]), _WORDS))
        elif "left_out" in line:
            left_out[str(line["left_out"])] = None
            size += int(line.get("bytes", 0))
            unkept += not line.get("kept", False)
    epoch = file.name.split(".")[-2]
    return SessionReport(int(epoch), tuple(refused), tuple(left_out), size, unkept, file)


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        line = json.loads(raw)
    except ValueError:  # the last line of a machine that lost its power
        return {"refused": "unreadable report"}
    return line if isinstance(line, dict) else {"refused": "unreadable report"}  # pyright: ignore[reportUnknownVariableType] - any JSON
