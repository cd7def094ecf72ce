"""Tags of servers, who refers to them, and groups of servers by their tags; owned by the gateway."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, Versioned, binary_text, db_now, long_text
from shared.domain.ids import new_id
from shared.domain.tags import TAG_LENGTH


class Tag(Versioned, Base):
    """A word that servers carry; case counts. What refers to it does so by id, so that its name can change."""

    __tablename__ = "tags"
    DEFINITION = frozenset({"colour", "description", "name"})

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(binary_text(TAG_LENGTH), unique=True)
    colour: Mapped[str] = mapped_column(binary_text(20), default="")
    """`#rrggbb`; empty: as the viewer likes."""
    description: Mapped[str] = mapped_column(long_text(), default="")
    created_at: Mapped[datetime] = mapped_column(default=db_now())


class ServerTag(Base):
    """One tag of one server."""

    __tablename__ = "server_tags"
    __table_args__ = (Index("ix_server_tags_tag_id_server_id", "tag_id", "server_id"),)

    server_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True)
    tag_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tags.id"), primary_key=True)
    position: Mapped[int]
    """The order of their weight: where two tags have their own threshold, the first one's holds."""


class ChannelTag(Base):
    """One tag of which a channel hears. Without any it hears of all servers: none is ever taken away alone."""

    __tablename__ = "channel_tags"
    __table_args__ = (Index("ix_channel_tags_tag_id_channel_id", "tag_id", "channel_id"),)

    channel_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("notification_channels.id", ondelete="CASCADE"), primary_key=True
    )
    tag_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tags.id"), primary_key=True)
    position: Mapped[int]


class ServerGroup(Versioned, Base):
    """A named selection of servers by their tags; `groups` is a reserved word of MySQL."""

    __tablename__ = "server_groups"
    DEFINITION = frozenset({"description", "name"})

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(binary_text(63), unique=True)
    description: Mapped[str] = mapped_column(long_text(), default="")
    created_at: Mapped[datetime] = mapped_column(default=db_now())


class GroupTag(Base):
    """What a group asks of a server's tags: to have all of these, any of those, none of others."""

    __tablename__ = "group_tags"
    __table_args__ = (Index("ix_group_tags_tag_id_group_id", "tag_id", "group_id"),)

    group_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("server_groups.id", ondelete="CASCADE"), primary_key=True)
    tag_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tags.id"), primary_key=True)
    wanted: Mapped[str] = mapped_column(binary_text(4))
    """all, any or none."""
