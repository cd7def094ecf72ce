"""A pool's files are read through one door, in a thread apart: one that hangs must stop no heartbeat of the node."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICE = sorted((ROOT / "services" / "backup").rglob("*.py"))
BLOCKING = {
    "segments": {"last_transaction", "history", "originals", "manifest", "highest", "segments", "entries", "read"},
    "vault": {"exported_key", "keep_manifest", "kept_manifests"},
}
"""What of shared.borg reads files, by module."""
OF_FILES = {
    "exists", "is_dir", "is_file", "is_mount", "stat", "lstat", "iterdir", "glob", "rglob", "open", "read_text", "read_bytes",
    "write_text", "write_bytes", "mkdir", "unlink", "rename", "replace", "rmdir", "resolve", "statvfs", "listdir", "scandir",
    "walk", "fsync", "rmtree",
}  # fmt: skip
ELSEWHERE = {"endpoint.py", "apart.py"}
"""They read the node's own state and settings alone."""


def asynchronous(tree: ast.AST) -> Iterator[ast.AST]:
    """Return what runs in the event loop: bodies of coroutines, without the functions made in them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef):
            yield from _own(node.body)


def _own(nodes: list[ast.stmt]) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = list(nodes)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.Lambda | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            waiting += ast.iter_child_nodes(node)


def blocking(tree: ast.AST) -> list[str]:
    """Return the calls in coroutines that read files by themselves, and what of it is given to the pool of threads."""
    blocking_here = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and _reads(call)
    }
    found = []
    for node in asynchronous(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if (
                _reads(node)
                or name in blocking_here
                or (name.endswith("to_thread") and "rmtree" not in ast.unparse(node))
            ):
                found.append(f"{node.lineno}: {ast.unparse(node)[:80]}")
    return found


def _reads(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in ("open", "borg_id_of", "claim_pool", "read_mark")
    if not isinstance(call.func, ast.Attribute):
        return False
    owner, name = ast.unparse(call.func.value), call.func.attr
    if owner in BLOCKING:
        return name in BLOCKING[owner]
    about_files = any(word in owner.lower() for word in ("path", "os", "shutil", "pool", "file", "config"))
    return name in OF_FILES and about_files and not owner.startswith(("commands", "self._"))


@pytest.mark.parametrize("file", SERVICE, ids=lambda file: file.name)
def test_no_coroutine_of_the_backup_service_reads_files_in_the_event_loop(file: Path) -> None:
    if file.name not in ELSEWHERE:
        assert blocking(ast.parse(file.read_text())) == []


@pytest.mark.parametrize(
    ("code", "bad"),
    [
        ("async def f(p): Path(p.path).read_text()", True),
        ("async def f(p): return segments.last_transaction(p.path)", True),
        ("async def f(p): return await asyncio.to_thread(segments.history, p.path)", True),
        ("async def f(p): open(p.path)", True),
        ("def g(p): return os.listdir(p)\nasync def f(p): return g(p.path)", True),
        ("async def f(p):\n    with claim_pool(p): pass", True),
        ("def g(p): return os.listdir(p)\nasync def f(p): return await read(p, lambda _: g(p.path))", False),
        ("async def f(p): return await self._read(p, lambda a: segments.history(p.path, 1, alive=a))", False),
    ],
)
def test_it_sees_a_read_in_the_event_loop(code: str, bad: bool) -> None:
    assert bool(blocking(ast.parse(code))) is bad
