"""Whatever a server answers, and however much, it is read in no time: all other runs of the process wait meanwhile."""

from __future__ import annotations

import contextlib
import importlib
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from services.backup.create.own_places import read_places
from services.backup.create.sources import read_sources
from services.backup.restore.server import RestoreServer
from services.backup.truth.tally import Tally
from services.setup.refusal import why_refused
from services.setup.steps import install
from services.stats.collect.parse import parse_sample
from shared.borg.exit_codes import failure
from shared.borg.output import LogLine, parse_line
from shared.errors import AppError
from shared.ssh.port import Completed

pytestmark = pytest.mark.unmeasured  # the same lines, a hundred thousand times

MIB = 1024 * 1024
SECONDS = 4.0
"""Of the processor, for one answer: a fraction is enough, and what is not bounded takes minutes."""
NOW = datetime(2027, 1, 1, tzinfo=UTC)
SECTIONS = ("os", "cpuinfo", "load", "memory", "net", "disks", "temperature", "types", "bytes", "inodes", "units",
            "address", "uptime", "pressure_cpu", "cpu1")  # fmt: skip
LINES = {"spaces": " " * 48_000 + "x", "digits": "9" * 48_000, "words": "a 1 " * 12_000, "slashes": "/a" * (MIB // 4)}
FLOODS = {
    "empty lines": "\n" * (4 * MIB),
    "pairs": "x=y\n" * MIB,
    "words": "tar x\n" * 700_000,
    "sections": "@a\n" * MIB,
    "mounts": "36 35 98:0 / /mnt rw shared:1 - ext4 /dev/x rw\n" * 80_000,
    "places": "S /a\n" + "".join(f"B /a/{n}\n" for n in range(50_000)),
}
BEGINNINGS = ("", "cpu", "entry ", "P 0 ", "\nM\n", "\nM\n36 35 98:0 / ", "sshd ", "mode drwxr-xr-x ", "some ")
ERRORS = {
    "locks": "Failed to create/acquire the lock x (",
    "versions": ": version `'",
    "versions of ssh": " version `' not foun",
    "nothing matched": ": no matching x",
    "errors": "\nError: x",
    "numbers": "[Errno 1] x: '",
    "many digits": "9",
    "sheets": "sys.argv: ['",
    "no tokens": "\n",
}
OPENINGS = (
    "",
    "ssh: ",
    "Error: [Errno ",
    "Unable to negotiate with x port 1: no matching ",
    "Traceback (most recent\n",
)
prove = importlib.import_module("services.setup.steps.prove")
detect = importlib.import_module("services.setup.steps.detect")


@contextlib.contextmanager
def in_no_time(*what: Any) -> Any:
    """Allow an error of ours, and see that it took no time."""
    began = time.process_time()
    with contextlib.suppress(AppError):
        yield
    assert time.process_time() - began < SECONDS, what


def read(text: str, sections: Iterable[str]) -> None:
    """Give an answer to all that read one."""
    with in_no_time("sources"):
        read_sources(["/a", "/b"], text)
    with in_no_time("places"):
        read_places(["/a"], text, {})
    with in_no_time("refused"):
        why_refused(text, "root", "/root")
    for section in sections:
        answer = f"\n@cpu0\n{text[:9]}x\n@{section}\n{text[: 4 * MIB - 200]}\n@cpu1\nx\n@end\n"
        with in_no_time(section):
            parse_sample(answer, asked_at=NOW, answered_at=NOW)


class Answering:
    """A connection to a server that says one thing."""

    def __init__(self, text: str, status: int = 0) -> None:
        self.text, self.status = text, status

    async def run(self, *_: Any, **__: Any) -> Completed:
        return Completed(self.status, self.text, self.text)


def asked_of(text: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return everything that asks a server and reads what it says."""
    login: Any = Answering(text)
    work: Any = SimpleNamespace(login=login, root=Answering(text, 127), facts={}, plan=SimpleNamespace(
        name="web1", username="root", endpoints=[]))  # fmt: skip
    asked: Any = SimpleNamespace(in_place=False)
    plan: Any = SimpleNamespace(job_id=uuid.uuid4(), parent="/srv", name="x", asked=asked, target=work.plan)
    endpoint: Any = SimpleNamespace(endpoint=SimpleNamespace(alias="node1", host="h", port=22, user="root"))
    return {
        "detect": lambda: detect.detect(work),
        "prove": lambda: prove._ask(work, endpoint, "/root"),
        "version": lambda: install(SimpleNamespace(root=login, facts={}, plan=work.plan)),
        "restore": lambda: RestoreServer(login, plan, 60).probe(),
    }


@pytest.mark.parametrize("line", LINES)
def test_no_line_of_an_answer_holds_all_others_up(line: str) -> None:
    """40 KB of blanks took the probe's reader 26 seconds: nothing beat meanwhile."""
    for beginning in BEGINNINGS:
        read(beginning + LINES[line], SECTIONS)


@pytest.mark.parametrize("flood", FLOODS)
async def test_no_answer_of_a_server_holds_all_others_up(flood: str) -> None:
    """8 MiB of empty lines took the proof of a set-up 60 seconds, and the reading of disks 13."""
    read(FLOODS[flood], ("disks", "temperature", "types"))
    for what, ask in asked_of(FLOODS[flood]).items():
        with in_no_time(what), contextlib.suppress(ValueError):
            await ask()


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("words", ERRORS)
def test_no_words_of_a_failed_borg_hold_all_others_up(words: str, opening: str) -> None:
    """A line of 64 KiB was searched for two seconds, and 600 are kept; a number of 5,000 digits was an error of ours."""
    message = opening + ERRORS[words] * (64 * 1024 // len(ERRORS[words]))
    for level, code in (("info", ""), ("error", "Error")):
        lines = [LogLine(level, message, code)] * 15
        for status in (2, 127):
            with in_no_time(level, status):
                assert isinstance(failure(status, lines), AppError | None)
        with in_no_time(level, "tally"):
            tally = Tally(["/a"])
            for line in lines:
                tally(line)
    with in_no_time("line"):
        parse_line(message)


def test_the_cause_is_found_in_a_long_report_at_its_beginning_and_at_its_end() -> None:
    chatter = [LogLine("info", "reading " + "x" * 2000)] * 600
    early = LogLine("error", "x" * 100_000 + "\n" + "Failed", "Repository.DoesNotExist")
    late = LogLine("info", "ssh: connect to host backup port 22: Connection refused" + " " * 100_000)
    assert getattr(failure(2, [*chatter, early]), "code", "") == "repository_missing"
    assert getattr(failure(2, [*chatter, late]), "code", "") == "storage_unreachable"
