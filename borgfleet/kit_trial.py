"""Tries a recovery kit: each repository of this node is opened by what the kit has, beside the repository itself."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from borgfleet.master_key import open_database
from shared.borg.beside import PlainBorg, mirror
from shared.borg.vault import repository_id
from shared.errors import AppError
from shared.kit.gather import repositories
from shared.kit.readme import config_template
from shared.secrets.envelope import key_ring_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.config.settings import Settings
    from shared.db.unit_of_work import UnitOfWork
    from shared.kit.contents import Kit, KitRepository

_TRIES = 3
"""A backup or a compaction may change a repository while it is read."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one repository."""

    label: str
    opened: bool | None
    """None: it is not on this node."""
    text: str


class NotAsInKit(Exception):
    """A repository is not what the kit says, in a sentence for people."""


def try_kit(kit: Kit, node: str, borg: str) -> Iterator[Tried]:
    """Try every repository of a kit that is on this node, one after the other."""
    for one in kit.repositories:
        where = f"{one.label} ({one.path})"
        if one.node != node:
            yield Tried(where, None, f"on node {one.node}: try it there")
            continue
        try:
            yield Tried(where, opened=True, text=_tried(one, borg))
        except (AppError, NotAsInKit, OSError, ValueError) as error:
            yield Tried(where, opened=False, text=getattr(error, "message", None) or str(error))


async def what_it_lacks(kit: Kit, settings: Settings) -> list[str]:
    """Return what the database has and the kit has not, a line each; AppError if the kit's master key opens nothing."""
    db = open_database(settings, key_ring_of(kit.master_key.encode(), Path("master.key of the kit")))
    try:
        await db.run(lambda tx: tx.secrets.prove())
        held = {one.id: (one.passphrase, one.key) for one in kit.repositories}
        on_record = await db.run(_all)
    finally:
        await db.close()
    return [f"{one.label} ({one.path})" for one in on_record if held.get(one.id) != (one.passphrase, one.key)]


async def _all(tx: UnitOfWork) -> list[KitRepository]:
    return [one async for one in repositories(tx)]


def _tried(one: KitRepository, borg: str) -> str:
    path = Path(one.path)
    if not (path / "data").is_dir():
        raise NotAsInKit("it is not there: mount the pool's disk, or see where it went")
    there = repository_id(one.path)
    if there is not None and there != one.borg_id:
        raise NotAsInKit(f"another repository is there, {there[:16]}...: this kit is of another installation, or older")
    before = _content(path / "config")
    for attempt in range(_TRIES):
        try:
            found = _read(one, path, borg)
            break
        except (AppError, NotAsInKit, OSError):
            if attempt == _TRIES - 1:
                raise
    else:
        raise AssertionError
    if _content(path / "config") != before:
        return f"{found}; its config was changed meanwhile, not by this"
    return found


def _read(one: KitRepository, path: Path, borg: str) -> str:
    with tempfile.TemporaryDirectory(prefix="borgfleet-kit-") as scratch:
        view, key = Path(scratch) / "view", Path(scratch) / "key"
        mirror(path, view, config_template(one.borg_id))
        tool = PlainBorg(borg, Path(scratch) / "borg", one.passphrase)
        if one.key:
            key.write_text(one.key)
            tool.import_key(view, key)
        archives = tool.archives(view)
        if not archives:
            return "opened; it holds no archive"
        found = tool.a_file(view, archives[-1])
        if found is None:
            return f"opened; {len(archives)} archives, and no file in the newest to try"
        name, size = found
        got, digest = tool.digest_of(view, archives[-1], name)
        if got != size or digest != tool.recorded_digest(view, archives[-1], name):
            raise NotAsInKit(f"{name} of {archives[-1]} came as {got} bytes, not as the {size} that are on its list")
        return f"opened; {len(archives)} archives, {name} of the newest came back whole"


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
