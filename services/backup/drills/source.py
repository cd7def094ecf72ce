"""Compares what was read from backups with the server's own files, where these have not changed since."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING

from services.backup.restore.server import printable
from shared.errors import AppError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.backup.drills.plan import DrillPlan
    from services.backup.drills.read import ArchiveTested
    from shared.domain.sampling import Candidate
    from shared.runtime.context import Context
    from shared.ssh.port import Connection, Ssh

_SCRIPT = files("services.backup.drills").joinpath("source.sh").read_text()
_SECOND = 1_000_000
_ROUNDED = 2
_AT_ONCE = 200
_HOUR = 3600.0
_FIELDS = 3


@dataclass
class SourceCompared:
    """What came of it."""

    differing: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    """Archive and path: same size, same time, other content. Nobody knows which of both is right."""
    problem: str = ""
    """Why nothing, or not all, was compared."""


async def compare_source(plan: DrillPlan, ctx: Context, ssh: Ssh, tested: Iterable[ArchiveTested]) -> SourceCompared:
    """Compare; a server that cannot be asked changes nothing of what was proven."""
    done = SourceCompared()
    waiting = [(one, path, *found) for one in tested for path, found in one.hashes.items() if (found[0].mtime or 0) > 0]
    if plan.target is None or not waiting:
        done.problem = "the server is not set up" if plan.asked.compare_source and plan.target is None else ""
        return done
    ctx.progress("comparing with the server")
    try:
        async with ssh.connect(plan.target, plan.credentials) as connection:
            for begin in range(0, len(waiting), _AT_ONCE):
                part = waiting[begin : begin + _AT_ONCE]
                answers = await _asked(connection, [(path, one) for _, path, one, _ in part])
                for (archive, path, one, sha256), answer in zip(part, answers, strict=False):
                    _judge(done, archive, path, one, sha256, answer)
    except AppError as error:
        done.problem = error.message
        ctx.log("warning", "kernel", f"not compared with the server: {error.message}", code=error.code)
    return done


async def _asked(connection: Connection, wanted: Sequence[tuple[bytes, Candidate]]) -> list[str]:
    text = "".join(f"{one.size} {(one.mtime or 0) // _SECOND} {printable(path)}\n" for path, one in wanted)
    return (await connection.run(_SCRIPT, stdin=text, seconds=_HOUR)).stdout.splitlines()


def _judge(
    done: SourceCompared, archive: ArchiveTested, path: bytes, one: Candidate, sha256: bytes, answer: str
) -> None:
    said = answer.split()
    if len(said) != _FIELDS:
        return
    seconds, dot, rest = said[1].partition(".")
    if not dot or not (seconds + rest).isdigit() or said[0] != str(one.size):
        return  # its stat tells no fractions, as busybox's: whether it was changed since is not known
    changed = int(seconds) * _SECOND + int(rest[:6].ljust(6, "0"))
    if abs(changed - (one.mtime or 0)) > _ROUNDED:
        return
    archive.tested.source_compared += 1
    if said[2] != sha256.hex():
        archive.tested.source_differing += 1
        done.differing.append((archive.archive.name, path))
