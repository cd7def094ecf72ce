"""The tags of servers, as their rows have them."""

from __future__ import annotations

from typing import cast

import structlog

_log = structlog.get_logger()


def tags_of(server: str, found: object) -> list[str]:
    """Return a server's tags as its row has them; what is no list of texts is none, and stops no other server's."""
    if not isinstance(found, list):
        if found is not None:
            _log.error("tags_unreadable", server=server)
        return []
    return [tag for tag in cast("list[object]", found) if isinstance(tag, str)]
