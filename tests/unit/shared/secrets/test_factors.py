"""One-time codes as RFC 6238 has them, and recovery codes."""

from __future__ import annotations

import base64
import uuid
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.secrets.factors import (
    RECOVERY_CODES,
    STEP_SECONDS,
    new_recovery_codes,
    new_totp_secret,
    recovery_digest,
    step_of,
    totp_uri,
)

RFC = base64.b32encode(b"12345678901234567890").decode()
VECTORS = {
    59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037",
    20000000000: "65353130",
}  # fmt: skip
"""RFC 6238, appendix B, SHA-1; apps show the last six of the eight digits."""


@pytest.mark.parametrize(("seconds", "code"), VECTORS.items())
def test_the_vectors_of_the_rfc(seconds: int, code: str) -> None:
    step = seconds // STEP_SECONDS
    for beside, found in ((-2, None), (-1, step), (0, step), (1, step), (2, None)):
        at = datetime.fromtimestamp(seconds + beside * STEP_SECONDS, UTC)
        if at.timestamp() > STEP_SECONDS:  # the first vector is of the second step that there ever was
            assert step_of(RFC, code[-6:], at) == found


@pytest.mark.parametrize(
    "typed",
    ["", "28708", "2870822", "94287082", "28708a", "\u0662\u0668\u0667\u0660\u0668\u0662", "28708\x00", "+87082", "０１２３４５"],  # noqa: RUF001 - digits that are none
)  # fmt: skip
def test_what_is_no_code_is_wrong(typed: str) -> None:
    assert step_of(RFC, typed, datetime.fromtimestamp(59, UTC)) is None


@pytest.mark.parametrize("typed", ["287082", " 287 082 ", "287-082", "287\u00a0082"])
def test_a_code_is_taken_however_it_is_spaced(typed: str) -> None:
    assert step_of(RFC, typed, datetime.fromtimestamp(59, UTC)) == 1


def test_a_secret_has_160_bits_and_its_uri_says_what_apps_need() -> None:
    secrets = {new_totp_secret() for _ in range(50)}
    assert len(secrets) == 50
    assert {len(base64.b32decode(one)) for one in secrets} == {20}
    uri = urlsplit(totp_uri(RFC, "ada.o'neill"))
    assert (uri.scheme, uri.netloc, uri.path) == ("otpauth", "totp", "/Borgfleet:ada.o%27neill")
    assert parse_qs(uri.query) == {"secret": [RFC], "issuer": ["Borgfleet"]}


def test_recovery_codes_differ_and_are_one_users() -> None:
    codes = [code for _ in range(20) for code in new_recovery_codes()]
    assert len(set(codes)) == 20 * RECOVERY_CODES
    ada, bea = uuid.uuid4(), uuid.uuid4()
    for code in codes:
        assert recovery_digest(ada, code) == recovery_digest(ada, f" {code.upper().replace('-', ' ')} ")
        assert recovery_digest(ada, code) != recovery_digest(bea, code)
        assert code not in recovery_digest(ada, code)
