"""Runs one of our scripts with borg's Python: what borg's command line cannot do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.borg.node import BorgNode, Grant
    from shared.borg.output import LogLine

Answer = TypeVar("Answer")
_SHOWN = 200


async def run_script(
    node: BorgNode,
    name: str,
    grant: Grant,
    plan: Mapping[str, Any],
    answer: type[Answer],
    *,
    passphrase: str,
    guarded: bool = True,
    silence: float | None = None,
) -> Answer:
    """Run a script on a repository and return its answer; `silence`: for how long it may give no sign of life."""
    stdout, lines = await script_answer(
        node, name, grant, plan, passphrase=passphrase, guarded=guarded, silence=silence
    )
    try:
        return TypeAdapter(answer).validate_json(stdout)
    except ValidationError as error:
        said = " ".join(line.message for line in lines) or stdout
        message = f"{name} gave no answer: {said[-_SHOWN:]}"
        raise Permanent(message, code="borg_garbled", remedy="see the job's log") from error


def parse_counted(stdout: str, lines: Sequence[LogLine]) -> dict[str, Any]:
    """Return the figures that export_archive.py prints."""
    try:
        return TypeAdapter(dict[str, Any]).validate_json(stdout.strip())
    except ValidationError as error:
        said = " ".join(line.message for line in lines) or stdout
        message = f"export_archive.py gave no answer: {said[-_SHOWN:]}"
        raise Permanent(message, code="borg_garbled", remedy="see the job's log") from error


async def script_answer(
    node: BorgNode,
    name: str,
    grant: Grant,
    plan: Mapping[str, Any],
    *,
    passphrase: str,
    guarded: bool = True,
    silence: float | None = None,
) -> tuple[str, list[LogLine]]:
    """Run a script on a repository and return what it prints, and its messages.

    The plan stands in memory: a million objects fit into no argv, a key belongs on no disk, and a state directory
    that hangs must not stop who writes it.
    """
    argv = node.script(name, grant.path)
    return await node.run(
        grant, argv, passphrase=passphrase, guarded=guarded, silence=silence, plan=json.dumps(plan).encode()
    )
