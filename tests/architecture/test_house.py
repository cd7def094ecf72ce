"""The house numbers: sizes, comments, docstrings, blanket excepts, ignores with reasons, one door per library."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from borgfleet.registry import SERVICES
from shared.runtime.crashpoint import crashpoint

ROOT = Path(__file__).resolve().parents[2]
OURS = ("borgfleet", "services", "shared")
FILES = [
    file
    for package in OURS
    for file in sorted((ROOT / package).rglob("*.py"))
    if "migrations/versions" not in str(file)
]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[Path, Function]]:
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, Function):
                yield file, node


def length(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_function_is_over_60_lines_and_most_are_short() -> None:
    long = [f"{file}:{node.lineno} {node.name} {length(node)}" for file, node in functions() if length(node) > 60]
    assert long == []
    lengths = sorted(length(node) for _, node in functions())
    assert statistics.median(lengths) <= 10
    assert lengths[int(len(lengths) * 0.9)] <= 35


def test_no_file_is_over_400_lines_and_most_are_short() -> None:
    lengths = {file: len(file.read_text().splitlines()) for file in FILES}
    assert {file: n for file, n in lengths.items() if n > 400} == {}
    assert statistics.median(lengths.values()) <= 90


def test_comments_are_few_and_each_module_says_what_it_is() -> None:
    code = comments = 0
    for file in FILES:
        lines = [line.strip() for line in file.read_text().splitlines()]
        assert ast.get_docstring(ast.parse(file.read_text())), f"{file} has no docstring"
        comments += sum("#" in line and not line.startswith(('"', "'")) for line in lines)
        code += sum(bool(line) and not line.startswith("#") for line in lines)
    assert comments / code <= 0.06


def test_everything_is_caught_in_exactly_one_place() -> None:
    # The kernel needs none: it looks at how a task ended instead of catching.
    blanket = [
        file.relative_to(ROOT).as_posix()
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
    ]
    assert blanket == ["shared/runtime/supervisor.py"]


def test_every_ignore_has_a_code_and_a_reason() -> None:
    bad = []
    for file in FILES:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if re.search(r"#\s*(noqa|type: ignore|pyright: ignore)", line) and not re.search(
                r"# (noqa: [A-Z]+\d+(, [A-Z]+\d+)*|pyright: ignore\[\w+\]) - \S+|# ruff: noqa: \w+ - \S+", line
            ):
                bad.append(f"{file}:{number}")
    assert bad == []


@pytest.mark.parametrize(
    ("library", "doors"),
    [
        ("nats", ["shared/bus/jetstream.py", "shared/bus/streams.py"]),
        ("asyncssh", ["shared/ssh/asyncssh.py"]),
        ("cryptography", ["shared/secrets/borg_key.py", "shared/secrets/envelope.py"]),
        ("aiomysql", ["shared/db/encrypted.py"]),
        ("httpx2", ["borgfleet/cli/client.py", "shared/notify/child.py"]),
        ("apprise", ["shared/notify/child.py"]),
    ],
)
def test_each_library_has_one_door(library: str, doors: list[str]) -> None:
    importing = [
        file.relative_to(ROOT).as_posix()
        for file in FILES
        if re.search(rf"^\s*(import {library}\b|from {library}[. ])", file.read_text(), re.MULTILINE)
    ]
    assert importing == doors


def test_our_top_level_names_belong_to_our_distribution_alone() -> None:
    owners = packages_distributions()
    for package in OURS:
        assert set(owners.get(package, [])) <= {"borgfleet"}


def test_every_service_has_its_fixed_files() -> None:
    for name in SERVICES:
        assert (ROOT / "services" / name / "service.py").is_file()
    for name in ("backup", "setup", "stats"):
        for file in ("handlers.py", "ports.py"):
            assert (ROOT / "services" / name / file).is_file()


def test_compose_runs_every_service_of_the_registry_and_no_other() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    commands = [service.get("command") for service in compose["services"].values()]
    run = {command[2] for command in commands if command and command[:2] == ["borgfleet", "run"]}
    assert run == set(SERVICES)
    assert {"nats", "mariadb", "node", "migrate"} <= set(compose["services"])
    for name, service in compose["services"].items():
        assert "healthcheck" in service, name
    assert "sync_interval: always" in (ROOT / "deploy/nats/nats.conf").read_text()


def test_no_crash_point_is_armed_without_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BORGFLEET_CRASH_AT", raising=False)
    crashpoint("after_commit_before_ack")
