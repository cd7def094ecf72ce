"""What the command line loads: help comes at once, and a worker that runs for months holds nothing it has no use for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from borgfleet.cli.app import app
from borgfleet.registry import SERVICES
from tests.harness.patience import WAIT

_HELP = """
import sys
from borgfleet.__main__ import main
sys.argv = ["borgfleet", "--help"]
try:
    main()
except SystemExit as end:
    assert end.code == 0
print("loaded:", *sorted({"rich", "httpx2", "pydantic", "sqlalchemy", "structlog", "asyncssh"} & set(sys.modules)))
"""
_RUN = """
import sys, types
from borgfleet.__main__ import main

async def run(_settings, names):
    [name] = names
    for module in (f"services.{name}.service", "shared.bus.jetstream", "shared.runtime.supervisor", "borgfleet.master_key"):
        __import__(module)
    print("loaded:", *sorted({"rich", "pygments", "httpx2"} & set(sys.modules)))

sys.argv = ["borgfleet", "run", %r]
bootstrap = sys.modules["borgfleet.bootstrap"] = types.ModuleType("borgfleet.bootstrap")
bootstrap.run = run
main()
"""


def loaded(code: str, directory: Path) -> tuple[str, list[str]]:
    environment = {"BORGFLEET_DATA_DIR": str(directory), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=WAIT
    )
    assert done.returncode == 0, done.stderr
    said, _, names = done.stdout.rpartition("loaded:")
    return said, names.split()


def test_help_loads_none_of_what_the_verbs_need(tmp_path: Path) -> None:
    said, modules = loaded(_HELP, tmp_path)
    assert modules == []
    for words in ("doctor", "Managed servers.", "Where alerts begin."):
        assert words in said


@pytest.mark.parametrize("service", list(SERVICES))
def test_a_worker_holds_nothing_that_only_a_terminal_needs(service: str, tmp_path: Path) -> None:
    _, modules = loaded(_RUN % service, tmp_path)
    assert modules == []


def test_each_group_of_verbs_is_found_when_it_is_asked_for() -> None:
    top = typer.main.get_command(app)
    groups = {name: command for name, command in vars(top)["commands"].items() if hasattr(command, "commands")}
    assert {"server", "repo", "threshold", "task"} <= set(groups)
    for name, group in groups.items():
        assert group.commands, name
        assert group.help, name
