"""Real borg, an attacker with the passphrase and no fence: what he does is seen, and one job brings all of it back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest
from sqlalchemy import delete, update

from services.backup.plan import load_repository
from services.backup.ports import Wanted
from shared.borg.segments import MANIFEST, entries, last_transaction, segments
from shared.db.stores.requests import request_delete
from shared.db.stores.secrets import repository_key, repository_passphrase
from shared.db.tables import Archive, Repository
from shared.domain.job import JobType
from shared.errors import AppError
from tests.harness.borg_client import NODE, Client, node, write_behind
from tests.integration.borg import unfenced
from tests.integration.borg.unfenced import ON_BOTH_DATABASES, Fleet, rewrite

db, fleet = unfenced.db, unfenced.fleet
EMPTY = "manifest.archives._archives.clear()"
FUTURE = EMPTY + "; manifest.timestamp = '9999-12-31T23:59:59.000000'"


ATTACKS: dict[str, tuple[Callable[[Client], None], str]] = {
    "archives deleted": (lambda c: [c.run("delete", f"{{repo}}::{name}") for name in c.run("list", "--short", "{repo}").split()[:2]] and None, "history_rewritten"),
    "manifest emptied": (lambda c: rewrite(c.repository, c.home, EMPTY), "archives_missing"),
    "manifest from the future": (lambda c: rewrite(c.repository, c.home, FUTURE), "archives_missing"),
    "key changed": (lambda c: c.run("key", "change-passphrase", "{repo}") and None, "repository_key_changed"),
    "all objects overwritten": (lambda c: write_behind(c.repository, dict.fromkeys(_ids(c), b"garbage")), "history_rewritten"),
    "all objects deleted": (lambda c: write_behind(c.repository, {}, tuple(_ids(c))), "history_rewritten"),
}  # fmt: skip


def _ids(client: Client) -> list[bytes]:
    script = "import sys; from borg.logger import setup_logging; setup_logging(); from borg.repository import Repository\nwith Repository(sys.argv[1], exclusive=False) as r: print(*(i.hex() for i in r.list()), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", script, str(client.repository)], capture_output=True, text=True, check=True
    )
    return [bytes.fromhex(line) for line in done.stdout.split() if bytes.fromhex(line) != MANIFEST]


async def test_honest_runs_and_our_own_maintenance_freeze_nothing(fleet: Fleet) -> None:
    assert (await fleet.verify()).state == "succeeded"
    first, _ = await fleet.rows(Archive)
    await fleet.delete(await fleet.db.run(lambda tx: request_delete(tx, first)))
    await fleet.run()
    await fleet.keep(keep_last=1)
    assert (await fleet.prune(override_deletion_limit=True)).state == "succeeded"
    assert (await fleet.maintain(JobType.REPOSITORY_COMPACT)).state == "succeeded"
    assert (await fleet.maintain(JobType.REPOSITORY_CHECK, depth="archives")).state == "succeeded"
    assert (await fleet.run()).state == "succeeded"
    found = await fleet.repository()
    assert (found.frozen_reason, found.session) == ("", "")
    assert found.proven_transaction == last_transaction(str(fleet.place))
    assert (await fleet.verify()).state == "succeeded"
    assert all(row.proven_at for row in await fleet.rows(Archive))
    await fleet.assert_all_extract()


async def test_the_key_is_kept_as_borg_exports_it(fleet: Fleet) -> None:
    exported = node(fleet.place, fleet.directory / "reader", "key", "export", "{repo}")
    assert (
        exported.split()
        == (await fleet.db.run(lambda tx: tx.secrets.get(repository_key(fleet.definition.repository_id)))).split()
    )


@ON_BOTH_DATABASES
@pytest.mark.parametrize("attack", ATTACKS)
async def test_what_an_attacker_does_in_a_run_is_seen_and_one_job_brings_it_back(fleet: Fleet, attack: str) -> None:
    act, code = ATTACKS[attack]
    before = [row.name for row in await fleet.rows(Archive)]
    fleet.server.attack = act
    with contextlib.suppress(AppError):  # some leave nothing that could be listed
        assert (await fleet.run()).state in ("warning", "failed")
    assert code in await fleet.codes()
    fleet.server.attack = None
    await fleet.keep(keep_last=1)
    with pytest.raises(AppError) as caught:
        await fleet.prune()
    assert caught.value.code == "repository_frozen"
    ended = await fleet.recover()
    lost = [row for row in await fleet.rows(Archive) if row.missing]
    # He may overwrite what his own run made; nothing that was there before, and what he deleted stands in the segments.
    assert not {row.name for row in lost} & set(before)
    assert len(lost) == (1 if attack == "all objects overwritten" else 0), ended.warnings
    assert ended.state == ("warning" if lost else "succeeded")
    found = await fleet.repository()
    assert [one["code"] for one in found.frozen_for] == ["archives_missing"] * len(lost)
    assert found.unfrozen_by == "me"
    for row in lost:
        await fleet.db.run(lambda tx, gone=row: tx.session.execute(delete(Archive).where(Archive.id == gone.id)))
    await fleet.assert_all_extract()
    assert (await fleet.run()).state == "succeeded"
    await fleet.assert_all_extract()


@pytest.mark.parametrize("attack", ["archives deleted", "manifest emptied", "key changed"])
async def test_what_is_done_outside_of_a_run_is_seen_before_anything_is_pruned(fleet: Fleet, attack: str) -> None:
    await asyncio.to_thread(ATTACKS[attack][0], Client(NODE, fleet.place, fleet.directory / "attacker"))
    await fleet.keep(keep_last=1)
    before = last_transaction(str(fleet.place))
    with pytest.raises(AppError) as caught:
        await fleet.prune()
    assert caught.value.code == "repository_frozen"
    assert last_transaction(str(fleet.place)) == before
    assert set(await fleet.codes()) & {"written_outside", "repository_key_changed"}
    assert (await fleet.recover()).state == "succeeded"
    await fleet.assert_all_extract()


async def test_without_any_copy_the_records_alone_bring_the_archives_back(fleet: Fleet) -> None:
    fleet.server.attack = ATTACKS["manifest emptied"][0]
    await fleet.run()
    shutil.rmtree(fleet.directory / "state" / "manifests")
    assert (await fleet.recover()).state == "succeeded"
    await fleet.assert_all_extract()


async def test_what_we_deleted_does_not_come_back(fleet: Fleet) -> None:
    first, second = await fleet.rows(Archive)
    await fleet.delete(await fleet.db.run(lambda tx: request_delete(tx, first)))
    assert (await fleet.recover()).state == "succeeded"
    assert fleet.listed() == {second.name}


async def test_what_cannot_be_brought_back_is_named_and_stays_frozen(fleet: Fleet) -> None:
    """Somebody with access to the pool deletes, and compacts: nothing holds the data any more."""
    name = min(fleet.listed())
    attacker = fleet.directory / "attacker"
    node(fleet.place, attacker, "delete", f"{{repo}}::{name}")
    node(fleet.place, attacker, "compact", "--threshold=0", "{repo}")
    await fleet.run()
    ended = await fleet.recover()
    assert ended.state == "warning"
    assert name in ended.warnings[0]
    assert await fleet.codes() == ["archives_missing"]
    assert name in (await fleet.repository()).frozen_reason


async def test_garbage_under_the_id_of_content_to_come_does_not_outlive_its_night(fleet: Fleet) -> None:
    assert (await fleet.verify()).state == "succeeded"
    garbage = {os.urandom(32): os.urandom(500), os.urandom(32): b""}
    fleet.server.attack = lambda client: write_behind(client.repository, garbage)
    await fleet.run()
    ended = await fleet.verify()
    assert (ended.state, ended.code, ended.result["garbage"]) == ("failed", "hostile_client", 2)
    assert await fleet.codes() == ["hostile_client"]
    rows = sorted(await fleet.rows(Archive), key=lambda row: row.segment)
    assert [bool(row.damage) for row in rows] == [False, False, True]
    assert [bool(row.proven_at) for row in rows] == [True, True, False]
    assert (await fleet.repository()).archives_damage
    assert (await fleet.verify()).result == {"finished": True, "objects": 0}
    # A recovery removes it, so that no later archive is built on it; who did it is still to be found out.
    ended = await fleet.recover()
    assert (ended.state, ended.result["removed"]) == ("warning", 2)
    assert await fleet.codes() == ["hostile_client"]
    await fleet.assert_all_extract()


@pytest.mark.parametrize("way", ["let go by a person", "recovered"])
async def test_an_archive_built_on_garbage_never_displaces_a_good_one(fleet: Fleet, way: str) -> None:
    """A server stores garbage as the content of its own archive; the next run's honest borg takes it for stored."""
    whole = {row.name for row in await fleet.rows(Archive)}
    before = last_transaction(str(fleet.place))
    assert before is not None

    def attack(client: Client) -> None:
        numbered = segments(str(fleet.place), before, 1 << 40)
        content = [one.id for number, file in numbered for one in entries(file, number) if one.size > 30_000]
        write_behind(client.repository, dict.fromkeys(content, b"garbage"))

    (fleet.server.directory / "poisoned").write_bytes(os.urandom(40_000))
    fleet.server.attack = attack
    assert (await fleet.run()).state == "succeeded"
    fleet.server.attack = None
    honest = await fleet.run()
    assert honest.state == "succeeded"  # nobody has read yet what it is built on
    assert (await fleet.verify()).code == "hostile_client"
    if way == "recovered":
        assert (await fleet.recover()).result["put_back"] == 1  # what was there before the garbage
    let_go = {"frozen_reason": "", "frozen_for": [], "proven_transaction": None, "rewritten_after": None}
    await fleet.db.run(lambda tx: tx.session.execute(update(Repository).values(**let_go)))
    await fleet.keep(keep_last=1)
    with pytest.raises(AppError) as caught:
        await fleet.prune(override_deletion_limit=True)
    assert caught.value.code == "repository_damaged"
    await fleet.maintain(JobType.REPOSITORY_CHECK, depth="archives")
    whole = whole if way != "recovered" else {row.name for row in await fleet.rows(Archive)}
    assert {row.name for row in await fleet.rows(Archive) if not row.damage} == whole
    assert (await fleet.prune(override_deletion_limit=True)).state == "succeeded"
    kept = {row.name for row in await fleet.rows(Archive) if not row.damage}
    assert kept == {max(whole)} <= fleet.listed()


async def test_a_verification_goes_on_where_the_last_one_ended_and_forgives_what_compaction_took(fleet: Fleet) -> None:
    place = await fleet.db.run(lambda tx: load_repository(tx, fleet.definition.repository_id))
    upto = last_transaction(str(fleet.place))
    assert upto is not None
    stretch = await fleet.storage.verify(place, None, after=-1, upto=upto, seconds=-1)
    assert (stretch.reached, stretch.objects) == (-1, 0)
    whole = await fleet.storage.verify(place, None, after=-1, upto=upto, seconds=60)
    assert (whole.reached, whole.garbage, whole.damaged) == (upto, (), ())
    rest = await fleet.storage.verify(place, None, after=3, upto=upto, seconds=60)
    assert 0 < rest.objects < whole.objects
    emptied = min((fleet.place / "data" / "0").iterdir(), key=lambda file: int(file.name))
    content = bytearray(emptied.read_bytes())
    emptied.write_bytes(b"")
    assert (await fleet.storage.verify(place, None, after=-1, upto=upto, seconds=60)).damaged == ()
    content[-1] ^= 1
    emptied.write_bytes(content)
    assert len((await fleet.storage.verify(place, None, after=-1, upto=upto, seconds=60)).damaged) == 1
    with pytest.raises(AppError) as caught:
        await fleet.storage.verify(place, "BORG_KEY 00\nbm9uZQ==\n", after=-1, upto=upto, seconds=60)
    assert caught.value.code


async def test_with_a_wrong_passphrase_nothing_is_touched_and_the_cause_is_named(fleet: Fleet) -> None:
    await fleet.db.run(lambda tx: tx.secrets.put(repository_passphrase(fleet.definition.repository_id), "wrong"))
    place = await fleet.db.run(lambda tx: load_repository(tx, fleet.definition.repository_id))
    upto = last_transaction(str(fleet.place))
    assert upto is not None
    wanted = Wanted(None, {}, None)
    async with fleet.storage.open(place, 1) as grant:
        for asked in (
            fleet.storage.recover(place, grant, wanted),
            fleet.storage.verify(place, None, after=-1, upto=upto, seconds=60),
        ):
            with pytest.raises(AppError) as caught:
                await asked
            assert caught.value.code == "passphrase_wrong"
    assert last_transaction(str(fleet.place)) == upto


async def test_a_manifest_of_any_shape_stands_in_no_way(fleet: Fleet) -> None:
    """Who has the passphrase can seal what he likes; and a copy may be cut short."""
    odd = "manifest.archives._archives.update({b'x': {b'id': b'short', b'time': b'never'}})"
    rewrite(fleet.place, fleet.directory / "attacker", odd)
    copies = fleet.directory / "state" / "manifests" / fleet.definition.repository_id.hex
    (copies / "999999.manifest").write_bytes(b"cut")
    assert (await fleet.recover()).state == "succeeded"
    await fleet.assert_all_extract()
    write_behind(fleet.place, {MANIFEST: b"garbage"})
    assert (await fleet.recover()).state == "succeeded"
    await fleet.assert_all_extract()


async def test_an_object_that_stands_nowhere_whole_any_more_is_counted_and_stays_a_cause(fleet: Fleet) -> None:
    upto = last_transaction(str(fleet.place))
    assert upto is not None
    numbered = segments(str(fleet.place), -1, upto)
    original, file = next(
        (one, file)
        for number, file in numbered
        for one in entries(file, number)
        if one.id != MANIFEST and one.size > 99
    )
    fleet.server.attack = lambda client: write_behind(client.repository, {original.id: b"garbage"}, (MANIFEST,))
    await fleet.refused(await fleet.request())  # without a manifest nothing can be listed
    fleet.server.attack = None
    assert "history_rewritten" in await fleet.codes()
    content = bytearray(file.read_bytes())
    content[original.offset + 60] ^= 1
    file.write_bytes(content)
    ended = await fleet.recover()
    assert (ended.state, ended.result["lost"]) == ("warning", 1)
    assert "history_rewritten" in await fleet.codes()
    assert {row.name for row in await fleet.rows(Archive) if not row.missing} <= fleet.listed()
