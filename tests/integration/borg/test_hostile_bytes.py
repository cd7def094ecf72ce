"""Real borg: whatever bytes somebody stores or seals, the scripts that open them end with a finding, never by them."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from services.backup.node.storage import NodeStorage
from services.backup.ports import RepositoryPlace, Wanted
from shared.borg import vault
from shared.borg.segments import last_transaction
from tests.harness.borg_client import write_behind
from tests.harness.forger import sealed
from tests.harness.patience import WAIT
from tests.harness.rpc import MANIFEST
from tests.integration.borg.conftest import PASSPHRASE, SCRIPTS, World
from tests.integration.borg.unfenced import measured_scripts

KIND = b"\x05"
"""How an object of a repokey-blake2 begins."""
UNSEALED: dict[str, bytes] = {
    "nothing": b"", "its kind alone": KIND, "shorter than a MAC": KIND + bytes(4), "a byte short of a MAC": KIND + bytes(31),
    "a MAC alone": KIND + bytes(32), "a MAC and a counter": KIND + bytes(40), "another kind": b"\x04" + bytes(90),
    "no kind": b"\xff" * 90, "noise": KIND + os.urandom(300),
}  # fmt: skip
ZSTD = bytes.fromhex("28b52ffde0")
SEALED: dict[str, bytes] = {
    "nothing": b"", "one byte": b"\1", "no compression that is known": b"\xee\xee123", "plain": b"\0\0plain",
    "lz4 of nothing": b"\1\0", "lz4": b"\1\0\xff\xff\xff\xff", "lzma of nothing": b"\2\0", "lzma": b"\2\0xx",
    "zstd of nothing": b"\3\0", "zstd": b"\3\0xxxx", "auto": b"\4\0", "old zlib": b"\x78\x9cgarbage",
    "old zlib, cut": b"\x08\x1d", "zstd of no size": b"\3\0" + ZSTD + struct.pack("<Q", 0) + b"\1\0\0",
    "zstd of 1 EiB": b"\3\0" + ZSTD + struct.pack("<Q", 1 << 60) + b"\1\0\0",
    "zstd of more than a number": b"\3\0" + ZSTD + struct.pack("<Q", (1 << 63) + 5) + b"\1\0\0",
    "nested without end": b"\0\0" + b"\x91" * 30_000,
}  # fmt: skip

MANIFESTS = (
    "nothing",
    "shorter than a MAC",
    "sealed: nothing",
    "sealed: zstd of no size",
    "sealed: nested without end",
)
"""What stands for each kind of end: each costs two processes."""


def place_of(world: World) -> RepositoryPlace:
    grant = world.grant
    return RepositoryPlace(
        grant.repository_id, grant.server_id, grant.path, "repokey-blake2", PASSPHRASE, "web1/system"
    )


def storage_of(world: World) -> NodeStorage:
    storage = NodeStorage(world.node, 600)
    measured_scripts(storage)
    return storage


def hostile(world: World) -> dict[bytes, tuple[str, bytes]]:
    """One object of each row, by its id."""
    objects = sealed(world.grant.path, PASSPHRASE, world.directory / "forger", *SEALED.values())
    rows = [*UNSEALED.items(), *((f"sealed: {name}", data) for name, data in zip(SEALED, objects, strict=True))]
    return {os.urandom(32): row for row in rows}


async def test_no_bytes_end_a_verification_and_recovery_removes_them_all(world: World) -> None:
    storage, place, rows = storage_of(world), place_of(world), hostile(world)
    key = vault.exported_key(world.grant.path)
    before = last_transaction(world.grant.path)
    assert before is not None
    write_behind(Path(world.grant.path), {object_id: data for object_id, (_, data) in rows.items()})
    upto = last_transaction(world.grant.path)
    assert upto is not None
    found = await storage.verify(place, key, after=0, upto=upto, seconds=WAIT)
    told = {bytes.fromhex(object_id) for object_id, _ in found.garbage}
    assert (sorted(rows[i][0] for i in rows.keys() - told), told - rows.keys()) == ([], set())
    assert (found.damaged, found.reached) == ((), upto)
    recovered = await storage.recover(place, world.grant, Wanted(key, {}, rewritten_after=before))
    assert (recovered.removed, recovered.lost) == (len(rows), 0)
    world.assert_whole()


async def test_no_bytes_that_a_session_sent_or_meets_end_their_examination(world: World) -> None:
    rows = hostile(world)
    with world.opened() as client:
        for object_id, (_, data) in rows.items():
            client.call("put", id=object_id, data=data)
        client.call("commit", save_space=False)
    with world.opened() as client:
        for object_id, (_, data) in rows.items():
            client.call("put", id=object_id, data=data + b"!")
        client.call("commit", save_space=False)
    (report,) = world.reports()
    found = await storage_of(world).garbage(place_of(world), world.grant, report)
    for told in (found.lying, found.sent):
        assert sorted(rows[i][0] for i in rows if i.hex() not in told) == []


async def test_no_manifest_ends_the_list_of_archives_but_as_what_it_is(world: World) -> None:
    storage, place, told = storage_of(world), place_of(world), dict[str, str]()
    for row, data in hostile(world).values():
        if row not in MANIFESTS:
            continue
        write_behind(Path(world.grant.path), {MANIFEST: data})
        listing = await storage.listing(place, world.grant)
        told[row] = f"{len(listing.archives)} {listing.readable} {len(listing.wrong)}"
    assert told == dict.fromkeys(MANIFESTS, "0 False 1")


# --- what unpacks without end ------------------------------------------------------------------------------------------

GIB = 1 << 30
OPEN = r"""
import re, resource, sys
sys.path.append(sys.argv[1])
import sealed
from borg.crypto.key import PlaintextKey
class Repository: id = bytes(32)
before = resource.getrlimit(resource.RLIMIT_AS)
key = PlaintextKey(Repository())
found = sealed.decrypted(key, None, key.TYPE.to_bytes(1, "big") + sys.stdin.buffer.read())
assert resource.getrlimit(resource.RLIMIT_AS) == before
# ru_maxrss would begin with what the process that started this one had at most.
(peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", open("/proc/self/status").read(), re.M)
print(-1 if found is None else len(found), int(peak) << 10)
"""


def zlib_of_zeros(size: int) -> bytes:
    block = 16 << 20
    packer = zlib.compressobj()
    head = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    more = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    adler = struct.pack(">I", (size % 65521) << 16 | 1)
    return head + more * (size // block - 1) + b"\x03\x00" + adler


def zstd_of_zeros(size: int) -> bytes:
    block = 128 << 10
    more, last = (struct.pack("<I", block << 3 | 2 | final)[:3] + bytes(1) for final in (0, 1))
    return b"\3\0" + ZSTD + struct.pack("<Q", size) + more * (size // block - 1) + last


def opened(payload: bytes) -> tuple[int, int]:
    """Return how much came out, -1 for garbage, and what it took."""
    done = subprocess.run([sys.executable, "-c", OPEN, str(SCRIPTS)], input=payload, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    size, memory = map(int, done.stdout.split())
    return size, memory


@pytest.mark.parametrize("packed", [zlib_of_zeros, zstd_of_zeros], ids=["zlib", "zstd"])
def test_what_unpacks_to_more_than_any_object_of_borg_is_garbage_and_does_not_take_the_nodes_memory(
    packed: Callable[[int], bytes],
) -> None:
    small = packed(64 << 20)
    assert opened(small)[0] == 64 << 20  # or the bomb would be none
    size, memory = opened(packed(3 * GIB // 2))
    assert (size, memory < GIB) == (-1, True), memory


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd,22", "zlib,9", "lzma,9", "auto,lzma,9"])
def test_the_largest_object_that_borg_writes_is_opened_however_it_was_packed(compression: str) -> None:
    pack = f"""
import sys, os
from borg.compress import CompressionSpec
sys.stdout.buffer.write(CompressionSpec({compression!r}).compressor.compress(os.urandom(1 << 20) + bytes(19 << 20)))
"""
    payload = subprocess.run([sys.executable, "-c", pack], capture_output=True, check=True).stdout
    assert opened(payload)[0] == 20 << 20
