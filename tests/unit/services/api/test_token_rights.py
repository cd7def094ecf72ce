"""What a token may, read from its row: what cannot be read gives nothing, and refuses nobody's request with an error."""

from __future__ import annotations

from typing import Any

import pytest

from services.api.kernel.rights import EVERYTHING, narrowed
from services.api.security.tokens import texts_of


@pytest.mark.parametrize(
    "stored", [12, 0.5, True, "servers:read", {}, {"servers:read": 1}, [], [1], [["servers:read"]]]
)
def test_permissions_that_cannot_be_read_give_none(stored: Any) -> None:
    assert texts_of(stored) == []
    assert not narrowed(EVERYTHING, texts_of(stored), None).all


def test_no_permissions_are_all_and_those_that_can_be_read_count() -> None:
    assert texts_of(None) is None
    assert texts_of(["servers:read", 7]) == ["servers:read"]
