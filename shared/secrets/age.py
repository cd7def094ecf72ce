"""Files encrypted for people, in the format of age: for public keys, or with a passphrase."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shared.domain.messages.recovery_kit import (
    KIT_NO_RECIPIENT,
    KIT_NOT_FOR_KEY,
    KIT_PASSPHRASE_SHORT,
    KIT_PASSPHRASE_WRONG,
    KIT_RECIPIENT_INVALID,
    KIT_SEALED_IDENTITY,
    KIT_SEALED_PASSPHRASE,
)
from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD = b"age-encryption.org/"
"""With this begins a file of age's."""
SHORTEST_PASSPHRASE = 12
_SCRYPT = b"-> scrypt "
_FIRST_LINES = 200
_SHOWN = 9
"""Characters of what was given for a public key: it may be a private one."""


def sealed_for(plain: bytes, recipients: Sequence[str]) -> bytes:
    """Encrypt for public keys, each of which opens it alone: `age1...`, `ssh-ed25519 ...`; Invalid for another text."""
    if not recipients:
        raise Invalid(KIT_NO_RECIPIENT())
    return bytes(_age().encrypt(plain, [_recipient(one) for one in recipients]))


def sealed_with(plain: bytes, passphrase: str) -> bytes:
    """Encrypt with a passphrase; Invalid if that is too short to keep."""
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise Invalid(KIT_PASSPHRASE_SHORT(least=SHORTEST_PASSPHRASE))
    return bytes(_age().passphrase.encrypt(plain, passphrase))


def opened(sealed: bytes, *, identities: str = "", passphrase: str = "") -> bytes:
    """Decrypt with private keys, one a line as in a file of age's, or with a passphrase; Invalid if neither opens it.

    An altered file is not opened, and one that was cut short neither.
    """
    by_passphrase = _SCRYPT in sealed[:_FIRST_LINES]
    if by_passphrase and not passphrase:
        raise Invalid(KIT_SEALED_PASSPHRASE())
    if not by_passphrase and not identities:
        raise Invalid(KIT_SEALED_IDENTITY())
    age = _age()
    try:
        if by_passphrase:
            return bytes(age.passphrase.decrypt(sealed, passphrase))
        return bytes(age.decrypt(sealed, _identities(identities)))
    except age.DecryptError as error:
        raise Invalid(KIT_PASSPHRASE_WRONG() if by_passphrase else KIT_NOT_FOR_KEY()) from error


def _recipient(text: str) -> Any:
    age, words = _age(), text.strip()
    kind = age.ssh.Recipient if words.startswith("ssh-") else age.x25519.Recipient
    try:
        return kind.from_str(words)
    except age.RecipientError as error:
        raise Invalid(KIT_RECIPIENT_INVALID(recipient=words[:_SHOWN])) from error


def _identities(text: str) -> list[Any]:
    age = _age()
    try:
        if "PRIVATE KEY-----" in text:
            return [age.ssh.Identity.from_buffer(text.encode())]
        lines = [line.strip() for line in text.splitlines()]
        found = [age.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except age.IdentityError as error:
        raise Invalid(KIT_NOT_FOR_KEY()) from error
    if not found:
        raise Invalid(KIT_NOT_FOR_KEY())
    return found


def _age() -> Any:
    """Return the library, which has no types; it loads only where a kit is made or opened."""
    return import_module("pyrage")
