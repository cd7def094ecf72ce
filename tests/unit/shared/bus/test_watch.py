"""Why no nats-server could be reached: of several tries that end differently, the cause that helps is told."""

from __future__ import annotations

import itertools
import socket
import ssl

import nats.errors
import pytest

from shared.bus.watch import Watch, uncounted
from shared.config.settings import NatsSettings

REQUIRED = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required")
UNKNOWN = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] unable to get local issuer certificate")
TELLING: tuple[Exception, ...] = (
    REQUIRED, UNKNOWN, ssl.SSLError(1, "[SSL: TLSV1_ALERT_UNKNOWN_CA] unknown ca"),
    nats.errors.Error("nats: 'Authorization Violation'"), nats.errors.AuthorizationError(),
    nats.errors.Error("the server offers no TLS, and the settings ask for it"),
)  # fmt: skip
ABSENT: tuple[Exception, ...] = (
    ConnectionRefusedError(111, "Connection refused"), socket.gaierror(-2, "Name or service not known"),
    TimeoutError(), OSError(113, "No route to host"),
)  # fmt: skip
VAGUE: tuple[Exception, ...] = (
    BrokenPipeError(32, "Broken pipe"), ConnectionResetError(104, "Connection reset by peer"), ConnectionAbortedError(),
    ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), nats.errors.UnexpectedEOF(), EOFError(),
    ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed"),
)  # fmt: skip


async def told(*met: Exception) -> str:
    watch = Watch(NatsSettings(), None, uncounted)
    for error in met:
        await watch.error(error)
    return watch.cause


PAIRS = [*itertools.product(TELLING, (*ABSENT, *VAGUE)), *itertools.product(ABSENT, VAGUE)]


@pytest.mark.parametrize(("telling", "vague"), PAIRS, ids=lambda error: repr(error)[:40])
async def test_a_broken_pipe_hides_no_cause_whichever_try_met_it(telling: Exception, vague: Exception) -> None:
    alone = await told(telling)
    assert alone == (str(telling) or type(telling).__name__)
    assert await told(vague, telling) == await told(telling, vague) == await told(vague, telling, vague) == alone


@pytest.mark.parametrize("only", [*VAGUE, *ABSENT], ids=lambda error: repr(error)[:40])
async def test_where_nothing_else_was_met_that_is_told(only: Exception) -> None:
    assert await told(only) == (str(only) or type(only).__name__)


async def test_of_equals_the_latest_is_told() -> None:
    assert await told(REQUIRED, UNKNOWN) == str(UNKNOWN)
    assert await told() == ""
