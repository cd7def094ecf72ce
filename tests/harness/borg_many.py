"""Runs many borg commands in one process, for tests that need hundreds: `python -m tests.harness.borg_many`.

Reads a JSON list of [arguments, working directory] from stdin, runs each by borg's own entry point, and prints a JSON
list of [status, output]. Starting borg takes a second; most of that is importing it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.harness.untraced import untraced

BORG_1_2 = Path(__file__).parents[2] / ".venv-borg12" / "bin" / "python"
"""A Python with the oldest borg that servers may have; `scripts/test` makes it."""


def borg_many(
    commands: list[list[str]],
    base: Path,
    zone: str = "UTC",
    python: str | Path = sys.executable,
    *,
    passphrase: str = "",
    cwd: Path | list[Path | None] | None = None,
    **more: str,
) -> list[tuple[int, str]]:
    """Return the status and the output of each; `cwd` is one for all, or one for each."""
    each = cwd if isinstance(cwd, list) else [cwd] * len(commands)
    environment = untraced(os.environ) | {
        "BORG_BASE_DIR": str(base),
        "TZ": zone,
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "BORG_SELFTEST": "disabled",  # half of a small command's time
        "BORG_PASSPHRASE": passphrase,
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        **more,
    }
    done = subprocess.run(
        [str(python), "-m", "tests.harness.borg_many"], env=environment,
        input=json.dumps([[command, str(place or "")] for command, place in zip(commands, each, strict=True)]),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [(status, text) for status, text in json.loads(done.stdout.splitlines()[-1])]


def _main() -> None:
    # These tests are not about what a disk keeps, and a small command waits for it longer than it computes.
    os.fsync = os.fdatasync = lambda _file: None
    from borg.archiver import main

    answers: list[list[object]] = []
    with tempfile.TemporaryDirectory() as directory:
        for number, (command, place) in enumerate(json.load(sys.stdin)):
            said = Path(directory) / str(number)
            answers.append([_status(main, command, place, said), said.read_text()])
    print(json.dumps(answers))


def _status(main: Callable[[], object], command: list[str], place: str, said: Path) -> int:
    """Run one command in a fork of this process, which has borg imported already."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if place:
        os.chdir(place)
    output = os.open(said, os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["borg", *command]
    try:
        main()
    except SystemExit as ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(ended.code or 0))
    finally:
        os._exit(99)


if __name__ == "__main__":
    _main()
