"""What of a file is shown in a browser: text as text, and images that are known by their first bytes; nothing else."""

from __future__ import annotations

import codecs

from services.api.kernel.errors import Refused
from shared.domain.messages.downloads import NO_PREVIEW

TEXT_BYTES = 256 * 1024
LARGEST_IMAGE = 10 * 1024 * 1024
TEXT = "text/plain; charset=utf-8"
_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_CONTROL = frozenset(range(32)) - set(b"\t\n\r\f\x1b")


def kind_of(first: bytes) -> str:
    """Return as what a file is shown that begins so; `Refused` with 415 where it is not.

    SVG and HTML are text here, and shown as their source.
    """
    for magic, kind in _IMAGES:
        if first.startswith(magic):
            return kind
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return "image/webp"
    head = first[:TEXT_BYTES]
    if _CONTROL.isdisjoint(head) and _is_utf8(head):
        return TEXT
    raise Refused(NO_PREVIEW())


def _is_utf8(head: bytes) -> bool:
    """Tell whether it is UTF-8, cut off anywhere."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True
