from __future__ import annotations

import base64

import pytest
from pydantic import ValidationError

from shared.domain.restoring import RestoreAsked, encoded


@pytest.mark.parametrize("path", ["/srv/x", "/a", "/srv/with space/é", "/device", "/prochain/x", "/running"])
def test_a_place_is_an_absolute_path_of_its_own(path: str) -> None:
    assert RestoreAsked(target_path=path).target_path == path


@pytest.mark.parametrize(
    "path",
    ["", "/", "x", "srv/x", "/srv/", "/srv//x", "/srv/../etc", "/srv/./x", "/..", "/a\nb", "/a\0", "/a\x7f", "/" + "x" * 1000,
     "/proc", "/proc/1", "/sys/x", "/dev/sda", "/run/x"],
)  # fmt: skip
def test_no_other_path_is_a_place(path: str) -> None:
    with pytest.raises(ValidationError):
        RestoreAsked(target_path=path)


def test_items_are_named_as_the_archive_does() -> None:
    asked = RestoreAsked(items=[encoded("/srv/www/"), base64.b64encode(b"caf\xe9").decode()])
    assert asked.paths == [b"srv/www", b"caf\xe9"]


@pytest.mark.parametrize("path", [b"", b"/", b"..", b"a/../b", b"a//b", b"./a", b"a\0b"])
def test_an_item_that_leads_elsewhere_is_none(path: bytes) -> None:
    with pytest.raises(ValidationError):
        RestoreAsked(items=[base64.b64encode(path).decode()])


@pytest.mark.parametrize(
    ("items", "params"),
    [
        (["srv/www"], {"mode": "beside"}),
        (["srv/www", "srv/mail"], {"mode": "swap"}),
        (["etc", "srv/a"], {"mode": "merge", "existing": "replace"}),
        (["running/x", "device"], {"mode": "merge"}),
    ],
)
def test_what_goes_to_where_it_was(items: list[str], params: dict[str, str]) -> None:
    asked = RestoreAsked.model_validate({"items": [encoded(item) for item in items]} | params)
    assert asked.in_place
    assert not RestoreAsked().in_place


@pytest.mark.parametrize(
    ("items", "params"),
    [
        ([], {"mode": "merge"}), ([], {"mode": "swap"}), (["a"], {"mode": "over"}),
        (["a"], {"mode": "beside", "target_path": "/srv/x"}), (["a"], {"mode": "swap", "layout": "full"}),
        (["a"], {"mode": "swap", "existing": "replace"}), (["a"], {"existing": "replace"}),
        (["proc"], {"mode": "merge"}), (["srv/a", "dev/null"], {"mode": "merge"}), (["run/x"], {"mode": "beside"}),
        (["srv/new\nline/x"], {"mode": "swap"}),
    ],
)  # fmt: skip
def test_what_cannot_go_to_where_it_was(items: list[str], params: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        RestoreAsked.model_validate({"items": [encoded(item) for item in items]} | params)


def test_a_directory_whose_name_is_no_utf_8_is_no_place_to_go_back_to() -> None:
    item = base64.b64encode(b"srv/caf\xe9/x").decode()
    with pytest.raises(ValidationError):
        RestoreAsked.model_validate({"items": [item], "mode": "merge"})


@pytest.mark.parametrize(
    ("items", "top"),
    [([], b""), (["a"], b""), (["a/b"], b"a"), (["a/b", "a/c"], b"a"), (["a/b/c", "a/b2"], b"a"), (["a/b", "c"], b""),
     (["a/b", "a/b/c"], b"a")],
)  # fmt: skip
def test_what_was_chosen_goes_below_its_common_directory(items: list[str], top: bytes) -> None:
    asked = RestoreAsked(items=[encoded(item) for item in items])
    assert asked.top == top
    assert asked.model_copy(update={"layout": "full"}).top == b""


def test_an_item_that_is_no_base64_is_none() -> None:
    with pytest.raises(ValidationError):
        RestoreAsked(items=["a b"])
