"""Each alert has a runbook that says what to do, and all that a runbook or a link of the documentation names exists."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from borgfleet.cli.app import app
from shared.domain.alerts import AlertKind
from tests.architecture.test_monitoring import names

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PLACE = "docs/operations/runbooks"
RUNBOOKS = {file.stem: file for file in sorted((ROOT / PLACE).glob("*.md")) if file.stem != "README"}
INDEX = ROOT / PLACE / "README.md"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for file in sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
SECTIONS = ["What it means", "Look", "Do", "It is over when"]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


every_page = pytest.mark.parametrize("page", [*RUNBOOKS.values(), INDEX], ids=lambda page: page.stem)


def test_every_alert_has_a_runbook_and_no_runbook_is_without_an_alert() -> None:
    assert set(RUNBOOKS) == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_names_its_runbook(alert: str) -> None:
    assert ALERTS[alert]["annotations"]["runbook"] == f"{PLACE}/{alert}.md"


@pytest.mark.parametrize("alert", RUNBOOKS)
def test_a_runbook_has_its_four_sections_and_is_short(alert: str) -> None:
    text = RUNBOOKS[alert].read_text()
    assert text.startswith(f"# {alert}\n")
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    assert parts[1::2] == SECTIONS
    bodies = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert all(body.strip() for body in bodies.values())
    assert re.match(r"\s*1\. ", bodies["Do"]), "what to do is a numbered list"
    assert 10 <= len([line for line in text.splitlines() if line.strip()]) <= 30


def test_the_index_lists_every_alert_with_its_severity() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \| .{10,} \|$", INDEX.read_text(), re.MULTILINE)
    assert rows == [(alert, alert, rule["labels"]["severity"]) for alert, rule in ALERTS.items()]


@cache
def anchors(file: Path) -> frozenset[str]:
    """What GitHub lets links point at in a page: its headings, the second of one name with a number."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", file.read_text()), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", LINK.sub(r"\1", heading).lower()).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return frozenset(found)


def broken_links(file: Path, text: str) -> list[str]:
    broken: list[str] = []
    for _, link in LINK.findall(FENCE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("file", DOCS, ids=lambda file: file.relative_to(ROOT / "docs").as_posix())
def test_every_relative_link_leads_somewhere(file: Path) -> None:
    assert broken_links(file, file.read_text()) == []


def test_a_link_to_no_file_or_to_no_heading_is_found() -> None:
    text = "[a](nowhere.md) [b](../monitoring.md#nothing) [c](#none) [d](../monitoring.md#alerts) [e](https://e.org/x)"
    assert broken_links(INDEX, text) == ["nowhere.md", "../monitoring.md#nothing", "#none"]


def code(text: str) -> Iterator[str]:
    """Every line of a block of code, and every piece of inline code."""
    for block in FENCE.findall(text):
        yield from block.replace("\\\n", " ").splitlines()[1:-1]
    prose = FENCE.sub("", text)
    yield from re.findall(r"^ {4}(borgfleet .+)$", prose, re.MULTILINE)
    yield from (re.sub(r"\s+", " ", piece) for piece in re.findall(r"`([^`]+)`", prose))


def commands(text: str) -> Iterator[list[str]]:
    """The words of every call of our own program, without what a shell would do with them.

    `[--json]` is one that may be left out, `list|show` stands for each.
    """
    for piece in code(text):
        if not re.search(r"(?<!-n )\bborgfleet ", piece):  # `kubectl -n`: a namespace
            continue
        words = shlex.split(re.sub(r"[\[\]]", "", piece), comments=True)
        rest = words[words.index("borgfleet") + 1 :] if "borgfleet" in words else []
        rest = rest[: next((n for n, word in enumerate(rest) if word in {"|", ">", "&&", ";"}), len(rest))]
        if rest:
            yield from map(list, product(*(word.split("|") for word in rest)))


@cache
def top() -> Any:
    return typer.main.get_command(app)


def wrong(words: list[str]) -> str:
    """Say what is wrong with a call, by the command line's own table of verbs; nothing is run."""
    command: Any = top()
    left = list(words)
    while hasattr(command, "list_commands"):
        if command.invoke_without_command and (not left or left[0].startswith("-")):
            break  # a verb of its own, which has further ones
        context = typer.Context(command)
        if not left or (found := command.get_command(context, left[0])) is None:
            return f"{' '.join(words)}: no such verb"
        command, left = found, left[1:]
    if not left:  # a verb that a sentence names: no call
        return ""
    options = {
        name: option
        for option in command.params
        if option.param_type_name == "option"
        for name in (*option.opts, *option.secondary_opts)
    }
    given = 0
    while left:
        word, _, value = left.pop(0).partition("=")
        if not word.startswith("-"):
            given += 1
        elif word not in options:
            return f"{' '.join(words)}: no option {word}"
        elif not options[word].is_flag and not value and not (left and left.pop(0)):
            return f"{' '.join(words)}: {word} has no value"
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    least = sum(param.required for param in arguments)
    most = float("inf") if any(param.nargs < 0 for param in arguments) else len(arguments)
    return "" if least <= given <= most else f"{' '.join(words)}: {given} arguments, not {least} to {most}"


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *(file for file in DOCS if file.parent.name != "adr")],  # decisions tell of their time
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_every_command_exists_with_these_options(page: Path) -> None:
    found = list(commands(page.read_text()))
    assert [said for words in found if (said := wrong(words))] == []


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("borgfleet repo check web1 system --depth data --budget=60", ""),
        ("docker compose exec stats borgfleet health --ready | head", ""),
        ("borgfleet server collect web1 web2 web3", ""),
        ("borgfleet user reset-password NAME [--link]", ""),
        ("borgfleet repo heal web1 system", "no such verb"),
        ("borgfleet pool list --problems", "no option --problems"),
        ("borgfleet repo check web1 system --depth", "--depth has no value"),
        ("borgfleet repo check --depth data", "0 arguments, not 2 to 2"),
        ("borgfleet repo check web1", "1 arguments, not 2 to 2"),
        ("borgfleet pool list main", "1 arguments, not 0 to 0"),
    ],
)
def test_a_command_that_does_not_exist_is_found(call: str, said: str) -> None:
    (words,) = commands(f"Look with `borgfleet`: `{call}`.")
    assert wrong(words).endswith(said)
    assert bool(wrong(words)) == bool(said)
    on_two_lines = call.replace(" ", "\n", 1)
    continued = call.replace(" ", " \\\n    ", 1)
    assert list(commands(f"`kubectl -n borgfleet logs x`, `{on_two_lines}`")) == [words]
    assert list(commands(f"```sh\n{continued}  # why\n```")) == [words]


@every_page
def test_every_path_of_the_api_exists(page: Path) -> None:
    paths = json.loads((ROOT / "docs/openapi.json").read_text())["paths"]
    known = {(method.upper(), re.sub(r"\{\w+\}", "{}", path)) for path, item in paths.items() for method in item}
    asked = re.findall(r"\b(GET|POST|PUT|DELETE|PATCH) (/api/[^\s`?\"]*)", page.read_text())
    assert {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in asked} - known == set()


@cache
def said() -> frozenset[str]:
    """Every name that people meet: codes, kinds of alerts, log events, fields of the API, metrics and settings."""
    found = {kind.value for kind in AlertKind} | names()
    found |= set(re.findall(r"\w+_\w+", (ROOT / "docs/errors.md").read_text()))
    for package in ("borgfleet", "services", "shared"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                    found.add(node.value)
    for schema in json.loads((ROOT / "docs/openapi.json").read_text())["components"]["schemas"].values():
        found |= set(schema.get("properties", ()))
    return frozenset(found)


@every_page
def test_every_name_is_one_that_the_product_says(page: Path) -> None:
    pieces = {name for piece in code(page.read_text()) for name in re.findall(r"^(\w+_\w+)(?:\{.*\})?$", piece)}
    assert {name for name in pieces if not name.isupper()} - said() == set()
    mentioned = set(re.findall(r"\bborgfleet_[a-z0-9_]+", page.read_text()))
    assert mentioned - names() == set()
