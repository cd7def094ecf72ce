"""The header block of a NATS message, read so that no publisher's bytes can end a connection or pass for the server's.

nats-py's own reading ends its read loop for good at a block of one byte, and takes a publisher's line `Status: 503`
for the server's word that nobody answers. The server's word stands in the block's first line, and nowhere else.
"""

from __future__ import annotations

STATUS, DESCRIPTION = "Status", "Description"
"""What the client calls the server's word; a publisher's line of that name is kept in lower case."""
_VERSION = b"NATS/1.0"
_STATUS_DIGITS = 3


def parse_headers(block: bytes | None) -> dict[str, str] | None:
    """Return the headers of a block, the last of a name; a line that is none is left out. Never raises."""
    if not block:
        return None
    first, _, rest = block.partition(b"\r\n")
    found = _server_word(first)
    for line in rest.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        key = name.strip().decode("ascii", "replace")
        if colon and key and key.isascii() and key.isprintable() and " " not in key:
            own = key.lower() if key in (STATUS, DESCRIPTION) else key
            found[own] = value.strip().decode("utf-8", "replace")
    return found or None


def _server_word(line: bytes) -> dict[str, str]:
    """Return the status and its description from `NATS/1.0 404 No Messages`."""
    if not line.startswith(_VERSION + b" "):
        return {}
    status, _, description = line[len(_VERSION) + 1 :].partition(b" ")
    if len(status) != _STATUS_DIGITS or not status.isdigit():
        return {}
    # Always with a description: the client looks one up without asking whether it is there.
    return {STATUS: status.decode(), DESCRIPTION: description.strip().decode("utf-8", "replace")}
