"""A header block is read whatever it holds, and only its first line can be the server's word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.headers import parse_headers
from tests.harness import hostile


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (None, None),
        (b"", None),
        (b"NATS/1.0\r\n\r\n", None),
        (b"NATS/1.0\r\nA: b\r\nC:d\r\nA: e\r\n\r\n", {"A": "e", "C": "d"}),
        (b"NATS/1.0 404 No Messages\r\n\r\n", {"Status": "404", "Description": "No Messages"}),
        (b"NATS/1.0 503\r\n\r\n", {"Status": "503", "Description": ""}),
        (b"NATS/1.0 100 Idle\r\nNats-Last-Consumer: 1\r\n\r\n",
         {"Status": "100", "Description": "Idle", "Nats-Last-Consumer": "1"}),
        (b"NATS/1.0\r\nStatus: 503\r\nDescription: x\r\n\r\n", {"status": "503", "description": "x"}),
        (b"NATS/1.0 404 x\r\nStatus: 503\r\n\r\n", {"Status": "404", "Description": "x", "status": "503"}),
        (b"NATS/1.0 4 x\r\n\r\n", None),
        (b"NATS/1.0\r\na b: c\r\n: d\r\ne\r\n\xff: f\r\ng: \xff\r\n\r\n", {"g": "\ufffd"}),
        (b"X", None),
    ],
)  # fmt: skip
def test_only_the_first_line_is_the_servers_word(block: bytes | None, expected: dict[str, str] | None) -> None:
    assert parse_headers(block) == expected


@given(st.binary() | st.sampled_from(hostile.HEADER_BLOCKS).flatmap(lambda one: st.binary().map(lambda end: one + end)))
def test_no_bytes_are_too_much(block: bytes) -> None:
    for name, value in (parse_headers(block) or {}).items():
        (name + value).encode()
