"""borg's own server and repository, with less on offer: a client adds objects, and changes only what it added itself.

Built on borg 1.4.5; fence_check.py tells whether another borg still is what this relies on.
"""

# borg has no types, and we stand on its classes:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import importlib
import inspect
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_archiver: Any = importlib.import_module("borg.archiver")
_key: Any = importlib.import_module("borg.crypto.key")
_helpers: Any = importlib.import_module("borg.helpers")
_remote: Any = importlib.import_module("borg.remote")
_repository: Any = importlib.import_module("borg.repository")
_msgpack: Any = importlib.import_module("msgpack")
_Repository: Any = _repository.Repository
_Server: Any = _remote.RepositoryServer

MANIFEST = bytes(32)
ID_BYTES = 32
_LOCK_WAIT = 60
NONCES = 1 << 32
"""How far one reservation may raise the counter: borg asks for 2^28 blocks of 16 bytes at a time."""
_REFUSED = 77
_NONCE = slice(33, 41)
"""Where an encrypted object says from which nonce on it is encrypted: after its type and its MAC, in the clear."""
_WITH_NONCE = frozenset(
    kind.TYPE for kind in (*_key.AVAILABLE_KEY_TYPES, _key.PassphraseKey)
    if issubclass(kind, _key.AESKeyBase) and not issubclass(kind, _key.AuthenticatedKeyBase)
)  # fmt: skip
OFFERED = frozenset(
    {"__len__", "commit", "delete", "get", "list", "negotiate", "open", "put", "rollback", "load_key",
     "get_free_nonce", "commit_nonce_reservation"}
)  # fmt: skip
_PROBED = frozenset({"negotiate", "open"})
_MALFORMED = (
    _helpers.msgpack.UnpackException, _msgpack.exceptions.UnpackException, _remote.UnexpectedRPCDataFormatFromClient,
    AttributeError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip
"""What leaves borg's loop where a frame is none of its protocol."""


class Refused(_helpers.Error):
    """Borgfleet does not offer this to a server: {}."""


class FencedRepository(_Repository):
    """A repository in which what was committed before this session stays as it is.

    "Before" is the last committed transaction, read once the lock is held; not the highest segment: a run cut short
    leaves segments without a commit, whose numbers borg uses again.
    """

    refuse: Callable[[str], NoReturn]
    left_out: Callable[[bytes, bytes], None]
    before = -1
    nonce_before: int | None = None
    """From where the manifest of before this session is encrypted, and by which key; None where it says neither."""
    kind_before: int | None = None

    def open(self, path: str, exclusive: bool, lock_wait: float | None = None, lock: bool = True) -> None:
        """Open, and note where this session begins."""
        super().open(path, exclusive, lock_wait=lock_wait, lock=lock)
        committed = self.io.get_segments_transaction_id()
        self.before = -1 if committed is None else committed
        self._note_manifest()

    def put(self, id: bytes, data: bytes, wait: bool = True) -> None:  # noqa: A002 - borg's clients give arguments by name
        """Store an object; one that is there from before is answered and left out, and reported."""
        if not isinstance(id, bytes) or len(id) != ID_BYTES or not isinstance(data, bytes):  # pyright: ignore[reportUnnecessaryIsInstance] - they come from the client
            self.refuse("put of what is no object")
        if id == MANIFEST:
            self._require_reserved(data)
        elif self._is_from_before(id):
            self.left_out(id, data)
            return
        super().put(id, data, wait)

    def delete(self, id: bytes, wait: bool = True) -> None:  # noqa: A002 - as above
        """Delete an object that this session wrote; borg needs that for its checkpoints."""
        if id == MANIFEST:
            self.refuse("delete of the manifest")
        if not isinstance(id, bytes) or len(id) != ID_BYTES:  # pyright: ignore[reportUnnecessaryIsInstance] - as above
            self.refuse("delete of what is no object")
        if self._is_from_before(id):
            self.refuse(f"delete of an object from before: {id.hex()}")
        super().delete(id, wait)

    def commit_nonce_reservation(self, next_unreserved: int, start_nonce: int | None) -> None:
        """Raise the counter of the encryption by a step that borg takes; never lower it."""
        now = self.get_free_nonce() or 0
        if self.nonce_before is not None and self.nonce_before > now + NONCES:
            # Whoever wrote that manifest asked for it, not this client: borg counts on from what it finds there.
            message = (
                f"the list of archives counts from nonce {self.nonce_before}, only {now} are given out; recover it"
            )
            raise Refused(message)
        if type(next_unreserved) is not int or not now <= next_unreserved <= now + NONCES:
            self.refuse(f"nonces from {now} to {next_unreserved!r:.40}")
        super().commit_nonce_reservation(next_unreserved, start_nonce)

    def _require_reserved(self, data: bytes) -> None:
        """Refuse a manifest that no honest client writes: every later client counts on from its nonce.

        borg reserves nonces in the repository before it uses them, so a manifest never has one that is not given out.
        """
        kind = data[0] if data else None
        if kind is None or (self.kind_before is not None and kind != self.kind_before):
            self.refuse(f"a manifest of another kind: {kind}")
        if kind in _WITH_NONCE:
            nonce, free = _nonce(data), self.get_free_nonce() or 0
            if nonce is None or nonce > free:
                self.refuse(f"a manifest with the nonce {nonce}, while {free} are given out")

    def _note_manifest(self) -> None:
        try:
            stored = cast("bytes", super().get(MANIFEST))
        except (_helpers.Error, _helpers.IntegrityError, OSError):  # none, or none that can be read
            return
        if stored[:1] and stored[0] in _WITH_NONCE:
            self.nonce_before = _nonce(stored)
        self.kind_before = stored[0] if stored else None

    def _is_from_before(self, object_id: bytes) -> bool:
        if not self._active_txn:
            self.prepare_txn(self.get_transaction_id())
        place = self.index.get(object_id)
        return place is not None and place[0] <= self.before


def _nonce(sealed: bytes) -> int | None:
    """Return from where an encrypted object is encrypted; None where it is too short to say."""
    found = sealed[_NONCE]
    return int.from_bytes(found, "big") if len(found) == _NONCE.stop - _NONCE.start else None


class _Offered:
    """What a client may call; borg's loop asks with `in`, so that is where a refusal is seen."""

    def __init__(self, names: frozenset[str], refused: Callable[[str], None]) -> None:
        self._names = names
        self._refused = refused

    def __contains__(self, name: str) -> bool:
        if name not in self._names:
            self._refused(f"call of {name}")
        return name in self._names


class FencedServer(_Server):
    """Serves one repository to one client."""

    path = ""
    quota: int | None = None
    report: Any = None

    def __init__(self, **_by_borg: object) -> None:
        """Take nothing from the command line: what is served is the grant's."""
        super().__init__(
            restrict_to_paths=None,
            restrict_to_repositories=[self.path],
            append_only=True,
            storage_quota=self.quota,
        )
        self.rpc_methods = _Offered(OFFERED, self._note)
        self._parameters: dict[str, frozenset[str]] = {}

    def serve(self) -> None:
        """Serve until the client goes; give the lock back however that comes."""
        try:
            super().serve()
        except _MALFORMED as error:
            self.report.refused(f"a malformed message: {type(error).__name__}")
            sys.exit(_REFUSED)
        finally:
            self._close()

    def open(self, path: str | bytes, create: bool = False, lock_wait: object = None, lock: bool = True) -> bytes:
        """Open the one repository that is there, append-only whatever else a client says; anything else is refused."""
        if self.repository is not None:
            self.refuse("open for the second time")
        if create or not lock:
            self.refuse("open to create" if create else "open without a lock")
        if not self._is_ours(path):
            self.refuse(f"open of another repository: {path!r:.150}")
        seconds = lock_wait if isinstance(lock_wait, int) and 0 <= lock_wait <= _LOCK_WAIT else _LOCK_WAIT
        # Always exclusive: nobody else may write between the start of the session and its end.
        return super().open(self.path, lock_wait=seconds, lock=True, exclusive=True)

    def filter_args(self, f: Callable[..., object], kwargs: dict[str, object]) -> dict[str, object]:
        """Return the arguments that a method knows; the signatures are kept, since borg asks for one at each call."""
        known = self._parameters.get(f.__name__)
        if known is None:
            known = self._parameters[f.__name__] = frozenset(inspect.signature(f).parameters)
        return {name: kwargs[name] for name in kwargs if name in known}

    def refuse(self, what: str) -> NoReturn:
        """Note a refusal and raise it."""
        self._note(what)
        raise Refused(what)

    def _note(self, what: str) -> None:
        self.report.refused(what)
        if self.report.enough:
            self._close()
            os._exit(_REFUSED)  # an exception would be answered, and the client could go on

    def _is_ours(self, path: str | bytes) -> bool:
        try:
            return self._resolve_path(path) == os.path.realpath(self.path)
        except (AttributeError, TypeError, ValueError):
            return False

    def _close(self) -> None:
        if self.repository is not None:
            self.repository.close()


class ProbeServer(_Server):
    """Answers a handshake, and says of any repository that it is not there."""

    def __init__(self, **_by_borg: object) -> None:
        """Take nothing from the command line."""
        super().__init__(restrict_to_paths=None, restrict_to_repositories=None, append_only=True, storage_quota=None)
        self.rpc_methods = _PROBED

    def open(self, path: object = "") -> NoReturn:
        """Say that it is not there, without looking."""
        raise _Repository.DoesNotExist(str(path)[:200])


def run(argv: Sequence[str], *, path: str, quota: int | None, report: Any) -> None:
    """Let borg's main serve with our classes; without a report it is the probe's server."""
    _archiver.RepositoryServer = ProbeServer if report is None else fenced(path, quota, report)
    sys.argv = ["borg", *argv]
    _archiver.main()


def fenced(path: str, quota: int | None, report: Any) -> Any:
    """Return the server's class for one repository, and let borg open fenced repositories."""

    class Server(FencedServer):
        def __init__(self, **by_borg: object) -> None:
            super().__init__(**by_borg)
            FencedRepository.refuse = staticmethod(self.refuse)
            FencedRepository.left_out = staticmethod(report.left_out)

    Server.path, Server.quota, Server.report = path, quota, report
    _remote.Repository = FencedRepository
    return Server
