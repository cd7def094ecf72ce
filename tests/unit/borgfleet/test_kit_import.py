"""`borgfleet recovery-kit --import`: what it printed is read again, and no passphrase is ever printed by it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from borgfleet.cli.app import app
from borgfleet.kit_import import KitEntry, read_kit
from borgfleet.master_key import first_database
from borgfleet.recovery import kit_as_text
from shared.config.settings import Settings
from shared.db.migrations import migrate
from shared.db.stores.secrets import repository_key, repository_passphrase
from shared.db.tables import Repository, Secret, Server, StoragePool
from shared.errors import Invalid
from tests.unit.shared.secrets.test_borg_key import KEYS, PASSPHRASE

ENTRIES: list[dict[str, str]] = [
    {"id": "1", "server": "web1", "repository": "system", "node": "node1", "path": "/pool/web1/system",
     "passphrase": PASSPHRASE, "key": KEYS["repokey"]},
    {"id": "2", "server": "web2", "repository": "a.b-c", "node": "node1", "path": "/pool with space/web2/a.b-c",
     "passphrase": "second one", "key": ""},
    {"id": "3", "server": "web3", "repository": "lost", "node": "node1", "path": "/pool/web3/lost", "passphrase": "",
     "key": "", "problem": "damaged"},
]  # fmt: skip
FORMS: dict[str, Callable[[list[dict[str, str]]], str]] = {
    "paper": kit_as_text,
    "json": json.dumps,
    "paper with other line ends": lambda entries: kit_as_text(entries).replace("\n", "\r\n"),
    "paper in a letter": lambda entries: f"Dear operator,\n\n  keep this:\n\n{kit_as_text(entries)}\n\nYours\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_what_a_kit_holds_is_read_as_it_was_printed(form: str) -> None:
    read = read_kit(FORMS[form](ENTRIES))
    assert [(one.server, one.repository, one.path, one.passphrase) for one in read] == [
        (one["server"], one["repository"], one["path"], one["passphrase"]) for one in ENTRIES if one["passphrase"]
    ]
    assert [one.key.split() for one in read] == [KEYS["repokey"].split(), []]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "[1]", "[[", '{"a": 1}', '[{"server": "a"}]', "a - b", "a - b\n  passphrase: x", "  passphrase: x",
     "no repository has been used yet", "[" * 100_000, "\x00\ud800", "null"],
    ids=range(14),
)  # fmt: skip
def test_what_is_no_kit_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_kit(text)
    assert caught.value.code == "kit_unreadable"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database with the servers and repositories of the kit, and without their passphrases."""
    monkeypatch.delenv("BORGFLEET_CONFIG", raising=False)
    migrate(f"sqlite+aiosqlite:///{tmp_path / 'borgfleet.db'}")
    asyncio.run(_changed(tmp_path, _add))
    return tmp_path


async def _changed(directory: Path, work: Any) -> Any:
    db = await first_database(Settings(data_dir=directory))
    try:
        return await db.run(work)
    finally:
        await db.close()


async def _add(tx: Any) -> None:
    pool = StoragePool(name="main", node="node1", path="/pool")
    servers = {one["server"]: Server(name=one["server"], host="h", port=22, facts={}) for one in ENTRIES}
    tx.session.add_all([pool, *servers.values()])
    await tx.session.flush()
    for one in ENTRIES:
        # The second lies elsewhere now: it is found by its names.
        path = one["path"].replace("/pool with space", "/pool")
        server = servers[one["server"]].id
        tx.session.add(Repository(name=one["repository"], server_id=server, pool_id=pool.id, path=path))


def imported(directory: Path, text: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["recovery-kit", "--data-dir", str(directory), "--import", "-"], input=text)
    assert PASSPHRASE not in done.output
    assert "second one" not in done.output
    return done.exit_code, done.output


def passphrases(directory: Path) -> list[str | None]:
    async def read(tx: Any) -> list[str | None]:
        rows = list(await tx.session.scalars(Repository.__table__.select().order_by(Repository.path)))
        return [await tx.secrets.find(repository_passphrase(row)) for row in rows]

    found: list[str | None] = asyncio.run(_changed(directory, read))
    return found


def test_passphrases_come_back_once_and_stay(installed: Path) -> None:
    for text in ("taken from the kit", "the database has this passphrase"):
        status, said = imported(installed, kit_as_text(ENTRIES))
        assert (status, said.count(text)) == (0, 2), said
        assert passphrases(installed) == [PASSPHRASE, "second one", None]


async def _wrong(tx: Any) -> None:
    for row in await tx.session.scalars(Repository.__table__.select().order_by(Repository.path)):
        await tx.secrets.put(repository_passphrase(row), "made by the first run after the restore")
        await tx.secrets.put(repository_key(row), KEYS["repokey"])


async def _damaged(tx: Any) -> None:
    await _wrong(tx)
    await tx.session.execute(
        Secret.__table__.update().where(Secret.name.like("%:passphrase")).values(sealed=b"nothing")
    )


@pytest.mark.parametrize("before", [_wrong, _damaged], ids=["another", "a damaged one"])
def test_one_that_opens_the_key_replaces_one_that_does_not_and_one_that_does_not_replaces_nothing(
    installed: Path, before: Any
) -> None:
    asyncio.run(_changed(installed, before))
    status, said = imported(installed, json.dumps(ENTRIES))
    assert status == 1
    assert "web1 - system: taken from the kit" in said
    assert "web2 - a.b-c: this passphrase does not open the repository's key: nothing was changed" in said
    first, *_ = passphrases(installed) if before is _wrong else [PASSPHRASE]
    assert first == PASSPHRASE


def test_what_is_not_on_record_is_said_and_a_file_that_is_none_too(installed: Path) -> None:
    other = [ENTRIES[0] | {"server": "web9", "path": "/pool/web9/system"}]
    status, said = imported(installed, kit_as_text(other))
    assert (status, "web9 - system: not on record" in said) == (1, True)
    missing = CliRunner().invoke(app, ["recovery-kit", "--data-dir", str(installed), "--import", "/nowhere/kit"])
    assert (missing.exit_code, "cannot be read" in missing.output) == (1, True)
    assert imported(installed, "nothing")[0] == 1
    assert passphrases(installed) == [None, None, None]


def test_an_entry_shows_no_passphrase() -> None:
    assert PASSPHRASE not in repr(KitEntry("a", "b", "/c", PASSPHRASE, KEYS["repokey"]))
