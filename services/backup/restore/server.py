"""The server's side of a restore: a staging directory of root's, tar into it, hashes of what arrived, one rename."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from shared.domain.messages.backups import PLACED_UNREADABLE, PLACING_FULL
from shared.domain.text import clean
from shared.errors import Permanent, Transient

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncGenerator, Sequence

    from services.backup.restore.plan import RestorePlan
    from shared.ssh.port import Completed, Connection, Credentials, Feed, Ssh, Target

_SCRIPT = files("services.backup.restore").joinpath("server.sh").read_text()
_PLACER = files("services.backup.restore").joinpath("placer.py").read_text()
_EXISTING = files("services.backup.restore").joinpath("existing.py").read_text()
_ANSWER = TypeAdapter(dict[str, Any])
_REFUSED = 3
_HOUR = 3600.0
_HASHES_AT_ONCE = 5000
_NAMES_AT_ONCE = 20_000
_MOST_SHOWN = 1000
_MOST_SAID = 10_000
"""Lines of an answer that are read: of a server that sends millions, the rest would hold the event loop."""
_REMEDIES = {
    "target_refused": "restore to another path, or look at the rights and the file system there",
    "target_exists": "restore to a path that does not exist yet",
    "target_full": "make room, or restore to another file system",
    "parent_symlink": "give the path that it leads to, if that is where it should go",
    "staging_exists": "look at that directory, and remove it if nobody needs it",
    "staging_gone": "find out who removed it; then restore again",
    "merge_needs_python": "install python3 there, or rename both names of each item by hand",
    "hostile_archive": "take the server or the person who made this archive for hostile",
}
_REASONS = {
    "read-only": "its directory cannot be written to", "link": "it is a symbolic link", "file": "it is a file",
    "mount": "it is a mount point", "full": "it is there and not empty",
}  # fmt: skip
_FULL = "No space left on device"
_QUOTA = "Disk quota exceeded"


@dataclass(frozen=True, slots=True)
class Probed:
    """What a server says of the place before anything is written."""

    root: bool
    tar: str
    """`gnu`: it keeps all metadata; `other`; `none`."""
    python: bool
    """There is one that `placer.py` runs with."""
    free_bytes: int
    free_inodes: int | None
    place: str
    """What is wrong with the place; empty where it is free."""
    placed: dict[str, Any] = field(default_factory=dict[str, Any])
    """What an earlier attempt of this job has placed."""


@dataclass(frozen=True, slots=True)
class Swapped:
    """What a restore with mode `swap` renamed in one directory of a server."""

    job_id: uuid.UUID
    target: Target
    credentials: Credentials
    parent: str
    stamp: str
    """Of the restore: part of the names that it made."""
    items: list[tuple[bytes, str, str | None]]
    """Path below the directory, what was placed, what was there (None: nothing), as `placer.py` noted them."""


class RestoreServers:
    """Connects to servers that something is restored to."""

    def __init__(self, ssh: Ssh, silence: float) -> None:
        """Take SSH, and how long a server may take nothing."""
        self._ssh = ssh
        self._silence = silence

    @contextlib.asynccontextmanager
    async def connect(self, plan: RestorePlan) -> AsyncGenerator[RestoreServer]:
        """Connect once for the whole restore."""
        async with self._ssh.connect(plan.target, plan.credentials) as connection:
            yield RestoreServer(connection, plan, self._silence)

    async def undo(self, swapped: Swapped) -> dict[str, Any]:
        """Rename everything back: `wrong`, in which case nothing was renamed, and `refused`, each path with why."""
        items = [(base64.b64encode(path).decode(), new, old) for path, new, old in swapped.items]
        plan = json.dumps({"stamp": swapped.stamp, "items": items})
        arguments = ["undo", swapped.job_id.hex, swapped.parent, "-", _PLACER]
        async with self._ssh.connect(swapped.target, swapped.credentials) as connection:
            done = await connection.run(_SCRIPT, *arguments, stdin=plan, seconds=_HOUR)
        _refuse(done, "undo", swapped.target.name, swapped.parent)
        return json.loads(done.stdout)


class RestoreServer:
    """One restore's place on a server."""

    def __init__(self, connection: Connection, plan: RestorePlan, silence: float) -> None:
        """Take the connection."""
        self._connection = connection
        self._plan = plan
        self._silence = silence

    async def probe(self) -> Probed:
        """Look at the place; writes nothing."""
        heard: dict[str, list[str]] = {}
        for line in (await self._run("probe")).stdout.split("\n", _MOST_SAID)[:_MOST_SAID]:
            key, _, value = line.partition(" ")
            heard.setdefault(key, []).append(value)
        said = {key: " ".join(values) for key, values in heard.items()}
        inodes = said.get("inodes", "-")
        return Probed(
            root=said.get("user") == "0",
            tar=said.get("tar", "none"),
            python=said.get("python") == "1",
            free_bytes=int(said.get("bytes", "0")),
            free_inodes=int(inodes) if inodes.isdigit() else None,
            place=_wrong(said, ("read-only",) if self._plan.asked.in_place else tuple(_REASONS)),
            placed=self._placed(said["placed"]) if "placed" in said else {},
        )

    async def stage(self) -> None:
        """Make the staging directory, anew where an earlier attempt left one."""
        await self._run("stage", seconds=_HOUR)

    async def unpack(self, feed: Feed, *, gnu: bool) -> Completed:
        """Let the server's tar take what `feed` writes."""
        options = ["--numeric-owner"] if self._plan.asked.owner == "numeric" and gnu else []
        options += (["--no-same-owner"] if gnu else ["-o"]) if self._plan.asked.owner == "root" else []
        arguments = [*self._arguments("unpack"), "gnu" if gnu else "other", *options]
        done = await self._connection.run_fed(_SCRIPT, *arguments, feed=feed, silence=self._silence)
        _refuse(done, "tar", self._plan.target.name, self._plan.parent)
        return done

    async def measure(self) -> dict[str, int]:
        """Count what stands in the staging directory: `names` that are no directories, `files` and their `bytes`."""
        done = await self._run("measure", seconds=_HOUR)
        return {key: int(value) for key, _, value in (line.partition(" ") for line in done.stdout.splitlines())}

    async def hashes(self, paths: Sequence[bytes]) -> dict[bytes, bytes]:
        """Hash files in the staging directory; one that is none is left out."""
        found: dict[bytes, bytes] = {}
        for begin in range(0, len(paths), _HASHES_AT_ONCE):
            part = paths[begin : begin + _HASHES_AT_ONCE]
            text = "".join(f"{printable(path)}\n" for path in part)
            answer = (await self._run("hashes", stdin=text, seconds=_HOUR)).stdout.split()
            if len(answer) != len(part):
                answer = (await self._run("hash", stdin=text, seconds=_HOUR)).stdout.split()
            found |= {path: bytes.fromhex(one) for path, one in zip(part, answer, strict=False) if one != "-"}
        return found

    async def place(self, result: dict[str, Any]) -> None:
        """Rename what was restored to its place; `result` stays beside it until the job's end is recorded."""
        told = json.dumps(result)
        await self._run("place", printable(self._plan.top), str(len(told)), stdin=told)

    async def put(self, result: dict[str, Any]) -> dict[str, Any]:
        """Bring what was restored to where it was; an attempt that comes again goes on with what is left."""
        plan = _as_argument(self._plan.placing())
        told = json.dumps(result)
        done = await self._run("put", _PLACER, plan, str(len(told)), stdin=told, seconds=_HOUR)
        return json.loads(done.stdout)

    async def existing(self, rows: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
        """Look which of these, kind and path below the parent, are there: the first ones, their count and a digest."""
        plan = _as_argument(self._plan.placing())
        told: dict[str, Any] = {"count": 0, "first": []}
        digest = hashlib.sha256()
        for begin in range(0, len(rows), _NAMES_AT_ONCE):
            part = rows[begin : begin + _NAMES_AT_ONCE]
            text = "".join(f"{kind} {base64.b64encode(path).decode()}\n" for kind, path in part)
            answer = (await self._run("existing", _EXISTING, plan, stdin=text, seconds=_HOUR)).stdout
            if not answer.strip():
                continue
            found = json.loads(answer)
            told["count"] += found["count"]
            told["first"] += found["first"][: _MOST_SHOWN - len(told["first"])]
            digest.update(found["digest"].encode() if found["count"] else b"")
        return told | {"digest": digest.hexdigest()}

    async def clean(self, *, unknown: bool = False) -> None:
        """Remove the staging directory; not where something was placed that the job does not know of (`unknown`)."""
        await self._run("clean", *(["unknown"] if unknown else []), seconds=_HOUR)

    def _placed(self, told: str) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            return _ANSWER.validate_json(told)
        staging = f"{self._plan.parent}/.borgfleet-restore-{self._plan.job_id.hex}"
        raise Permanent(PLACED_UNREADABLE(server=self._plan.target.name, path=staging))

    def _arguments(self, verb: str) -> list[str]:
        return [verb, self._plan.job_id.hex, self._plan.parent, self._plan.name]

    async def _run(self, verb: str, *more: str, stdin: str = "", seconds: float = 120.0) -> Completed:
        arguments = [*self._arguments(verb), *more]
        done = await self._connection.run(_SCRIPT, *arguments, stdin=stdin, seconds=seconds)
        _refuse(done, verb, self._plan.target.name, self._plan.parent)
        return done


def _refuse(done: Completed, what: str, name: str, parent: str) -> None:
    """Raise what a server's script refused, or why it failed."""
    if done.ok:
        return
    said = clean(done.stderr, 500).strip()
    code, colon, text = said.rpartition("\n")[2].partition(": ")
    if done.exit_status == _REFUSED and colon and code in _REMEDIES:
        raise Permanent(f"{name}: {text}", code=code, remedy=_REMEDIES[code])
    if (_FULL in said or _QUOTA in said) and what == "put":
        raise Permanent(PLACING_FULL(server=name, path=parent))
    if (_FULL in said or _QUOTA in said) and what != "undo":
        message = f"{name}: the file system of {parent} is full; nothing was placed"
        raise Permanent(message, code="target_full", remedy=_REMEDIES["target_full"])
    message = f"{name}: {what} ended with {done.exit_status}: {said or 'it said nothing'}"
    remedy = "it is tried again; look at the server's log if it stays"
    raise Transient(message, code="restore_command_failed", remedy=remedy)


def _wrong(said: dict[str, str], reasons: Sequence[str]) -> str:
    """Return why the place cannot be taken: in words, empty where it can."""
    place = said.get("place", "").split()
    return next((_REASONS[key] for key in reasons if key in place), "")


def _as_argument(plan: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(plan).encode()).decode()


def printable(path: bytes) -> str:
    """Return a path as the shell's printf understands it."""
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-"
    return "".join(chr(one) if one in plain else f"\\0{one:03o}" for one in path)
