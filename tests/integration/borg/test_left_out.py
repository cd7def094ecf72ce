"""Garbage is known for garbage whatever else its sender left: a manifest that is none, segments that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.backup.node.storage import NodeStorage
from services.backup.ports import RepositoryPlace
from shared.borg.segments import entries
from shared.borg.sessions import Garbage
from shared.errors import AppError
from tests.harness.borg_client import write_behind
from tests.harness.rpc import MANIFEST
from tests.integration.borg.conftest import PASSPHRASE, World
from tests.integration.borg.unfenced import measured_scripts

MANIFESTS: dict[str, bytes] = {
    "garbage": b"garbage", "empty": b"", "of a plain key": b"\x02" + bytes(60), "of a key file": b"\x00" + bytes(80),
    "of no kind": b"\xff" * 80, "cut short": b"\x06",
}  # fmt: skip


async def examined(world: World, passphrase: str = PASSPHRASE) -> Garbage:
    grant = world.grant
    place = RepositoryPlace(
        grant.repository_id, grant.server_id, grant.path, "repokey-blake2", passphrase, "web1/system"
    )
    (report,) = world.reports()
    storage = NodeStorage(world.node, 600)
    measured_scripts(storage)
    return await storage.garbage(place, grant, report)


@pytest.mark.parametrize("manifest", ["sent", "missing", *MANIFESTS])
async def test_a_manifest_that_is_none_hides_no_garbage(world: World, manifest: str) -> None:
    in_wait = b"\7" * 32
    with world.opened() as client:
        client.call("put", id=in_wait, data=b"garbage")
        client.call("commit", save_space=False)
    with world.opened() as client:
        honest, lied = [i for i in client.ids() if i not in (MANIFEST, in_wait)][:2]
        client.call("put", id=honest, data=client.call("get", id=honest))
        client.call("put", id=lied, data=b"garbage")
        client.call("put", id=in_wait, data=b"what should be there")
        genuine = client.call("get", id=MANIFEST)
        of_its_kind = genuine[:41] + os.urandom(90)  # another kind, or counter, the fence refuses
        client.call("put", id=MANIFEST, data=of_its_kind)
        client.call("commit", save_space=False)
    if manifest == "missing":
        write_behind(Path(world.grant.path), {}, (MANIFEST,))
    elif manifest != "sent":
        write_behind(Path(world.grant.path), {MANIFEST: MANIFESTS[manifest]})
    found = await examined(world)
    assert (found.lying, set(found.sent)) == ((in_wait.hex(),), {lied.hex(), in_wait.hex()})


async def test_an_object_that_the_disk_does_not_give_hides_no_garbage_and_blames_nobody(world: World) -> None:
    with world.opened() as client:
        unread, lied = [i for i in client.ids() if i != MANIFEST][:2]
        client.call("put", id=unread, data=client.call("get", id=unread))
        client.call("put", id=lied, data=b"garbage")
        client.call("commit", save_space=False)
    for file in Path(world.grant.path).glob("data/*/*"):
        for entry in entries(file, int(file.name)):
            if entry.id == unread:
                data = bytearray(file.read_bytes())
                data[entry.offset + 60] ^= 1
                file.write_bytes(data)
    found = await examined(world)
    assert (found.lying, found.sent) == ((), (lied.hex(),))


async def test_a_passphrase_that_opens_nothing_is_told_and_blames_nobody(world: World) -> None:
    with world.opened() as client:
        one = next(i for i in client.ids() if i != MANIFEST)
        client.call("put", id=one, data=os.urandom(10))
        client.call("commit", save_space=False)
    with pytest.raises(AppError) as caught:
        await examined(world, "wrong")
    assert caught.value.code == "passphrase_wrong"
