"""Passwords of people: which are refused, and what argon2id makes of the others."""

from __future__ import annotations

import re
from functools import cache

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from shared.domain.messages.accounts import PASSWORD_COMMON, PASSWORD_IS_NAME, PASSWORD_LENGTH
from shared.errors import Invalid

SHORTEST, LONGEST = 12, 1024
_EDGES = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_SHORTEST_WORD, _MOST_ADDED = 4, 7
"""A common word stays one with a year and a sign beside it."""
_FEWEST_BESIDE_NAME = 5
_LONGEST_PART = 64
_SIGNS = re.compile(r"[\W_]+")
_ROWS = ("abcdefghijklmnopqrstuvwxyz", "0123456789", "1234567890", "qwertyuiop", "azertyuiop", "qwertzuiop")


def check_password(password: str, name: str) -> str:
    """Return a password that nobody guesses in a few tries; Invalid for others, without repeating them."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Invalid(PASSWORD_LENGTH(shortest=SHORTEST, longest=LONGEST))
    folded = password.casefold()
    letters, own = _SIGNS.sub("", folded), _SIGNS.sub("", name.casefold())
    if own and len(letters.replace(own, "")) < _FEWEST_BESIDE_NAME <= len(letters):
        raise Invalid(PASSWORD_IS_NAME())
    if _is_common(folded):
        raise Invalid(PASSWORD_COMMON())
    return password


def hash_password(password: str) -> str:
    """Return what is kept of a password. It takes some 80 ms of processor time: call it in a thread."""
    return _hasher().hash(password)


def verify_password(kept: str | None, password: str) -> bool:
    """Tell whether it is the password; without one that is kept it takes as long, and is not."""
    try:
        return _hasher().verify(kept or _nobodys(), password) and bool(kept)
    except (VerificationError, InvalidHashError):
        return False


def is_weaker(kept: str) -> bool:
    """Tell whether it was made with other parameters than those of today."""
    return _hasher().check_needs_rehash(kept)


def _is_common(folded: str) -> bool:
    core = _EDGES.sub("", folded)
    added = len(folded) - len(core)
    if folded in _common() or (len(core) >= _SHORTEST_WORD and added <= _MOST_ADDED and core in _common()):
        return True
    return _is_repeated(folded) or _is_a_row(folded)


def _is_repeated(folded: str) -> bool:
    """Tell whether it is a shorter text over and over."""
    return any(
        folded == (folded[:period] * len(folded))[: len(folded)]
        for period in range(1, min(len(folded) // 2, _LONGEST_PART) + 1)
    )


def _is_a_row(folded: str) -> bool:
    """Tell whether it runs along the keyboard, the alphabet or the digits, forth or back."""
    rows = [row * 3 for row in _ROWS]
    return any(folded in row or folded in row[::-1] for row in rows)


@cache
def _common() -> frozenset[str]:
    """Return some 30,000 passwords that are often found in leaks; loaded when the first one is chosen."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415 - see above

    return frozenset(FREQUENCY_LISTS["passwords"])


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)


@cache
def _nobodys() -> str:
    """Return the hash against which the password of an unknown user is tried."""
    return _hasher().hash("nobody's")
