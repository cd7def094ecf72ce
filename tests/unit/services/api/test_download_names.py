"""What a download is called: nothing in a name gets out of its header."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest

from services.api.features.files.naming import disposition, name_of


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"a\"b'c", "a\"b'c"), (b"new\nline\r", "new_line_"), (b"latin1-\xe9", "latin1-%E9"), ("größe".encode(), "größe"),
        (b"..", "_"), (b"", "_"), (b"back\\slash", "back_slash"), ("\u202eexe.txt".encode(), "_exe.txt"), (b" ", "_"),
        (b"x" * 300, "x" * 200), (b"a;b=c%41", "a;b=c%41"),
    ],
)  # fmt: skip
def test_a_hostile_name_is_harmless_in_its_header(raw: bytes, name: str) -> None:
    assert name_of("web1", datetime.now(UTC), [b"srv/" + raw], "file") == name
    header = disposition("attachment", name)
    assert header.isascii()
    assert header.isprintable()
    found = re.fullmatch(r"attachment; filename=\"([^\"\\]*)\"; filename\*=UTF-8''([A-Za-z0-9!#$&+.^_`|~%-]*)", header)
    assert found is not None
    assert unquote(found[2]) == name
