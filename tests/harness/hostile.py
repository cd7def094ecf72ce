"""One alphabet of hostile values, and how to spell them where JSON, URLs and headers cannot: for every door of the product."""

from __future__ import annotations

import base64
import json
from typing import Any

TEXTS: tuple[str, ...] = (
    "", " ", "\x00", "a\x00b", "\ud800", "a\udcffb", "\udfff\ud800", "\n", "a\nb", "\r\n", "\t", "\x1b[31m", "\x7f", "\x85",
    "\u2028", "\u2029", "\u202egpj.exe", "\u200f", "\u2066", "\ufeff", "\uffff", "\U0010ffff", "e\u0301", "🙂" * 60,
    "x" * 300, "x" * 100_000, "é" * 5000, "../../etc/passwd", "/", "//", "/..", "-oProxyCommand=id", "--rsh=id", "$(id)", "`id`",
    "';DROP TABLE servers;--", "%s%n%00", "%ff%fe", "{now}", "re:((((", "re:" + "(" * 480, "re:a{99999999999}", "sh:**", "+ re:(?P<x",
    "<script>", "null", "NaN", "Infinity", "1e999", "0x7f.1", "fe80::1%", "[::1", "::1::", "٣", "²", "0 0 30 2 *", "* * * * * *",
    "0 0 31 2 MON#9", "Europe", "../UTC", "UTC\x00", "https://[", "http://a:b@c:99999/", "zstd,99", "lzma,999999999999",
)  # fmt: skip

MOMENTS: tuple[str, ...] = (
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z",
    "1969-12-31T23:59:59Z", "1970-01-01T00:00:00+23:59", "2027-01-01T00:00:00", "2027-02-30T00:00:00Z", "2027-01-01T24:00:00Z",
    "2027-01-01T00:00:00+99:99", "2027-01-01", "24:00", "23:59:60", "00:00+23:59", "99999-01-01T00:00:00Z", "-0001-01-01T00:00:00Z",
)  # fmt: skip

RAW: tuple[str, ...] = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e308", "-0.0", "0", "-1", "1", "1.5", "2147483647", "2147483648",
    "-2147483649", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1" + "0" * 30, "9" * 5000,
    "true", "null", "[]", "{}", "[[]]", '{"a": {"a": {"a": 1}}}', "[" * 500 + "]" * 500, '"\\ud800"', '{"\\ud800": "\\ud800"}',
    '{"": ""}', "[null, null]", "[1, 1, 1]", '["a", "a"]', "[" + "0," * 20_000 + "0]", '{"kind": "cron"}', '{"kind": "nonsense"}',
)  # fmt: skip
"""JSON as it stands, which no serializer would write."""

BODIES: tuple[bytes, ...] = (
    b"", b"null", b"[]", b"0", b'""', b"{", b"}", b"\xff\xfe", b"\x00", b'{"name": "\xff"}', b"\xef\xbb\xbf{}", "{}".encode("utf-16"),
    b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000, b'{"name": 1, "name": 2}', b'{"\\ud800": 1}', b'{"__proto__": {}}', b"NaN",
    b'"' + b"x" * 500_000 + b'"', b"{" + b",".join(b'"f%d": 1' % n for n in range(20_000)) + b"}", b"a=b&c=d", b"<x/>", b" " * 500_000,
)  # fmt: skip

CONTENT_TYPES: tuple[str, ...] = (
    "", "application/json", "application/json; charset=utf-16", "application/json; charset=nonsense", "text/plain", "a" * 300,
    "multipart/form-data", "application/x-www-form-urlencoded", "application/problem+json", "application/json, text/plain", "é",
)  # fmt: skip

AUTHORIZATIONS: tuple[bytes, ...] = (
    b"", b"Bearer", b"Bearer ", b"Bearer \xff\xfe", b"Bearer " + b"x" * 30_000, b"bearer  x", b"Basic YTpi", b"Bearer a b", b"\xc3\xa9",
    b"Bearer \x7f", b"Negotiate " + b"A" * 1000, b"Bearer null",
)  # fmt: skip

# What stands behind a cursor: a time and an id, a text, or rubbish.
_BEHIND = (
    *(f"{moment}|{'0' * 32}" for moment in MOMENTS),
    *TEXTS[:30], "|", "||", "2027-01-01T00:00:00+00:00|", "2027-01-01T00:00:00+00:00|x", f"|{'0' * 32}", "1.1", "1" * 500 + ".1",
)  # fmt: skip
CURSORS: tuple[str, ...] = (
    *(base64.urlsafe_b64encode(one.encode(errors="surrogatepass")).decode() for one in _BEHIND if len(one) < 700),
    *TEXTS, "====", "A", "AA=A", "_-_-", "999999999.999999999", "9999999999.1", "٣.٣", "1.1\n",
)  # fmt: skip

ANYTHING: tuple[str, ...] = (*(json.dumps(one) for one in (*TEXTS, *MOMENTS)), *RAW)
"""Every value as JSON; `json.dumps` spells a lone surrogate as an escape."""

HEADERS: tuple[dict[str, str], ...] = (
    *({"Status": status} for status in ("100", "404", "408", "409", "500", "503", "abc", "")), {"Description": "x"},
    *({"Status": status, "Description": "Idle Heartbeat"} for status in ("100", "408", "500", "503")), {"status": "503"},
    {"Nats-Consumer-Stalled": "x"}, {"Nats-Stream": "x", "Nats-Sequence": "y"}, {"Nats-Expected-Stream": "JOBS"}, {"x": "y" * 60_000},
    {f"h{number}": "\x1b" * 50 for number in range(1000)}, {"Event-Type": "x.v9"}, {"x": "\u202e\x00"}, {"traceparent": "x" * 300},
)  # fmt: skip
"""Of messages: what a client takes for the server's word, and what is too much."""

HEADER_BLOCKS: tuple[bytes, ...] = (
    b"X", b"NATS/1.0", b"NATS/1.0\r\n", b"\r\n\r\n", b"\x00" * 9, b"NATS/1.0 404 \xff\xfe\r\n\r\n", b"NATS/1.0 \xff\xfe\xfd\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n", b"NATS/1.0 100 Idle Heartbeat\r\n\r\n", b"NATS/1.0 100\r\nStatus: 500\r\n\r\n", b"NATS/9.9 500 x\r\n\r\n",
    b"NATS/1.0\r\nStatus: 500\r\n\r\n", b"NATS/1.0\r\nStatus:500\r\nStatus: 503\r\n\r\n", b"NATS/1.0\r\n: x\r\n\r\n",
    b"NATS/1.0\r\nno colon\r\n\r\n", b"NATS/1.0\r\n\xff: \xfe\r\na b: c\r\n\r\n", b"NATS/1.0\r\na: \xed\xa0\x80\r\n\r\n",
)  # fmt: skip
"""Header blocks as they stand on the wire, which no client would write."""

PLAIN: tuple[str, ...] = (*TEXTS, *MOMENTS, *RAW)
"""Every value as text, for URLs and arguments."""
_SHARP = {
    "\x00", "\ud800", "\n", "\u2028", "x" * 100_000, MOMENTS[1], MOMENTS[2], "NaN", "Infinity", "1e999", "2147483648",
    "9223372036854775808", "9" * 5000, "re:" + "(" * 480, "https://[",
}  # fmt: skip
_EVERY = 12


class Turns:
    """Gives each door the sharpest values and, in turn, a share of the others: all doors of a kind together get all."""

    def __init__(self) -> None:
        self._turn = 0

    def some(self, values: tuple[str, ...]) -> list[str]:
        """Return what it is this door's turn to take."""
        self._turn += 1
        sharp = _SHARP | {json.dumps(one) for one in _SHARP if not one[0].isdigit()}
        return [one for number, one in enumerate(values) if one in sharp or (number + self._turn) % _EVERY == 0]


class Raw(str):
    """JSON that is put into a body as it stands."""

    __slots__ = ()


def spelled(body: Any) -> bytes:
    """Return a body as JSON, with each `Raw` in it as it stands."""
    raws: list[Raw] = []

    def marked(value: Any) -> Any:
        if isinstance(value, Raw):
            raws.append(value)
            return f"@raw{len(raws) - 1}@"
        if isinstance(value, dict):
            return {key: marked(one) for key, one in value.items()}
        return [marked(one) for one in value] if isinstance(value, list) else value

    text = json.dumps(marked(body))
    for number, raw in enumerate(raws):
        text = text.replace(f'"@raw{number}@"', raw)
    return text.encode()


def percent(text: str) -> str:
    """Return any text as a URL can carry it, half a surrogate pair too."""
    return "".join(f"%{byte:02X}" for byte in text.encode(errors="surrogatepass"))


def short(value: Any) -> str:
    """Return a value as a name of a test."""
    return ascii(value)[:40]
