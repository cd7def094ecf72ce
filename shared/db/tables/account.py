"""People, what they may do, how they log in, and the tokens of programs; owned by the gateway."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.tables.base import Base, Versioned, binary_text, db_now
from shared.domain.ids import new_id

_DIGEST = 64


class User(Versioned, Base):
    """A person, or a service that only has tokens. Of a password there is only what argon2id made of it."""

    __tablename__ = "users"
    DEFINITION = frozenset({"display_name", "email", "kind", "name", "state"})

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(binary_text(63), unique=True)
    display_name: Mapped[str] = mapped_column(binary_text(200), default="")
    email: Mapped[str] = mapped_column(binary_text(254), default="")
    kind: Mapped[str] = mapped_column(binary_text(10), default="person")
    """person or service."""
    password_hash: Mapped[str | None] = mapped_column(binary_text(200), default=None)
    state: Mapped[str] = mapped_column(binary_text(10), default="active")
    """active, disabled, or invited: has not chosen a password yet."""
    locale: Mapped[str] = mapped_column(binary_text(10), default="")
    zone: Mapped[str] = mapped_column(binary_text(64), default="")
    totp_enabled: Mapped[bool] = mapped_column(default=False)
    totp_last_step: Mapped[int | None] = mapped_column(BigInteger, default=None)
    """The time step of the last code: no code is taken twice."""
    password_changed_at: Mapped[datetime | None] = mapped_column(default=None)
    last_login_at: Mapped[datetime | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(default=db_now())


class Grant(Base):
    """A role of a user: for the whole fleet, or for the servers with a tag."""

    __tablename__ = "grants"
    __table_args__ = (UniqueConstraint("user_id", "role", "tag_id"), Index("ix_grants_tag_id", "tag_id"))

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    role: Mapped[str] = mapped_column(binary_text(20))
    tag_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tags.id"), default=None)
    """None: for the fleet. A tag that a grant refers to cannot be deleted: the grant would be for more."""
    granted_by: Mapped[str] = mapped_column(binary_text(100), default="")
    created_at: Mapped[datetime] = mapped_column(default=db_now())


class LoginSession(Base):
    """A browser that is logged in; of its cookie only the SHA-256 is kept."""

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_user_id", "user_id"), Index("ix_sessions_expires_at", "expires_at"))

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    digest: Mapped[str] = mapped_column(binary_text(_DIGEST), unique=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(default=db_now())
    seen_at: Mapped[datetime] = mapped_column(default=db_now())
    """Written once a minute at most."""
    expires_at: Mapped[datetime]
    """When it ends whatever its user does."""
    address: Mapped[str] = mapped_column(binary_text(64), default="")
    agent: Mapped[str] = mapped_column(binary_text(200), default="")
    methods: Mapped[str] = mapped_column(binary_text(60), default="")
    """How its user proved who he is: password, totp, recovery_code, link; with commas between."""
    strong_at: Mapped[datetime] = mapped_column(default=db_now())
    """When he last proved it."""


class ApiToken(Base):
    """A bearer token of the API: only its SHA-256 is kept.

    Without a user it is one of the first kind, or the one of the command line on this machine: it may everything.
    """

    __tablename__ = "api_tokens"
    __table_args__ = (UniqueConstraint("prefix"), Index("ix_api_tokens_user_id", "user_id"))

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(binary_text(63), unique=True)
    digest: Mapped[str] = mapped_column(binary_text(_DIGEST), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=db_now())
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), default=None)
    prefix: Mapped[str | None] = mapped_column(binary_text(12), default=None)
    """What is shown of it, to tell one from another."""
    permissions: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """None: all that its user may. Never more than that, whatever stands here."""
    tag_ids: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """None: all servers that its user may see."""
    expires_at: Mapped[datetime | None] = mapped_column(default=None)
    last_used_at: Mapped[datetime | None] = mapped_column(default=None)
    """Written once a minute at most."""
    last_used_from: Mapped[str | None] = mapped_column(binary_text(64), default=None)
    revoked_at: Mapped[datetime | None] = mapped_column(default=None)


class OneTimeLink(Base):
    """The secret of a link that works once: to make the first administrator, to accept an invitation, to reset."""

    __tablename__ = "one_time_links"
    __table_args__ = (Index("ix_one_time_links_user_id", "user_id"),)

    digest: Mapped[str] = mapped_column(binary_text(_DIGEST), primary_key=True)
    kind: Mapped[str] = mapped_column(binary_text(10))
    """setup, invite or reset."""
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), default=None)
    created_at: Mapped[datetime] = mapped_column(default=db_now())
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None] = mapped_column(default=None)


class LoginFlow(Base):
    """A login whose first factor was right and whose second is awaited; of its secret only the SHA-256 is kept."""

    __tablename__ = "login_flows"
    __table_args__ = (Index("ix_login_flows_user_id", "user_id"),)

    digest: Mapped[str] = mapped_column(binary_text(_DIGEST), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    methods: Mapped[str] = mapped_column(binary_text(60))
    created_at: Mapped[datetime] = mapped_column(default=db_now())
    expires_at: Mapped[datetime]
    failures: Mapped[int] = mapped_column(default=0)


class RecoveryCode(Base):
    """A code that stands for the second factor once."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[str] = mapped_column(binary_text(_DIGEST), primary_key=True)
    used_at: Mapped[datetime | None] = mapped_column(default=None)


class Throttle(Base):
    """Failed logins of an account or from an address, so that replicas count together."""

    __tablename__ = "throttles"
    __table_args__ = (Index("ix_throttles_last_at", "last_at"),)

    key: Mapped[str] = mapped_column(binary_text(120), primary_key=True)
    failures: Mapped[int] = mapped_column(default=0)
    blocked_until: Mapped[datetime] = mapped_column(default=db_now())
    last_at: Mapped[datetime] = mapped_column(default=db_now())
