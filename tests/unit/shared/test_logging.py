"""What servers and clients say is written into the log as what it is: no line of its own, nothing a terminal obeys."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable

import pytest
import structlog

from shared.config.settings import LogSettings
from shared.telemetry.logging import configure_logging
from tests.harness.hostile import TEXTS

_ENTRY = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z \[(warning|error) +\]( |$)")
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e\u2066\ud800-\udfff]")
FORGED = (
    "\n2027-01-01T00:00:00.0Z [warning  ] login user=root", "a\r2027", "\x1b[2J", "\x9b2J", "\x1b]0;owned\x07", "a\x85b",
    *(text for text in TEXTS if len(text) < 1000),
)  # fmt: skip


def refuse(text: str) -> None:
    raise ValueError(text)


def raised(text: str) -> None:
    try:
        refuse(text)
    except ValueError:
        structlog.get_logger().exception("failed", server=text)


WAYS: dict[str, Callable[[str], object]] = {
    "a value": lambda text: structlog.get_logger().warning("event", server=text),
    "a list": lambda text: structlog.get_logger().warning("event", lines=[text, {"a": text}]),
    "the event": lambda text: structlog.get_logger().warning(text),
    "a library's message": lambda text: logging.getLogger("library").warning("said %s", text),
    "bound before": lambda text: structlog.get_logger().bind(request_id=text).warning("event"),
    "an exception": raised,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_hostile_text_stays_within_its_entry(way: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(json_lines=False))
    for text in FORGED:
        WAYS[way](text)
        said = capsys.readouterr().err
        first, *more = said.rstrip("\n").split("\n")
        assert _ENTRY.match(first), (text, said)
        assert not _OBEYED.search(said), (text, said)
        assert all(line.startswith("    ") for line in more), (text, said)
        assert not more or way == "an exception", (text, said)


@pytest.mark.parametrize("way", WAYS)
def test_json_has_one_entry_a_line_in_ascii(way: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(json_lines=True))
    for text in FORGED:
        WAYS[way](text)
        said = capsys.readouterr().err
        assert said.isascii()
        assert said.count("\n") == 1
        assert json.loads(said)["level"] in ("warning", "error")


def test_a_traceback_shows_no_local_variable(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(json_lines=False))
    kept = "".join(reversed("2retnuh"))
    try:
        int("wrong")
    except ValueError:
        structlog.get_logger().exception("failed")
    said = capsys.readouterr().err
    assert "ValueError: invalid literal" in said
    assert kept not in said


def test_a_client_that_goes_away_is_no_error_of_the_database(capsys: pytest.CaptureFixture[str]) -> None:
    """SQLAlchemy wrote a traceback where a request was given up while its connection was handed back."""
    configure_logging(LogSettings(json_lines=False))

    def tell(logger: str, error: BaseException) -> str:
        logging.getLogger(logger).error("Exception during reset or similar", exc_info=error)
        return capsys.readouterr().err

    pool = "sqlalchemy.pool.impl.AsyncAdaptedQueuePool"
    assert tell(pool, asyncio.CancelledError()) == ""
    assert "broken" in tell(pool, OSError("broken"))
    assert "CancelledError" in tell("services.api", asyncio.CancelledError())
