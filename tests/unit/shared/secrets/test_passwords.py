"""A password that is tried first by everybody lets everybody in."""

from __future__ import annotations

import pytest

from shared.errors import Invalid
from shared.secrets.passwords import check_password, hash_password, verify_password

REFUSED = {
    "short": "password_length",
    "elevenchars": "password_length",
    "x" * 1025: "password_length",
    "password1234": "password_common",
    "Password!2026": "password_common",
    "passwordpassword": "password_common",
    "aaaaaaaaaaaaaa": "password_common",
    "abcabcabcabcab": "password_common",
    "123456789012": "password_common",
    "qwertyuiopqwerty": "password_common",
    "poiuytrewqpoi": "password_common",
    "abcdefghijklmn": "password_common",
    "zyxwvutsrqpon": "password_common",
    "lovelace-ada": "password_is_name",
    "Lovelace.Ada99": "password_is_name",
}
TAKEN = (
    "correct horse battery staple",
    "Tr0ub4dor&3xyz!",
    "lovelace-ada keeps 7 geese",
    "p4ssw0rd mit Käsefondue",
    " " * 3 + "leading spaces count",
)


@pytest.mark.parametrize("password", sorted(REFUSED))
def test_what_is_tried_first_is_refused_and_not_repeated(password: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_password(password, "lovelace-ada")
    assert caught.value.code == REFUSED[password]
    assert password not in caught.value.message + caught.value.remedy


@pytest.mark.parametrize("password", TAKEN)
def test_what_nobody_guesses_is_taken_as_it_is(password: str) -> None:
    assert check_password(password, "lovelace-ada") == password


def test_of_a_password_only_what_argon2id_made_of_it_is_kept() -> None:
    kept = hash_password("correct horse battery staple")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert "horse" not in kept
    assert kept != hash_password("correct horse battery staple")
    assert verify_password(kept, "correct horse battery staple")
    assert not verify_password(kept, "correct horse battery stapl")


@pytest.mark.parametrize("kept", [None, "", "$argon2id$broken", "plain"])
def test_nobody_is_let_in_without_a_password_that_was_kept(kept: str | None) -> None:
    for password in ("", "nobody's", "plain"):
        assert not verify_password(kept, password)
