"""The way back after everything was lost: database and master key are made anew of a kit and a backup of Borgfleet.

Nothing starts without the master key file, so that is named last, in one step: until then a run that was cut short is
simply begun again, and after it nothing is touched any more.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from borgfleet.kit_files import write_whole
from borgfleet.master_key import link_to, open_database
from borgfleet.recovered_rows import mark_recovered
from shared.borg.beside import PlainBorg, mirror
from shared.borg.vault import repository_id
from shared.db.migrations import migrate
from shared.db.revisions import require_known
from shared.domain.messages.recovery_kit import (
    RECOVER_KIT_OTHER,
    RECOVER_NO_ARCHIVE,
    RECOVER_NO_REPOSITORY,
    RECOVER_NOT_EMPTY,
    RECOVER_NOT_OURS,
    RECOVER_OTHER_DATABASE,
)
from shared.errors import Conflict, Invalid, NotFound
from shared.kit.dump import FILES, MARIADB, kind_of, load
from shared.kit.readme import config_template
from shared.runtime.crashpoint import crashpoint
from shared.secrets.envelope import KeyRing, key_ring_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.config.settings import Settings
    from shared.kit.contents import Kit, KitRepository

_BEGUN = ".recovering"
_SCRATCH = ".recover-"
_ABOUT = "about.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ComeBack:
    """What was made anew."""

    archive: str
    made_at: str
    """When the backup was made; ISO 8601, UTC."""
    jobs: int
    """That were queued or running then, and are ended as lost."""
    repositories: int
    """That are frozen until they were compared."""


async def recover(
    settings: Settings, kit: Kit, repository: Path, archive: str, borg: str, say: Callable[[str], None]
) -> ComeBack:
    """Make database, master key and host keys anew; Conflict where there is an installation already.

    `archive`: the name of a backup; empty is the newest. It may be begun again after it was cut short at any moment.
    """
    begun = settings.master_key_path.with_name(settings.master_key_path.name + _BEGUN)
    await _require_room(settings, begun)
    one = _entry(kit, repository)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in settings.data_dir.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=settings.data_dir) as scratch:
        held, name = await asyncio.to_thread(_extracted, one, repository, archive, borg, Path(scratch))
        about = _about(held, settings)
        say(f"read {name}, made {about['made_at']}")
        write_whole(begun, kit.master_key.encode(), overwrite=True)
        crashpoint("recover_begun")
        where = await _loaded(settings, held, Path(scratch))
        ring = key_ring_of(kit.master_key.encode(), begun)
        say("the database is loaded; it is brought to this version's schema")
        await asyncio.to_thread(migrate, where.database_url(), link_to(where.database))
        db = open_database(where, ring)
        try:
            await db.run(lambda tx: tx.secrets.prove())
            jobs, repositories = await db.run(lambda tx: mark_recovered(tx, str(about["made_at"])))
        finally:
            await db.close()
        crashpoint("recover_loaded")
        _put_in_place(settings, where, held)
    crashpoint("recover_placed")
    settings.master_key_path.parent.mkdir(parents=True, exist_ok=True)
    begun.rename(settings.master_key_path)
    return ComeBack(name, str(about["made_at"]), jobs, repositories)


async def _require_room(settings: Settings, begun: Path) -> None:
    """Refuse where something is that this would replace, unless an earlier try of this very thing left it."""
    if settings.master_key_path.exists():
        raise Conflict(RECOVER_NOT_EMPTY(what=settings.master_key_path))
    if begun.exists():
        return
    if kind_of(settings.database_url()) != MARIADB:
        file = settings.data_dir / FILES[kind_of(settings.database_url())]
        if file.exists():
            raise Conflict(RECOVER_NOT_EMPTY(what=file))
    elif tables := await _tables(settings):
        raise Conflict(RECOVER_NOT_EMPTY(what=f"the database, with {len(tables)} tables,"))


async def _tables(settings: Settings) -> list[str]:
    db = open_database(settings, KeyRing([]))
    try:
        async with db.read() as session:
            query = text("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()")
            return [str(name) for name in await session.scalars(query)]
    finally:
        await db.close()


def _entry(kit: Kit, repository: Path) -> KitRepository:
    """Return the kit's entry for what is at a path, also where that has another path now."""
    if not (repository / "data").is_dir():
        raise NotFound(RECOVER_NO_REPOSITORY(path=repository))
    there = repository_id(str(repository))
    found = [one for one in kit.own if there in (one.borg_id, None)]
    exact = [one for one in found if one.path == str(repository)]
    if not found:
        raise Invalid(RECOVER_KIT_OTHER(path=repository) if kit.own else RECOVER_NOT_OURS())
    return (exact or found)[0]


def _extracted(one: KitRepository, repository: Path, wanted: str, borg: str, scratch: Path) -> tuple[Path, str]:
    """Extract a backup, read beside the repository by the kit alone; return where its files are, and its name."""
    view, key, target = scratch / "view", scratch / "key", scratch / "files"
    mirror(repository, view, config_template(one.borg_id))
    target.mkdir()
    tool = PlainBorg(borg, scratch / "borg", one.passphrase)
    if one.key:
        descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(one.key)
        tool.import_key(view, key)
    archives = tool.archives(view)
    if not archives or (wanted and wanted not in archives):
        raise NotFound(RECOVER_NO_ARCHIVE(archive=wanted or None, archives=archives[-10:]))
    name = wanted or archives[-1]
    tool.extract(view, name, target)
    abouts = [file for file in target.rglob(_ABOUT) if file.is_file() and not file.is_symlink()]
    if len(abouts) != 1:
        raise Invalid(RECOVER_NOT_OURS())
    return abouts[0].parent, name


def _about(held: Path, settings: Settings) -> dict[str, Any]:
    """Read what a backup says of itself; refuse one that this installation or this version cannot take."""
    about: dict[str, Any] = json.loads((held / _ABOUT).read_text())
    kind = kind_of(settings.database_url())
    if about["format"] != _FORMAT or not (held / FILES.get(str(about["database"]), "-")).is_file():
        raise Invalid(RECOVER_NOT_OURS())
    if about["database"] != kind:
        raise Invalid(RECOVER_OTHER_DATABASE(made=about["database"], here=kind))
    require_known(map(str, about["revisions"]))
    return about


async def _loaded(settings: Settings, held: Path, scratch: Path) -> Settings:
    """Load the dump; return the settings of where it is now: SQLite's is named at the end."""
    if kind_of(settings.database_url()) != MARIADB:
        return settings.model_copy(update={"data_dir": held})
    if tables := await _tables(settings):  # of an earlier try
        drops = "".join(f"DROP TABLE IF EXISTS `{name}`;\n" for name in tables)
        (scratch / "drop.sql").write_text(f"SET FOREIGN_KEY_CHECKS = 0;\n{drops}")
        await load(settings.database_url(), link_to(settings.database), scratch / "drop.sql")
    await load(settings.database_url(), link_to(settings.database), held / FILES[MARIADB])
    return settings


def _put_in_place(settings: Settings, where: Settings, held: Path) -> None:
    """Name the database, and put back what servers know this machine by; nothing that is there is replaced."""
    sshd = settings.data_dir / "sshd"
    for source in held.glob("ssh_host_*"):
        sshd.mkdir(mode=0o700, exist_ok=True)
        _copied(source, sshd / source.name)
    if (held / "host-id").is_file():
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        _copied(held / "host-id", settings.state_dir / "host-id")
    if (held / "settings.json").is_file():
        shutil.copy(held / "settings.json", settings.data_dir / "settings.recovered.json")
    if where is not settings:
        file = where.data_dir / FILES[kind_of(where.database_url())]
        for end in ("-wal", "-shm"):
            (settings.data_dir / (file.name + end)).unlink(missing_ok=True)
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
        file.replace(settings.data_dir / file.name)


def _copied(source: Path, target: Path) -> None:
    if not target.exists():
        shutil.copy2(source, target)
