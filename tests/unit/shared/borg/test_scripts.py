"""A script's plan is read by nobody else, and an answer that is none is said as what it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.borg.node import Grant
from shared.borg.output import LogLine
from shared.borg.scripts import parse_counted, run_script
from shared.domain.ids import new_id
from shared.errors import Permanent

GRANT = Grant(new_id(), new_id(), "/pool/web1/system", 1)


@dataclass
class Answer:
    found: int


class Node:
    def __init__(self, state_dir: Path, answer: str, *lines: str) -> None:
        self.state_dir, self.answer = state_dir, answer
        self.lines = [LogLine("error", line) for line in lines]
        self.seen: dict[str, Any] = {}

    def script(self, *words: str) -> list[str]:
        return ["python", *words]

    async def run(self, grant: Grant, argv: list[str], **options: Any) -> tuple[str, list[LogLine]]:
        self.seen = {"argv": argv} | options | {"plan": json.loads(options["plan"])}
        return self.answer, self.lines


async def ask(node: Any) -> Answer:
    return await run_script(node, "verify.py", GRANT, {"key": "canary"}, Answer, passphrase="p", guarded=False)


async def test_the_plan_reaches_the_script_and_nobody_else(tmp_path: Path) -> None:
    node = Node(tmp_path, '{"found": 3}')
    assert await ask(node) == Answer(3)
    assert (node.seen["plan"], node.seen["guarded"]) == ({"key": "canary"}, False)
    assert "canary" not in " ".join(node.seen["argv"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "lines", "said"), [("", ("Traceback", "KeyError"), "KeyError"), ("what", (), "what")]
)
async def test_an_answer_that_is_none_is_no_success(tmp_path: Path, answer: str, lines: tuple[str], said: str) -> None:
    with pytest.raises(Permanent, match=said) as caught:
        await ask(Node(tmp_path, answer, *lines))
    assert caught.value.code == "borg_garbled"
    assert list(tmp_path.iterdir()) == []


def test_figures_are_read_as_they_are_and_garbage_is_no_figure() -> None:
    assert parse_counted('\n\n{"files": 3}\n', []) == {"files": 3}
    for answer, lines, said in (("", [LogLine("error", "KeyError")], "KeyError"), ("[3]", [], "3")):
        with pytest.raises(Permanent, match=said) as caught:
            parse_counted(answer, lines)
        assert caught.value.code == "borg_garbled"
