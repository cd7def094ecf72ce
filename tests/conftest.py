"""Fixtures for all tests: real servers start once a session, when a test first asks for them."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog
from hypothesis import HealthCheck

from tests.harness.mariadb import MariaServer
from tests.harness.measuring import Measuring, measured
from tests.harness.nats_server import NatsServer

# The pretty renderer prints every local variable of a traceback: seconds for each error that is logged.
_plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _plain])

_configure = structlog.configure


def _uncached(**settings: Any) -> None:
    """Configure the log as a program asks, but for the cache: a logger would keep that program's end for good."""
    _configure(**settings | {"cache_logger_on_first_use": False})


structlog.configure = _uncached

# borg tries its ciphers at each start, which is half of what a small command computes. What our own programs start has
# an environment of their own, and tries them still.
os.environ["BORG_SELFTEST"] = "disabled"

# Programs that a shell starts in its background ignore Ctrl-C, and so does all that they start: tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# On a machine that others use too, drawing takes seconds: no fault of a strategy. Its other complaints stay.
hypothesis.settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.settings.load_profile("shared machine")

_measuring = Measuring()


@pytest.fixture(autouse=True)
def own_log_handlers() -> Iterator[None]:
    """Take away what a test's program logs to: that stream is closed, and the next one's log would be an error."""
    handlers, level, log = logging.root.handlers[:], logging.root.level, structlog.get_config()
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    _configure(**log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the end-to-end tests first, the longest at their head, at two of the processes.

    Two fleets are started then, instead of several that idle to the end, and no process has them all before it.
    """
    fleets = config.rootpath / "tests" / "e2e"
    modules = sorted({item.path for item in items if item.path.is_relative_to(fleets)})
    shares: tuple[list[pytest.Item], list[pytest.Item]] = ([], [])
    others: list[pytest.Item] = []
    for item in items:
        (shares[modules.index(item.path) % 2] if item.path in modules else others).append(item)
    for share in shares:
        share.sort(key=lambda item: item.get_closest_marker("slow") is None)
    between = max(_second_half(len(items)) - len(shares[0]), 0)
    items[:] = [*shares[0], *others[:between], *shares[1], *others[between:]]


def _second_half(tests: int) -> int:
    """Tell where what the second half of pytest-xdist's processes begin with starts: each has a part of the whole list."""
    left, processes = tests, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    for number in range(processes // 2):
        left -= left // (processes - number)
    return tests - left


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Measure coverage in the tests that are for it, their fixtures included."""
    _measuring.turn(on=measured(item))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Write lone surrogates out: what a test of hostile values shows when it fails could not be sent to the runner."""
    return _sendable((yield))


def _sendable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_sendable(key): _sendable(one) for key, one in value.items()}
        case list() | tuple():
            return type(value)(map(_sendable, value))
    return value


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory with a short name: Unix sockets allow 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="bft-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def maria(scratch: Path) -> Iterator[MariaServer]:
    server = MariaServer(scratch / "maria").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nats_server(scratch: Path) -> Iterator[NatsServer]:
    server = NatsServer(scratch / "nats").start()
    yield server
    server.stop()
