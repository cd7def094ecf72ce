"""What is not measured counts as not tested; what is measured twice takes twice as long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import coverage
import pytest

from tests.harness.measuring import PROCESS, Measuring, measured
from tests.harness.untraced import untraced

ROOT = Path(__file__).parents[3]
E2E, UNIT = "tests/e2e/test_journey.py", "tests/unit/test_a.py"


@pytest.mark.parametrize(
    ("path", "marks", "parameters", "expected"),
    [
        (UNIT, [], None, True),
        (UNIT, [], {"db": "sqlite", "bus": "memory"}, True),
        (UNIT, [], {"db": "mariadb"}, False),
        (UNIT, [], {"bus": "jetstream"}, False),
        (UNIT, [], {"seconds": 3, "names": ["mariadb"]}, True),
        (UNIT, ["slow"], None, True),
        (UNIT, ["unmeasured"], None, False),
        (UNIT, ["measured"], {"db": "mariadb"}, True),
        (UNIT, ["measured", "unmeasured"], None, True),  # the nearest is the first
        (UNIT, ["slow", "unmeasured", "measured"], None, False),
        (E2E, [], None, False),
        (E2E, [], {"db": "sqlite"}, False),
        (E2E, ["measured"], None, True),
        ("tests/e2e_like/test_a.py", [], None, True),
    ],
)
def test_each_line_is_measured_where_it_is_cheapest(
    path: str, marks: list[str], parameters: dict[str, Any] | None, expected: bool
) -> None:
    item: Any = SimpleNamespace(
        path=ROOT / path,
        config=SimpleNamespace(rootpath=ROOT),
        iter_markers=lambda: [SimpleNamespace(name=name) for name in marks],
    )
    if parameters is not None:
        item.callspec = SimpleNamespace(params=parameters)
    assert measured(item) is expected


WORK = "def first():\n    return 1\n\n\ndef second():\n    return 2\n\n\ndef third():\n    return 3\n"
CHILD = "import work; work.{}()"
STORY = f"""
import json, os, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
import work
from tests.harness.measuring import PROCESS, Measuring

def child(name):
    subprocess.run([sys.executable, "-c", {CHILD!r}.format(name)], check=True)
    return PROCESS in os.environ

def in_the_pool(work):
    return pool.submit(work).result()

measuring = Measuring()
pool = ThreadPoolExecutor(1)
told = [child("first")]
measuring.turn(on=False)
measuring.turn(on=False)
told.append(child("second"))
work.second()
in_the_pool(work.second)
measuring.turn(on=True)
measuring.turn(on=True)
third = {{"in a child": lambda: child("third"), "here": work.third, "in a pool": lambda: in_the_pool(work.third)}}
told.append(third[sys.argv[1]]())
measuring.turn(on=False)
in_the_pool(work.second)
print(json.dumps(told))
"""


@pytest.mark.parametrize("where", ["in a child", "here", "in a pool"])
def test_what_runs_while_it_is_off_is_not_measured_and_the_rest_is_programs_that_are_started_too(
    tmp_path: Path, where: str
) -> None:
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "story.py").write_text(STORY)
    (tmp_path / "rc").write_text(
        "[run]\nparallel = true\npatch = subprocess\nsource_dirs = .\ndisable_warnings = already-imported\n"
    )
    environment = untraced(os.environ) | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    argv = [sys.executable, "-m", "coverage", "run", "--rcfile=rc", "story.py", where]
    done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [bool(one) for one in json.loads(done.stdout)] == [True, False, True]
    assert measured_lines(tmp_path) == {2, 10} | {1, 5, 9}


def measured_lines(directory: Path) -> set[int]:
    lines: set[int] = set()
    for file in directory.glob(".coverage.*"):
        data = coverage.CoverageData(basename=str(file))
        data.read()
        lines |= set(data.lines(str(directory / "work.py")) or ())
    return lines


def test_without_a_measurement_it_starts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage.Coverage, "current", lambda: None)
    monkeypatch.delenv(PROCESS, raising=False)
    measuring = Measuring()
    for on in (True, False, True):
        measuring.turn(on=on)
        assert PROCESS not in os.environ
