"""Unit tests touch no network: a test that tries fails."""

from __future__ import annotations

import pytest
from pytest_socket import disable_socket, enable_socket


@pytest.fixture(autouse=True)
def no_sockets(event_loop_policy):  # noqa: ARG001 - the loop's own socket pair comes first
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()
