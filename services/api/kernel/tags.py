"""Servers by their tags, as lists of several features select them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Protocol

from fastapi import Query
from sqlalchemy import Select, select

from shared.db.tables.server import Server
from shared.db.tables.tag import ServerTag, Tag
from shared.domain.tags import TagName, names_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class Tagged(Protocol):
    """What shows tags by name."""

    tags: list[str]
    unreadable: list[str]


OfTags = Annotated[
    list[TagName],
    Query(
        default_factory=list[str], max_length=20, description="Those with this tag; repeated, those with all of them."
    ),
]


def with_tags(out: Tagged, stored: object, tags: Sequence[str]) -> None:
    """Show the tags of the table, and say so where the list beside it, of older versions, cannot be read."""
    out.tags = list(tags)
    if names_of(stored) is None and "tags" not in out.unreadable:
        out.unreadable = [*out.unreadable, "tags"]


def having(query: Select[*tuple[Any, ...]], tags: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """Narrow a query of servers to those that have all of these tags; one that nobody has selects none."""
    for name in dict.fromkeys(tags):
        tag = select(Tag.id).where(Tag.name == name).scalar_subquery()
        query = query.where(Server.id.in_(select(ServerTag.server_id).where(ServerTag.tag_id == tag)))
    return query
