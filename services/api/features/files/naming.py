"""What a download is called: a name for people, and the header that carries it whatever it holds."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import quote

from shared.domain.downloads import OF_ONE_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

LONGEST = 200
"""Characters: with its ending it is a name that file systems take, in most writings."""
_PLAIN = re.compile(r"[^A-Za-z0-9 !#$&()+,.;=@\[\]^_{}~-]")
_ATTR_CHAR = "!#$&+-.^_`|~"


def name_of(server: str, at: datetime, items: Sequence[bytes], form: str) -> str:
    """Return a download's name: a file's own, or the server's with the backup's time."""
    last = items[0].rsplit(b"/", 1)[-1] if len(items) == 1 else b""
    if form in OF_ONE_FILE:
        return _harmless(last)
    parts = [server, f"{at:%Y-%m-%dT%H%M%SZ}", *([_harmless(last)] if last else [])]
    return f"{_harmless('-'.join(parts).encode())}.{form}"


def disposition(kind: str, name: str) -> str:
    """Return `Content-Disposition` with the name twice: in ASCII, and whole as RFC 8187 writes it."""
    return f"{kind}; filename=\"{_PLAIN.sub('_', name)}\"; filename*=UTF-8''{quote(name, safe=_ATTR_CHAR)}"


def _harmless(raw: bytes) -> str:
    """Return a name without slashes and without what is not shown; bytes that are no UTF-8 as `%XX`."""
    text = raw.decode(errors="surrogateescape")
    made = "".join(_sign(sign) for sign in text)[:LONGEST].strip(" ")
    return made if made.strip(".") else "_"


def _sign(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":
        return f"%{ord(sign) - 0xDC00:02X}"
    return "_" if sign in "/\\" or unicodedata.category(sign)[0] == "C" else sign
