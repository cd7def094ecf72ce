"""What an attacker with a server's real key tries in raw frames; each must be refused or left out, and be seen.

Each attack has its own session, opened already, and fails where the fence let it pass.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from tests.harness.rpc import MANIFEST, Gone, RawClient, RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable


class LetPass(Exception):
    """The fence did what it must not."""


def _refused(client: RawClient, method: str, **arguments: Any) -> None:
    try:
        client.call(method, **arguments)
    except RemoteError:
        return
    raise LetPass(method)


def what_is_not_offered(client: RawClient) -> None:
    """Call what is no client's business."""
    calls: dict[str, dict[str, Any]] = {
        "destroy": {}, "save_key": {"keydata": b"BORG_KEY x"}, "break_lock": {}, "check": {"repair": True},
        "inject_exception": {"kind": b"divide"}, "scan": {"limit": 1, "marker": None}, "compact_segments": {},
    }  # fmt: skip
    for name, arguments in calls.items():
        _refused(client, name, **arguments)


def nonces_raised(client: RawClient) -> None:
    """Reserve nonces up to where no honest client could go on."""
    free = client.call("get_free_nonce")
    for wanted in (2**63, free + 2**32 + 1, free - 1, -1):
        _refused(client, "commit_nonce_reservation", next_unreserved=wanted, start_nonce=free)


def all_objects_deleted(client: RawClient) -> None:
    """Delete whatever is there, and commit."""
    for object_id in client.ids():
        _refused(client, "delete", id=object_id)
    client.call("put", id=MANIFEST, data=client.call("get", id=MANIFEST))
    client.call("commit", save_space=False)


def all_objects_overwritten(client: RawClient) -> None:
    """Put other bytes under the ids of what is there, and commit."""
    for object_id in client.ids():
        if object_id != MANIFEST:
            client.call("put", id=object_id, data=os.urandom(100))
    client.call("commit", save_space=False)


def another_repository(client: RawClient) -> None:
    """Go on to somebody else's repository in the same session."""
    for path in ("/etc", "/tmp/borgfleet/pool/other", "../other", ""):
        _refused(client, "open", path=path, create=False, lock_wait=1, lock=True, exclusive=True, append_only=False)


def a_huge_frame(client: RawClient) -> None:
    """Announce more than memory holds, and send until the session ends."""
    with contextlib.suppress(Gone):
        client.send(b"\xc6\xff\xff\xff\xff" + bytes(80 << 20))
    try:
        client.answer()
    except Gone:
        return
    message = "a frame of 4 GiB"
    raise LetPass(message)


ATTACKS: dict[str, Callable[[RawClient], None]] = {
    "what is not offered": what_is_not_offered,
    "all objects deleted": all_objects_deleted,
    "all objects overwritten": all_objects_overwritten,
    "nonces raised": nonces_raised,
    "another repository": another_repository,
    "a huge frame": a_huge_frame,
}
