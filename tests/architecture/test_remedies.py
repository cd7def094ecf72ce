"""Every error says what to do: no error of ours is made anywhere without a remedy."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

from shared.errors import AppError

ROOT = Path(__file__).parents[2]
SCRIPTS = ("fence.py", "fence_check.py", "fencing.py")
"""Run by borg's own Python, without the rest of Borgfleet: they cannot make our errors."""


def errors_made(tree: ast.AST, names: dict[str, object]) -> Iterator[tuple[ast.Call, type[AppError]]]:
    """Yield each call in a module that makes an error of ours, by whatever name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            kind = names.get(node.func.id)
            if isinstance(kind, type) and issubclass(kind, AppError):
                yield node, kind


def has_remedy(call: ast.Call, kind: type[AppError]) -> bool:
    if kind.default_remedy or ("__init__" in vars(kind) and kind.__module__ != AppError.__module__):
        return True  # it brings its own; the second is asked below
    given = [keyword.value for keyword in call.keywords if keyword.arg in ("remedy", None)]
    return bool(given) and not (isinstance(given[0], ast.Constant) and not given[0].value)


def test_no_error_is_made_without_a_remedy() -> None:
    without, made = [], 0
    for package in ("borgfleet", "services", "shared"):
        for file in sorted((ROOT / package).rglob("*.py")):
            if "migrations" in file.parts or file.name in ("__main__.py", *SCRIPTS):
                continue
            module = importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
            for call, kind in errors_made(ast.parse(file.read_text()), vars(module)):
                made += 1
                if not has_remedy(call, kind):
                    without.append(f"{file.relative_to(ROOT)}:{call.lineno}: {ast.unparse(call)[:100]}")
    assert without == []
    assert made > 100


def test_an_error_with_a_constructor_of_its_own_has_its_own_remedy() -> None:
    def kinds(of: type[AppError]) -> Iterator[type[AppError]]:
        for kind in of.__subclasses__():
            yield kind
            yield from kinds(kind)

    for kind in kinds(AppError):
        if "__init__" in vars(kind) and kind.__module__ != AppError.__module__:
            source = (ROOT / f"{kind.__module__.replace('.', '/')}.py").read_text()
            body = next(
                n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ClassDef) and n.name == kind.__name__
            )
            assert "remedy=" in ast.unparse(body), kind
