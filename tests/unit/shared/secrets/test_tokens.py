"""Tokens that can be told from one another, found by scanners, and made again from nothing that is kept."""

from __future__ import annotations

import hashlib
import re

from shared.secrets.tokens import api_token_digest, digest_of, new_api_token, new_secret


def test_a_token_has_the_form_that_scanners_look_for() -> None:
    made = [new_api_token() for _ in range(50)]
    assert all(re.fullmatch(r"bf_[a-z2-9]{8}_[A-Za-z0-9_-]{43}_[0-9a-f]{8}", one.text) for one in made)
    assert all(one.text[3:11] == one.prefix and api_token_digest(one.text) == one.digest for one in made)
    assert len({one.digest for one in made}) == 50


def test_tokens_of_before_are_known_by_their_plain_digest_and_newer_ones_are_not() -> None:
    old, new = "bf_" + "x" * 43, new_api_token().text
    assert api_token_digest(old) == hashlib.sha256(old.encode()).hexdigest()
    assert api_token_digest(new) != hashlib.sha256(new.encode()).hexdigest()
    broken = new[:-1] + ("0" if new[-1] != "0" else "1")
    assert api_token_digest(broken) == hashlib.sha256(broken.encode()).hexdigest()


def test_a_secret_of_one_purpose_is_none_of_another() -> None:
    secret = new_secret()
    assert len({digest_of(purpose, secret) for purpose in ("session", "link", "flow", "api-token")}) == 4
