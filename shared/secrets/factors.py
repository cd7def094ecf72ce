"""Second factors: one-time codes of an app (TOTP, RFC 6238), and recovery codes that stand for them once each."""

from __future__ import annotations

import hmac
import re
import secrets
from typing import TYPE_CHECKING

from pyotp import random_base32
from pyotp.totp import TOTP

from shared.secrets.tokens import digest_of

if TYPE_CHECKING:
    import uuid
    from datetime import datetime

ISSUER = "Borgfleet"
STEP_SECONDS = 30
RECOVERY_CODES = 10
_STEPS_BESIDE = (0, -1, 1)
"""A phone's clock may be off by half a minute, and typing takes a while."""
_CODE = re.compile(r"[0-9]{6}")
_SPACES = re.compile(r"[\s-]+")
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_GROUPS, _OF_GROUP = 4, 4
"""80 random bits: who reads the digests in the database does not find the codes by trying."""


def new_totp_secret() -> str:
    """Return 160 random bits in base32, as apps take them."""
    return random_base32()


def totp_uri(secret: str, name: str) -> str:
    """Return what apps read from a QR code: `otpauth://totp/Borgfleet:<name>?secret=...&issuer=Borgfleet`."""
    return TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)


def step_of(secret: str, code: str, at: datetime) -> int | None:
    """Return the time step that a code is of, one before or after `at` at most; None for a wrong code."""
    typed = _SPACES.sub("", code)
    if not _CODE.fullmatch(typed):
        return None
    now, totp = int(at.timestamp()) // STEP_SECONDS, TOTP(secret)
    right = [now + beside for beside in _STEPS_BESIDE if hmac.compare_digest(totp.generate_otp(now + beside), typed)]
    return right[0] if right else None


def new_recovery_codes() -> list[str]:
    """Return ten codes of four groups, as `k3fm-9xqa-2hdp-w7cz`."""
    return ["-".join(_group() for _ in range(_GROUPS)) for _ in range(RECOVERY_CODES)]


def recovery_digest(user_id: uuid.UUID, code: str) -> str:
    """Return what is kept of a user's recovery code, however its groups were typed."""
    return digest_of(f"recovery-code:{user_id.hex}", _SPACES.sub("", code).lower())


def _group() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_OF_GROUP))
