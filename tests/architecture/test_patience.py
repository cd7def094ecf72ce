"""No test waits with a short deadline: a machine that is eight times slower is not a fault of the product."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.harness.patience import WAIT

ROOT = Path(__file__).resolve().parents[2]
FILES = [file for file in sorted((ROOT / "tests").rglob("*.py")) if "benchmarks" not in file.parts]
WAITS = {"timeout": 0, "wait_for": 1, "fail_after": 0, "until": 2, "wait_for_listener": 2}
"""Called names -> where their deadline stands among the arguments."""
SHORTEST = 120
ON_PURPOSE = "# short on purpose: "
"""What a line says, with the reason, whose deadline is to be met: it tests a limit, or that something does not end."""


def deadlines(file: Path) -> Iterator[tuple[int, float]]:
    """Yield line and seconds of each literal deadline."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = [word.value for word in node.keywords if word.arg == "timeout"]
        if name in WAITS and len(node.args) > WAITS[name]:
            given.append(node.args[WAITS[name]])
        for value in given:
            if isinstance(value, ast.Constant) and isinstance(value.value, (int, float)):
                yield value.lineno, value.value


def test_no_deadline_of_a_test_is_shorter_than_a_slow_machine_needs() -> None:
    short = []
    for file in FILES:
        lines = file.read_text().splitlines()
        short += [
            f"{file.relative_to(ROOT)}:{line}: {seconds:g} s"
            for line, seconds in deadlines(file)
            if seconds < SHORTEST and ON_PURPOSE not in lines[line - 1]
        ]
    assert short == [], "use WAIT of tests.harness.patience, or say on the line why it is short on purpose"
    assert WAIT >= SHORTEST
