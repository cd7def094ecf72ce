"""Whether the node's borg still is what the fence was built on: its version, its methods, and a trial."""

from __future__ import annotations

import importlib
import inspect
import itertools
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# borg has no types; fence_server.py lies beside this script.
_fence: Any = importlib.import_module("fence_server")
_archiver: Any = importlib.import_module("borg.archiver")
_helpers: Any = importlib.import_module("borg.helpers")
_remote: Any = importlib.import_module("borg.remote")
_repository: Any = importlib.import_module("borg.repository")
_Repository: Any = _repository.Repository
_Server: Any = _remote.RepositoryServer

VERSION: str = importlib.import_module("borg").__version__
_OLDEST, _NEWEST = (1, 4, 5), (1, 5)
_RELIED_ON: tuple[tuple[Any, str, tuple[str, ...]], ...] = (
    (_Repository, "open", ("self", "path", "exclusive", "lock_wait", "lock")),
    (_Repository, "put", ("self", "id", "data", "wait")),
    (_Repository, "get", ("self", "id")),
    (_Repository, "delete", ("self", "id", "wait")),
    (_Repository, "prepare_txn", ("self", "transaction_id", "do_cleanup")),
    (_Repository, "get_transaction_id", ("self",)),
    (_Repository, "get_free_nonce", ("self",)),
    (_Repository, "commit_nonce_reservation", ("self", "next_unreserved", "start_nonce")),
    (_Repository, "close", ("self",)),
    (_repository.LoggedIO, "get_segments_transaction_id", ("self",)),
    (_Server, "__init__", ("self", "restrict_to_paths", "restrict_to_repositories", "append_only", "storage_quota")),
    (_Server, "serve", ("self",)),
    (_Server, "filter_args", ("self", "f", "kwargs")),
    (_Server, "_resolve_path", ("self", "path")),
    (_Server, "open",
     ("self", "path", "create", "lock_wait", "lock", "exclusive", "append_only", "make_parent_dirs")),
)  # fmt: skip
_SAID = (
    (_Server.serve, "if method not in self.rpc_methods:"),
    (_Server.serve, "args = self.filter_args(f, args)"),
    (_Server.open, "self.repository = Repository("),
    (_archiver.Archiver.do_serve, "RepositoryServer("),
)
"""Where borg must go on asking what we put in its way."""


def differences() -> list[str]:
    """Return in what this borg is not the one that the fence was built on; empty when it fits."""
    wrong: list[str] = []
    if not _OLDEST <= tuple(int(part) for part in VERSION.split(".") if part.isdigit()) < _NEWEST:
        wrong.append(f"version {VERSION}, not 1.4.5 or a later 1.4")
    for owner, name, parameters in _RELIED_ON:
        found = getattr(owner, name, None)
        if found is None or tuple(inspect.signature(found).parameters) != parameters:
            wrong.append(f"{owner.__name__}.{name} is another")
    wrong += [f"{where.__qualname__} lacks {text!r}" for where, text in _SAID if text not in _source_of(where)]
    if _helpers.Manifest.MANIFEST_ID != _fence.MANIFEST or not set(_Server.rpc_methods) >= _fence.OFFERED:
        wrong.append("the manifest's id or the calls are others")
    return wrong


def _source_of(function: Any) -> str:
    """Return a function's lines; empty where its file cannot be read.

    Every session asks. `inspect.getsource` splits the whole file and takes the function apart into its tokens, which
    costs as much as all else that the fence does.
    """
    code = inspect.unwrap(function).__code__
    last = max(line for _, _, line in code.co_lines() if line is not None)
    try:
        with Path(code.co_filename).open("rb") as file:
            return b"".join(itertools.islice(file, code.co_firstlineno - 1, last)).decode()
    except (OSError, UnicodeDecodeError):
        return ""


_FAR = b"\x03" + bytes(32) + (1 << 50).to_bytes(8, "big") + bytes(64)


class _Trial:
    """A report that counts, for the trial."""

    def __init__(self) -> None:
        self.count = 0
        self.enough = False

    def refused(self, _what: str) -> None:
        self.count += 1

    def left_out(self, _object_id: bytes, _data: bytes) -> None:
        self.count += 1


def trial() -> list[str]:
    """Try the fence on a repository of its own; return what it let through."""
    importlib.import_module("borg.logger").setup_logging(level="critical", is_serve=True)
    directory = tempfile.mkdtemp(prefix="borgfleet-fence-")
    try:
        return _tried(str(Path(directory) / "trial"))
    finally:
        shutil.rmtree(directory)


def self_test() -> list[str]:
    """Have borg try its ciphers, hashes and chunker: the node's commands leave that out; return what failed."""
    try:
        importlib.import_module("borg.selftest").selftest(logging.getLogger("borgfleet"))
    except SystemExit:
        return ["its self-test failed: borg, its packages or this machine's hardware are damaged"]
    return []


def _tried(path: str) -> list[str]:
    old, new = b"\1" * _fence.ID_BYTES, b"\2" * _fence.ID_BYTES
    with _Repository(path, create=True, exclusive=True, append_only=True) as repository:
        repository.put(old, b"first")
        repository.commit(compact=False)
    report = _Trial()
    server = _fence.fenced(path, None, report)()
    attempts: dict[str, Callable[[], object]] = {
        "open to create": lambda: server.open(path, create=True),
        "open of another repository": lambda: server.open("/"),
        "destroy": lambda: "destroy" in server.rpc_methods,
        "save_key": lambda: "save_key" in server.rpc_methods,
    }
    replacing: dict[str, Callable[[], object]] = {"replacing": lambda: server.repository.put(old, b"second")}
    inside: dict[str, Callable[[], object]] = {
        "deleting": lambda: server.repository.delete(old),
        "deleting the manifest": lambda: server.repository.delete(_fence.MANIFEST),
        "a manifest with a nonce that is not given out": lambda: server.repository.put(_fence.MANIFEST, _FAR),
        "raising nonces": lambda: server.repository.commit_nonce_reservation(_fence.NONCES + 1, None),
    }
    wrong = _let_through(attempts, report)
    server.open(path)
    try:
        server.repository.put(new, b"ours")
        wrong += _let_through(replacing, report)
        if server.repository.get(old) != b"first":
            wrong.append("an object from before was replaced")
        wrong += _let_through(inside, report)
        server.repository.put(new, b"ours again")
        server.repository.delete(new)
        server.repository.commit(compact=False)
    finally:
        server.repository.close()
    return wrong


def _let_through(attempts: dict[str, Callable[[], object]], report: _Trial) -> list[str]:
    through: list[str] = []
    for name, attempt in attempts.items():
        before = report.count
        try:
            attempt()
        except _fence.Refused:
            continue
        if report.count == before:
            through.append(f"{name} is let through")
    return through
