"""What is encrypted for a person is opened by him alone, and by age itself; nothing that was altered is opened."""

from __future__ import annotations

import pyrage
import pytest

from shared.errors import Invalid
from shared.secrets.age import HEAD, opened, sealed_for, sealed_with

KEY, OTHER = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
PASSPHRASE = "correct horse battery"
PLAIN = b"master key canary \x00\xff" * 1000


def identity_file(key: object) -> str:
    return f"# created: 2026-11-27\n# public key: age1...\n\n{key}\n"


def test_each_of_those_it_is_for_opens_it_alone() -> None:
    sealed = sealed_for(PLAIN, [str(KEY.to_public()), f"  {OTHER.to_public()}\n"])
    assert sealed.startswith(HEAD)
    assert b"canary" not in sealed
    for key in (KEY, OTHER):
        assert opened(sealed, identities=identity_file(key)) == PLAIN


def test_a_passphrase_opens_what_it_sealed() -> None:
    sealed = sealed_with(PLAIN, PASSPHRASE)
    assert sealed.startswith(HEAD)
    assert opened(sealed, passphrase=PASSPHRASE) == PLAIN
    with pytest.raises(Invalid) as refused:
        opened(sealed, passphrase=PASSPHRASE.upper())
    assert (refused.value.code, PASSPHRASE.upper() in str(refused.value)) == ("kit_not_opened", False)
    with pytest.raises(Invalid) as refused:
        opened(sealed, identities=identity_file(KEY))
    assert (refused.value.code, "--passphrase-file" in refused.value.remedy) == ("kit_sealed", True)


@pytest.mark.parametrize(
    ("identities", "code"),
    [
        ("", "kit_sealed"),
        ("# nothing but a remark\n", "kit_not_opened"),
        (identity_file(OTHER), "kit_not_opened"),
        ("AGE-SECRET-KEY-1NONE", "kit_not_opened"),
        (str(KEY.to_public()), "kit_not_opened"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nnone\n", "kit_not_opened"),
    ],
    ids=["none", "remark", "another", "no key", "a public key", "no SSH key"],
)
def test_another_key_does_not_open_it_and_is_not_told_on(identities: str, code: str) -> None:
    sealed = sealed_for(PLAIN, [str(KEY.to_public())])
    with pytest.raises(Invalid) as refused:
        opened(sealed, identities=identities)
    assert refused.value.code == code
    assert "SECRET" not in refused.value.message


@pytest.mark.parametrize(
    "change",
    [lambda b: b[:-1], lambda b: b[:100], lambda b: b[:-20] + bytes(20), lambda b: b + b"x"],
    ids=["cut", "head", "zeros", "longer"],
)
def test_an_altered_kit_is_not_opened(change: object) -> None:
    sealed = change(sealed_for(PLAIN, [str(KEY.to_public())]))
    with pytest.raises(Invalid, match="altered or cut short"):
        opened(sealed, identities=str(KEY))


@pytest.mark.parametrize(
    "recipient",
    [
        "",
        "age1",
        "age1qqqq",
        "AGE-SECRET-KEY-1QQQ",
        "ssh-ed25519 AAAA",
        "ssh-dss AAAA x",
        "ein Ä",
        "age1\n; rm",
        "x" * 10_000,
    ],
)
def test_what_is_no_public_key_is_refused(recipient: str) -> None:
    with pytest.raises(Invalid) as refused:
        sealed_for(PLAIN, [recipient])
    assert (refused.value.code, len(refused.value.message) < 300) == ("kit_recipient_invalid", True)


def test_a_kit_for_nobody_and_a_short_passphrase_are_refused() -> None:
    with pytest.raises(Invalid, match="nobody"):
        sealed_for(PLAIN, [])
    with pytest.raises(Invalid, match="12 characters"):
        sealed_with(PLAIN, "short")


def test_an_ssh_key_will_do() -> None:
    from shared.ssh.asyncssh import new_key_pair

    private, public = new_key_pair("person")
    assert opened(sealed_for(PLAIN, [public]), identities=private) == PLAIN
