"""Logins, sessions, and what one may know of oneself."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from services.api.kernel.schemas import In, Out, Secret
from shared.domain.names import Name, Text
from shared.domain.permissions import Permission
from shared.domain.values import CleanText

Method = Literal["password", "totp", "recovery_code", "link"]


def _one_line(value: str) -> str:
    return value.strip()


Credential = Annotated[CleanText, Field(max_length=64), AfterValidator(_one_line)]
"""What somebody types to say who he is; it need not be a name that there is."""


class MethodsOut(Out):
    """What the login page offers."""

    setup: bool = Field(description="No person administers this fleet yet: use the link that was printed.")
    encrypted: bool = Field(description="False where neither a password nor a session is taken: not over https.")
    methods: list[Method]


class SetupIn(In):
    """The first administrator."""

    link: Secret = Field(description="What stands after the # in the link that was printed.")
    name: Name = Field(examples=["ada"])
    display_name: Text = ""
    password: Secret


class LoginIn(In):
    """A name and its password."""

    name: Credential = Field(examples=["ada"])
    password: Secret


class AcceptIn(In):
    """A password for who was invited, or whose password was reset."""

    link: Secret = Field(description="What stands after the # in the link.")
    password: Secret


class ProofIn(In):
    """A second factor: one of both."""

    code: Secret | None = Field(default=None, description="The six digits that the app shows.", examples=["123456"])
    recovery_code: Secret | None = None


class SecondFactorIn(ProofIn):
    """What a login waits for whose password was right."""

    flow: Secret = Field(description="As the answer to the password had it.")


class StepUpIn(ProofIn):
    """One's password once more, and a code with a second factor, before accounts or secrets are changed."""

    password: Secret


class CodeIn(In):
    """The first code of an app: it has the secret."""

    code: Secret = Field(examples=["123456"])


class TotpOut(Out):
    """What an app needs to show codes; shown this once."""

    secret: str = Field(description="In base32, to type it.")
    uri: str = Field(description="otpauth://..., as apps read it from a QR code.")


class RecoveryCodesOut(Out):
    """Codes that stand for the second factor once each; shown this once."""

    recovery_codes: list[str]


class PasswordIn(In):
    """A new password."""

    old: Secret
    new: Secret


class RoleOut(Out):
    """One of one's roles."""

    role: str
    tag: str | None = Field(default=None, description="The servers that it is for; null: the whole fleet.")


class MeOut(Out):
    """Who one is, and what one may."""

    kind: Literal["user", "token"]
    id: uuid.UUID
    name: str
    display_name: str = ""
    user: str | None = Field(default=None, description="Whose token it is; null: nobody's in particular.")
    grants: list[RoleOut] = Field(default=[])
    permissions: list[Permission] = Field(description="All that one may, be it for some servers only.")
    limited: list[Permission] = Field(description="Those of them that are for some servers only.")
    session_id: uuid.UUID | None = None
    strong_until: datetime | None = Field(
        default=None, description="Until then accounts and secrets can be changed without the password once more."
    )
    second_factor: bool = False
    second_factor_required: bool = Field(
        default=False, description="One has to set up a second factor, and may nothing else until then."
    )
    recovery_codes: int | None = Field(default=None, description="With a second factor: how many are left.")


class SessionOut(Out):
    """A browser that is logged in."""

    id: uuid.UUID
    created_at: datetime
    seen_at: datetime = Field(description="Within a minute.")
    expires_at: datetime
    address: str
    agent: str
    methods: str
    current: bool = False
