"""Clean text: what came from outside (borg, ssh, hooks, probes, NATS, the API) as text that every place can hold.

A lone surrogate breaks UTF-8, JSON columns and the bus; a NUL breaks databases; an escape sequence or a right-to-left
mark makes a terminal or a browser show something else than what is there. So each outside text is cleaned once, where
it enters, and no string inside the program holds any of these.
"""

from __future__ import annotations

import re

LINE = 8 * 1024
"""The usual limit, in characters: a message that a person reads."""
_CUT = "…"
_UNDECODABLE = range(0xDC80, 0xDD00)
"""Where Python's `surrogateescape` puts bytes that are no UTF-8, borg's JSON among them."""
_MOST_BYTES = 4
"""Bytes of one character in UTF-8, at most."""
_UNCLEAN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and newline
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that change the direction of what follows
    "\u2028\u2029\ufeff\ufffe\uffff"  # line ends that are none to us, a byte order mark, no characters at all
    "\ud800-\udfff"
    "]"
)


def clean(text: str | bytes, limit: int = LINE) -> str:
    r"""Return at most `limit` characters of valid, visible Unicode; what is not becomes `\xNN` or `\uNNNN`.

    Tabs and newlines stay; `\r\n` becomes `\n`. A text that was cut ends with an ellipsis. Cleaning twice changes
    nothing. The time is linear in `limit`, not in the length of the text.
    """
    if isinstance(text, bytes):
        # Bytes beyond these cannot reach the result, and decoding them would cost time for nothing.
        text = text[: (limit + 1) * _MOST_BYTES].decode("utf-8", "backslashreplace")
    if len(text) <= limit and text.isprintable():
        return text
    shown = _UNCLEAN.sub(_visible, text[: 2 * limit + 2].replace("\r\n", "\n"))
    return shown if len(shown) <= limit else shown[: max(limit - 1, 0)] + _CUT[:limit]


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code in _UNDECODABLE:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"  # noqa: PLR2004 - the end of ASCII
