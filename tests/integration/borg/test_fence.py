"""A server that is root's, and root is hostile: raw frames to the fence; what was there before stays."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest

from shared.borg import fencing
from shared.borg.fence import Report
from shared.borg.segments import entries, read, segments
from shared.domain.ids import new_id
from tests.harness.borg_client import write_behind
from tests.harness.borg_many import borg_many
from tests.harness.patience import WAIT
from tests.harness.rpc import MANIFEST, Gone, RawClient, RemoteError
from tests.integration.borg.conftest import BORG, SCRIPTS, World, make_files
from tests.integration.borg.test_fence_honest import DEBIANS, client, ended

CALLS: dict[str, dict[str, Any]] = {
    "destroy": {}, "save_key": {"keydata": b"BORG_KEY 0"}, "break_lock": {}, "check": {"repair": True},
    "scan": {"limit": 1, "marker": None}, "inject_exception": {"kind": b"divide"}, "migrate_lock": {"old_id": 1, "new_id": 2},
    "__init__": {"path": "/"}, "close": {}, "compact_segments": {"threshold": 0}, "create": {"path": "/tmp/x"},
    "_rollback": {"cleanup": True}, "serve": {}, "get_many": {"ids": []}, "\u202e": {},
}  # fmt: skip


def test_what_is_not_offered_is_refused_and_reported(world: World) -> None:
    with world.opened() as client:
        for name, arguments in CALLS.items():
            with pytest.raises(RemoteError, match="InvalidRPCMethod"):
                client.call(name, **arguments)
    (report,) = world.reports()
    assert len(report.refused) == len(CALLS)
    assert all(f"call of {name}" in report.refused for name in CALLS if name.isascii())
    world.assert_whole()


def deleted_all(client: RawClient) -> None:
    for object_id in client.ids():
        with pytest.raises(RemoteError, match="Refused"):
            client.call("delete", id=object_id)
    client.call("rollback")


def deleted_manifest_of_its_own(client: RawClient) -> None:
    client.call("put", id=MANIFEST, data=client.call("get", id=MANIFEST))
    with pytest.raises(RemoteError, match="Refused"):
        client.call("delete", id=MANIFEST)
    client.call("commit", save_space=False)


def raised_nonces(client: RawClient) -> None:
    now = int.from_bytes(client_nonce(client), "big")
    for wanted in (now + 2**32 + 1, 2**64 - 1, now - 1, 0, -1, 2.5, None, True, b"\xff"):
        with pytest.raises(RemoteError, match="Refused"):
            client.call("commit_nonce_reservation", next_unreserved=wanted, start_nonce=now)


def client_nonce(client: RawClient) -> bytes:
    return client.call("get_free_nonce").to_bytes(8, "big")


def put_what_is_no_object(client: RawClient) -> None:
    for object_id, data in (
        (b"short", b"x"),
        (b"x" * 33, b"x"),
        (7, b"x"),
        (None, b"x"),
        (b"x" * 32, 7),
        (b"x" * 32, None),
    ):
        with pytest.raises(RemoteError, match="Refused"):
            client.call("put", id=object_id, data=data)
        with pytest.raises(RemoteError):
            client.call("delete", id=object_id)


def opened_again(client: RawClient) -> None:
    with pytest.raises(RemoteError, match="Refused"):
        client.open("/anything")


@pytest.mark.parametrize(
    "attack", [deleted_all, deleted_manifest_of_its_own, raised_nonces, put_what_is_no_object, opened_again]
)
def test_an_attack_by_calls_that_are_offered_changes_nothing_from_before(
    world: World, attack: Callable[[RawClient], None]
) -> None:
    with world.opened() as client:
        attack(client)
    assert world.refused()
    world.assert_whole()


def manifest_with(world: World, nonce: int) -> bytes:
    """The repository's manifest, with another nonce: what a client counts on from is not what is sealed."""
    file, entry = next(
        (file, one)
        for number, file in reversed(segments(world.grant.path, -1, 1 << 40))
        for one in entries(file, number)
        if one.id == MANIFEST
    )
    sealed = read(file, entry)
    return sealed[:33] + nonce.to_bytes(8, "big") + sealed[41:]


FORGED_MANIFESTS: dict[str, Callable[[World, int], bytes]] = {
    "the next nonce but one": lambda world, free: manifest_with(world, free + 1),
    "a nonce far ahead": lambda world, _: manifest_with(world, 1 << 50),
    "the last nonce but one": lambda world, _: manifest_with(world, 2**64 - 2),
    "the last nonce": lambda world, _: manifest_with(world, 2**64 - 1),
    "no nonce": lambda world, _: manifest_with(world, 0)[:40],
    "the kind of plaintext": lambda world, _: b"\x02" + manifest_with(world, 0)[1:],
    "the kind without encryption": lambda world, _: b"\x07" + manifest_with(world, 0)[1:],
    "the kind of a passphrase": lambda world, _: b"\x01" + manifest_with(world, 0)[1:],
    "no kind": lambda *_: b"",
    "no kind that there is": lambda world, _: b"\xff" + manifest_with(world, 0)[1:],
}


def test_no_manifest_makes_later_honest_clients_count_on_from_where_nothing_is_given_out(world: World) -> None:
    with world.opened() as attacker:
        free = attacker.call("get_free_nonce")
        for forged in FORGED_MANIFESTS.values():
            with pytest.raises(RemoteError, match="Refused"):
                attacker.call("put", id=MANIFEST, data=forged(world, free))
    (report,) = world.reports()
    assert len(report.refused) == len(FORGED_MANIFESTS)
    world.node.sessions.forget(report)
    make_files(world.directory / "source" / "more", 2)
    for number, borg in enumerate((DEBIANS, BORG)):
        assert ended(client(world, borg, f"rebuilt{number}", f"honest{number}"))[0] == 0
    assert world.reports() == []
    world.assert_whole()


def test_an_honest_client_is_not_accused_of_a_nonce_that_another_left_far_ahead(world: World) -> None:
    """An earlier fence let such a manifest in: the client is refused, since it asks for too much, but not reported."""
    write_behind(Path(world.grant.path), {MANIFEST: manifest_with(world, 1 << 50)})
    with world.opened() as honest, pytest.raises(RemoteError, match="recover"):
        honest.call("commit_nonce_reservation", next_unreserved=(1 << 50) + 2**28, start_nonce=None)
    assert world.reports() == []


OPENINGS: list[tuple[dict[str, Any], str]] = [
    ({"create": True}, "create"), ({"create": 1}, "create"), ({"lock": False}, "without a lock"),
    ({"lock": None}, "without a lock"), ({"path": "/etc"}, "another repository"),
    ({"path": b"\xff/../.."}, "another repository"), ({"path": "\x00"}, "another repository"),
    ({"path": 7}, "another repository"), ({"path": "~root/x"}, "another repository"),
]  # fmt: skip


def test_only_the_granted_repository_is_opened_and_only_in_the_granted_way(world: World) -> None:
    with world.client() as client:
        for more, _ in OPENINGS:
            with pytest.raises(RemoteError, match="Refused"):
                client.open(**({"path": world.grant.path} | more))
    (report,) = world.reports()
    assert [said in what for (_, said), what in zip(OPENINGS, report.refused, strict=True)] == [True] * len(OPENINGS)
    world.assert_whole()


def test_a_client_that_asks_for_compaction_takes_no_segment_away(world: World) -> None:
    """Whatever it says of append-only: what it replaced stands in the segments, for a recovery to find."""

    def there() -> dict[str, bytes]:
        return {str(f): f.read_bytes() for _, f in segments(world.grant.path, -1, 1 << 40)}

    mine, before = b"\5" * 32, there()
    for more in ({"append_only": False}, {"append_only": None, "exclusive": False}):
        with world.client() as client:
            client.open(world.grant.path, **more)
            for number in range(3):
                client.call("put", id=mine, data=os.urandom(5000) if not number else b"%d" % number)
                client.call("put", id=MANIFEST, data=client.call("get", id=MANIFEST))
                client.call("commit", compact=True, threshold=0.0)
                after = there()
                assert before.items() <= after.items()
                before = after
            client.call("delete", id=mine)
            client.call("commit", compact=True, threshold=0.0)
        mine = b"\6" * 32
    assert world.reports() == []
    world.assert_whole()


def test_another_bytes_under_the_id_of_what_is_there_are_left_out_and_known_for_what_they_are(world: World) -> None:
    with world.opened() as client:
        ids = [i for i in client.ids() if i != MANIFEST]
        genuine = {i: client.call("get", id=i) for i in ids}
        for object_id in ids:
            assert client.call("put", id=object_id, data=b"garbage") is None
        client.call("put", id=ids[0], data=genuine[ids[0]])
        client.call("commit", save_space=False)
        assert {i: client.call("get", id=i) for i in ids} == genuine
    (report,) = world.reports()
    assert (report.refused, set(report.left_out), report.unkept) == ((), {i.hex() for i in ids}, 0)
    assert judged(world) == {"lying": [], "sent": sorted(i.hex() for i in ids)}
    world.assert_whole()


def test_garbage_that_lay_in_wait_under_the_id_of_content_to_come_is_found(world: World) -> None:
    with world.opened() as client:
        client.call("put", id=b"\7" * 32, data=b"garbage")
        client.call("commit", save_space=False)
    assert world.reports() == []
    with world.opened() as client:  # the next run: its client has the right content
        client.call("put", id=b"\7" * 32, data=b"what should be there")
        client.call("commit", save_space=False)
    assert judged(world)["lying"] == [(b"\7" * 32).hex()]


def test_what_was_pruned_since_is_no_garbage_and_a_flood_of_it_is_counted_to_a_thousand(world: World) -> None:
    directory = world.node.state_dir / "sessions"
    report = Report(directory / f"{world.grant.repository_id.hex}.3.report")
    for number in range(1100):
        report.left_out(number.to_bytes(32, "big")[::-1] if number else b"\1" * 32, b"x")
    with (directory / f"{world.grant.repository_id.hex}.3.report").open("ab") as stream:
        stream.write(b'{"left_')  # power was cut
    found = judged(world)
    assert (found["lying"], len(found["sent"])) == ([], 1000)


def judged(world: World) -> dict[str, list[str]]:
    (report,) = world.reports()
    done = subprocess.run(
        [world.node.python, "-I", str(SCRIPTS / "left_out.py"), world.grant.path, str(report.file)],
        env=os.environ | world.node._environment | {"BORG_PASSPHRASE": "canary-right"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_session_changes_what_it_wrote_itself_and_the_next_one_does_not(world: World) -> None:
    mine = b"\5" * 32
    with world.opened() as client:
        client.call("put", id=mine, data=b"one")
        client.call("commit", save_space=False)
        client.call("put", id=mine, data=b"two")
        assert client.call("get", id=mine) == b"two"
        client.call("delete", id=mine)
        client.call("put", id=mine, data=b"three")
        client.call("commit", save_space=False)
    assert world.reports() == []
    with world.opened() as client, pytest.raises(RemoteError, match="Refused"):
        client.call("delete", id=mine)


def test_a_run_cut_short_leaves_no_segment_that_the_next_could_not_write_over(world: World) -> None:
    """Its segments have no commit, so borg uses their numbers again; the highest number is no measure of "before"."""
    with world.opened() as client:
        client.call("put", id=b"\5" * 32, data=b"x" * 5000)
        client.process.kill()
    with world.opened() as client:
        for data in (b"one", b"two"):
            client.call("put", id=b"\5" * 32, data=data)
            client.call("put", id=MANIFEST, data=client.call("get", id=MANIFEST))
            client.call("commit", save_space=False)
        client.call("delete", id=b"\5" * 32)
        client.call("commit", save_space=False)
    assert world.reports() == []
    world.assert_whole()


def test_the_repositorys_quota_ends_a_flood_and_the_next_honest_run_is_told(world: World) -> None:
    world.node.permit(replace(world.grant, quota=200_000), 600)
    with world.opened() as client:
        with pytest.raises(RemoteError, match="StorageQuotaExceeded"):
            for number in range(1, 1000):
                client.call("put", id=number.to_bytes(32, "big"), data=os.urandom(20_000))
        with pytest.raises(RemoteError, match="StorageQuotaExceeded"):
            client.call("commit", save_space=False)
    world.assert_whole()


@pytest.mark.parametrize(
    "frame",
    [
        b"\xc1", b"\x01\x02\x03", b"hello\n" * 100, msgpack.packb({b"i": 1}), msgpack.packb({b"i": 1, b"m": 7, b"a": {}}),
        msgpack.packb({b"i": 1, b"m": b"\xff\xfe", b"a": {}}), msgpack.packb({b"i": 1, b"m": b"put", b"a": {1: 2}}),
        msgpack.packb((1, 2, b"no_such_call", (1,))), msgpack.packb((1, 2, b"put", (1,))), b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff" + bytes(70 << 20), b"\xdf\x7f\xff\xff\xff\x01",
    ],
)  # fmt: skip
def test_a_malformed_or_huge_frame_ends_the_session_and_nothing_else(world: World, frame: bytes) -> None:
    with world.opened() as client:
        with contextlib.suppress(Gone):
            client.send(frame)
        with contextlib.suppress(BrokenPipeError):
            client.process.stdin.close()  # type: ignore[union-attr] - it was opened with a pipe
        with pytest.raises((Gone, RemoteError)):
            client.answer()
    assert not (Path(world.grant.path) / "lock.exclusive").exists()
    world.assert_whole()


def test_a_frame_that_is_cut_is_no_attack(world: World) -> None:
    with world.opened() as client:
        client.send(msgpack.packb({b"i": 9, b"m": b"put", b"a": {b"id": bytes(32), b"data": bytes(1000)}})[:500])
    assert world.reports() == []


def test_who_goes_on_asking_is_shown_out_and_cannot_fill_the_nodes_disk(world: World) -> None:
    with world.opened() as client, pytest.raises(Gone):
        for _ in range(10_000):
            with contextlib.suppress(RemoteError):
                client.call("destroy")
    (report,) = world.reports()
    assert len(report.refused) == 100
    assert report.file is not None
    report.file.write_bytes(report.file.read_bytes() * 1000)
    status, said = world.client().close()
    assert (status, "too often" in said) == (77, True)


def test_old_positional_frames_are_under_the_same_rules(world: World) -> None:
    with world.opened() as client:
        client.send(msgpack.packb((1, 5, b"destroy", ()), use_bin_type=False))
        with pytest.raises((TypeError, KeyError, IndexError)):  # the answer is a tuple of the old form
            client.answer()
    assert "call of destroy" in world.refused()
    world.assert_whole()


# -- sessions and leases --------------------------------------------------------------------------------


def test_two_sessions_of_one_lease_are_refused(world: World) -> None:
    with world.opened() as first:
        status, said = world.client().close()
        assert (status, "being served already" in said) == (77, True)
        assert first.call("__len__") > 0
    assert "second session" in world.refused()
    world.assert_whole()


@pytest.mark.parametrize("how", ["revoked", "expired", "superseded", "another path"])
def test_without_a_current_grant_nothing_is_served(world: World, how: str) -> None:
    path = None
    if how == "revoked":
        world.node.revoke(world.grant)
    elif how == "expired":
        world.node.permit(world.grant, -5)
    elif how == "superseded":
        world.node.permit(replace(world.grant, epoch=4), 600)
    else:
        path = "/etc"
    status, said = world.client(path=path).close()
    assert (status, "not current" in said) == (75, True)
    assert world.reports() == []


async def test_a_session_held_open_past_its_lease_is_gone_before_the_next_begins(world: World) -> None:
    client = world.opened()
    world.node.permit(replace(world.grant, epoch=4), 600)
    await asyncio.wait_for(world.node.sessions.over(world.grant.repository_id), WAIT)
    assert client.process.wait(WAIT) != 0
    client.close()
    assert not (Path(world.grant.path) / "lock.exclusive").exists()
    with world.client(epoch=4) as after:
        after.open(world.grant.path)


async def test_a_session_that_does_not_hear_its_signals_is_ended_too(world: World) -> None:
    """borg answers a signal that comes within a call as if the call had failed, and goes on."""
    client = world.opened()
    frame = msgpack.packb({b"i": 1, b"m": b"list", b"a": {}}, use_bin_type=False)
    os.set_blocking(client._in, False)
    with contextlib.suppress(BlockingIOError):  # it answers into a pipe that nobody reads
        while True:
            os.write(client._in, frame * 1000)
    world.node.revoke(world.grant)
    await asyncio.wait_for(world.node.sessions.over(world.grant.repository_id), WAIT)
    client.close()


async def test_the_nodes_own_borg_of_an_earlier_lease_is_waited_for(world: World) -> None:
    argv = [world.node.borg, "with-lock", world.grant.path, "sleep", "600"]
    task = asyncio.create_task(world.node.run(world.grant, argv, passphrase="canary-right"))
    async with asyncio.timeout(WAIT):
        while not (Path(world.grant.path) / "lock.exclusive").exists():
            await asyncio.sleep(0.05)
    over = asyncio.create_task(world.node.sessions.over(world.grant.repository_id))
    await asyncio.sleep(0.5)
    assert not over.done(), "it is not waited for"
    world.node.permit(replace(world.grant, epoch=4), 600)
    await asyncio.wait_for(over, WAIT)
    assert not (Path(world.grant.path) / "lock.exclusive").exists()
    await asyncio.gather(task, return_exceptions=True)


async def test_once_shut_out_the_server_is_gone_and_the_nodes_own_borg_works_on(world: World) -> None:
    client = world.opened()
    assert world.node.shut_out(world.grant, 600)
    await asyncio.wait_for(world.node.sessions.over(world.grant.repository_id), WAIT)
    client.close()
    world.node.permit(world.grant, 600)  # as each heartbeat does
    assert world.client().close()[0] == 75
    await serve_by_tunnel(world)
    argv = [world.node.borg, "list", "--json", world.grant.path]
    stdout, _ = await world.node.run(world.grant, argv, passphrase="canary-right")
    assert [archive["name"] for archive in json.loads(stdout)["archives"]] == ["before"]
    world.node.permit(replace(world.grant, epoch=4), 600)
    with world.client(epoch=4) as after:
        after.open(world.grant.path)


async def serve_by_tunnel(world: World) -> bytes:
    """Return what the tunnel's client is told that sends nothing."""
    heard: list[bytes] = []

    async def read(_n: int) -> bytes:
        return b""

    async def write(data: bytes) -> None:
        heard.append(data)

    await asyncio.wait_for(world.node.serve(world.grant, read, write), WAIT)
    return b"".join(heard)


async def test_the_tunnel_serves_through_the_fence(world: World) -> None:
    frame = msgpack.packb({b"i": 1, b"m": b"destroy", b"a": {}}, use_bin_type=False)
    frames, heard = [frame, b""], []

    async def read(_n: int) -> bytes:
        return frames.pop(0)

    async def write(data: bytes) -> None:
        heard.append(data)

    await asyncio.wait_for(world.node.serve(world.grant, read, write), WAIT)
    assert b"InvalidRPCMethod" in b"".join(heard)
    assert world.refused() == "call of destroy"


async def test_what_a_lost_lease_still_does_leaves_the_next_one_alone(world: World) -> None:
    """A worker that lost its lease learns it late; its last heartbeat and its end must not touch its successor."""
    after = replace(world.grant, epoch=4)
    world.node.permit(after, 600)
    with world.client(epoch=4) as client:
        client.open(world.grant.path)
        world.node.permit(world.grant, 600)
        assert not world.node.shut_out(world.grant, 600)
        world.node.revoke(world.grant)
        await asyncio.sleep(2 * 1.0)  # the fence looks each second
        assert client.call("__len__") > 0
    world.node.revoke(after)
    assert world.client(epoch=4).close()[0] == 75


# -- the probe, and whether the fence fits --------------------------------------------------------------


def knock(world: World, command: str) -> RawClient:
    argv = ["/bin/sh", str(world.node.state_dir / "serve.sh"), str(world.node.state_dir), world.grant.server_id.hex]
    return RawClient(argv, {"PATH": "/usr/bin:/bin", "SSH_ORIGINAL_COMMAND": command})


def test_the_probe_answers_a_handshake_and_offers_nothing_else(world: World) -> None:
    before = listing(world.node.state_dir)
    with knock(world, "borgfleet-probe serve --umask=077") as client:
        with pytest.raises(RemoteError, match="DoesNotExist"):
            client.open("/borgfleet-probe")
        with pytest.raises(RemoteError, match="DoesNotExist"):
            client.open(world.grant.path, create=True)
        for name in ("put", "get", "destroy", "__len__", "load_key", "inject_exception"):
            with pytest.raises(RemoteError, match="InvalidRPCMethod"):
                client.call(name)
    assert not Path("/borgfleet-probe").exists()
    assert listing(world.node.state_dir) == before


def test_no_borg_can_make_or_fill_a_repository_by_the_probe(world: World) -> None:
    """The plain server did: `borg init` and `create` wrote to the node's root file system, without lease or limit."""
    rsh = f"sh -c 'SSH_ORIGINAL_COMMAND=\"borgfleet-probe serve\" exec sh {world.node.state_dir}/serve.sh {world.node.state_dir} {world.grant.server_id.hex}'"
    for path in ("/borgfleet-probe", world.grant.path, str(world.directory / "new")):
        commands = [["init", "-e", "none", f"ssh://node{path}"], ["create", f"ssh://node{path}::a", str(SCRIPTS)]]
        answers = borg_many(commands, world.directory / "client", passphrase="x", BORG_RSH=rsh)
        assert all(status != 0 for status, _ in answers), answers
        assert "does not exist" in answers[1][1]
    assert not Path("/borgfleet-probe").exists()
    assert not (world.directory / "new").exists()


def test_another_servers_key_reaches_nothing_though_the_lease_is_current(world: World) -> None:
    argv = ["/bin/sh", str(world.node.state_dir / "serve.sh"), str(world.node.state_dir), new_id().hex]
    command = f"borgfleet-{world.grant.token} serve"
    with RawClient(argv, {"PATH": "/usr/bin:/bin", "SSH_ORIGINAL_COMMAND": command}) as client, pytest.raises(Gone):
        client.open(world.grant.path)
    assert client.process.returncode == 77


def listing(directory: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_size) for path in directory.rglob("*") if path.is_file())


def test_a_probe_that_is_held_open_ends(world: World) -> None:
    client = knock(world, "borgfleet-probe serve")
    client.negotiate()
    assert client.process.wait(WAIT) != 0
    client.close()


@pytest.mark.parametrize(
    "command",
    ["", "id", "borg serve", "borgfleet-probe", "borgfleet-;id serve", "borgfleet-../../x-1 serve", "borgfleet- serve",
     "borgfleet-$(id) serve", "borgfleet-probe/../x serve"],
)  # fmt: skip
def test_the_servers_key_runs_nothing_but_sessions(world: World, command: str) -> None:
    assert knock(world, command).close()[0] == 77


def test_the_endpoint_serves_a_session_through_the_fence(world: World) -> None:
    with knock(world, f"borgfleet-{world.grant.token} serve --umask=000 --debug --lock-wait=x") as client:
        client.open(world.grant.path)
        with pytest.raises(RemoteError, match="InvalidRPCMethod"):
            client.call("destroy")
    assert world.refused() == "call of destroy"


def test_a_borg_that_the_fence_does_not_fit_serves_nothing(world: World) -> None:
    fence = fencing.script(world.node.state_dir, "fence.py")
    assert fencing.require_fit(world.node.borg, world.node.python, fence) == "1.4.5"
    server = fence.with_name("fence_check.py")
    server.write_text(server.read_text().replace('("self", "id", "data", "wait")', '("self", "id", "data")'))
    with pytest.raises(Exception, match=r"Repository\.put is another") as caught:
        fencing.require_fit(world.node.borg, world.node.python, fence)
    assert caught.value.code == "fence_unfit"
    with knock(world, f"borgfleet-{world.grant.token} serve") as client:
        with pytest.raises(Gone):
            client.open(world.grant.path)
        assert "does not fit" in client.process.stderr.read().decode()  # type: ignore[union-attr] - it was opened with a pipe
