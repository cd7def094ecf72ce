"""The catalogue is whole: no error has words of its own, each entry is used, each use says all it has to."""

from __future__ import annotations

import ast
import importlib
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from shared.domain.cause import Cause
from shared.domain.message import Message, parse
from shared.domain.messages import CATALOGUE, MODULES, entries_of

ROOT = Path(__file__).parents[2]
SCRIPTS = ("borg/fence.py", "borg/fence_check.py", "borg/fencing.py")
"""Run by borg's own Python, without the rest of Borgfleet: they cannot make our errors."""
LONGEST_SENTENCE = 330
RIDDLES = ("brake", "strangers", "upkeep", "foresee", "lore", "realm")
"""Words that nobody from the field would search for (house.md, section 2)."""


class Module(NamedTuple):
    """A source file: its tree, and what its names stand for."""

    file: Path
    tree: ast.Module
    names: dict[str, object]


@cache
def modules() -> list[Module]:
    found: list[Module] = []
    for package in ("borgfleet", "services", "shared"):
        for file in sorted((ROOT / package).rglob("*.py")):
            unread = file.name in ("__main__.py", "env.py") or "/".join(file.parts[-2:]) in SCRIPTS
            if unread or {"versions", "messages"} & set(file.relative_to(ROOT).parts):
                continue
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found.append(
                Module(file.relative_to(ROOT), ast.parse(file.read_text()), vars(importlib.import_module(name)))
            )
    return found


def named(node: ast.expr, names: dict[str, object]) -> object:
    """Return what a name, or an attribute of a name, stands for in a module."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return getattr(names.get(node.value.id), node.attr, None)
    return None


def calls() -> Iterator[tuple[Module, ast.Call, object]]:
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call):
                yield module, node, named(node.func, module.names)


def test_each_use_of_a_message_gives_all_that_it_says() -> None:
    wrong, used = [], 0
    for module, call, what in calls():
        if isinstance(what, Message):
            used += 1
            given = {keyword.arg for keyword in call.keywords}
            if call.args or not what.required <= given or not given <= set(what.params):
                wrong.append(f"{module.file}:{call.lineno}: {ast.unparse(call)[:100]} of {what.params}")
    assert wrong == []
    assert used > 100


def test_each_message_is_used() -> None:
    tables = [
        Module(Path(one.__file__ or ""), ast.parse(Path(one.__file__ or "").read_text()), vars(one)) for one in MODULES
    ]
    used = {id(named(node, module.names)) for module in (*modules(), *tables) for node in ast.walk(module.tree)
            if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load)}  # fmt: skip
    entries = {f"{module.__name__}.{name}": one for module in MODULES for name, one in vars(module).items()
               if isinstance(one, (Cause, Message))}  # fmt: skip
    assert [name for name, entry in entries.items() if id(entry) not in used] == []


def test_no_two_messages_have_one_key_or_one_sentence() -> None:
    entries = [entry for module in MODULES for entry in entries_of(module).values()]
    for what in ("key", "text"):
        counted = Counter(getattr(entry, what) for entry in entries)
        assert [value for value, count in counted.items() if count > 1] == [], what
    assert len(entries) == len(CATALOGUE) > 100


def test_every_message_says_what_to_do() -> None:
    """A message that tells of another one, its cause, leaves the remedy to that."""
    assert [key for key, entry in CATALOGUE.items() if entry.code and not entry.remedy] == []


def test_an_error_is_answered_with_the_status_of_its_kind() -> None:
    wrong = []
    kinds = {"NotFound": 404, "Conflict": 409, "Forbidden": 403, "Invalid": 422}
    for module, call, what in calls():
        status = kinds.get(getattr(what, "__name__", "")) if isinstance(what, type) else None
        said = named(call.args[0].func, module.names) if call.args and isinstance(call.args[0], ast.Call) else None
        if status and isinstance(said, Message) and said.status != status:
            wrong.append(f"{module.file}:{call.lineno}: {said.key} has {said.status}, not {status}")
    assert wrong == []


def test_messages_are_plain_words() -> None:
    for key, entry in CATALOGUE.items():
        for text in (entry.text, entry.remedy):
            words = "".join(part.words or "1" for part in parse(text))
            assert len(words) <= LONGEST_SENTENCE, f"{key}: split this sentence: {text}"
            assert not re.search(rf"\b({'|'.join(RIDDLES)})\b", words), f"{key}: use the field's word: {text}"
            assert not text.endswith(".") or text.endswith(("...", "etc.")), f"{key}: it is quoted in sentences: {text}"
            assert "  " not in words, f"{key}: two spaces: {text}"
            assert text == text.strip(), f"{key}: space at an end: {text}"


def test_codes_are_words_for_programs() -> None:
    for entry in CATALOGUE.values():
        assert re.fullmatch(r"[a-z][a-z0-9_]{1,59}|", entry.code), entry
        assert re.fullmatch(r"[a-z][a-z0-9_.]{1,119}", entry.key), entry
        assert 400 <= entry.status < 600, entry
