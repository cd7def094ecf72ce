"""Refusals say code, parameters and sentence of the catalogue, and where in the request it is; never what was sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import httpx2
import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from services.api.app import build_app
from services.api.kernel.errors import answer_error
from services.api.kernel.invalid import code_of, field_problem, pointer
from shared.domain.message import plain
from shared.domain.messages import CATALOGUE
from shared.domain.messages.backups import ARCHIVE_HELD
from shared.errors import Conflict
from shared.runtime.service import Parts

CANARY = "canary-of-a-password"


@pytest.fixture
async def stranger(parts: Parts) -> AsyncIterator[httpx2.AsyncClient]:
    """A client without a token."""
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=build_app(parts)), base_url="http://test"
    ) as client:
        yield client


async def test_everybody_may_read_what_a_code_means(stranger: httpx2.AsyncClient) -> None:
    every = (await stranger.get("/api/errors")).json()
    assert [one["key"] for one in every] == list(CATALOGUE)
    one = (await stranger.get("/api/errors/server_unreachable")).json()
    assert len(one) > 1
    assert {entry["code"] for entry in one} == {"server_unreachable"}
    by_key = (await stranger.get("/api/errors/part.given_up_after")).json()
    assert [(entry["code"], entry["params"]) for entry in by_key] == [("", ["reason", "failures"])]


async def test_an_unknown_code_is_a_problem_itself(stranger: httpx2.AsyncClient) -> None:
    answer = await stranger.get("/api/errors/no_such_code")
    told = answer.json()
    assert (answer.status_code, told["code"], told["params"]) == (404, "not_found", {"noun": "code"})
    assert told["type"] == "/api/errors/not_found"
    assert (await stranger.get(told["type"])).status_code == 200


async def test_a_path_that_is_none_has_an_entry(stranger: httpx2.AsyncClient) -> None:
    assert (await stranger.get("/api/nothing")).json()["key"] == "not_found.path"


def told(error: Conflict) -> dict[str, Any]:
    return TypeAdapter[dict[str, Any]](dict[str, Any]).validate_json(bytes(answer_error(error, "r").body))


def test_a_refusal_has_its_parameters_beside_its_sentence() -> None:
    shown = told(Conflict(ARCHIVE_HELD(reason="\x1b[2Jaudit\u202e"), field="id"))
    assert (shown["code"], shown["key"], shown["request_id"]) == ("archive_held", "archive_held", "r")
    assert shown["params"] == {"reason": r"\x1b[2Jaudit\u202e"}
    assert shown["detail"] == r"this backup is held: \x1b[2Jaudit\u202e"
    assert (shown["errors"][0]["pointer"], shown["errors"][0]["code"]) == ("/id", "archive_held")


def test_a_sentence_without_an_entry_has_no_key() -> None:
    shown = told(Conflict(plain("words", code="x", remedy="y")))
    assert (shown["code"], shown["key"], shown["params"], shown["detail"]) == ("x", "", {}, "words")


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=2, max_length=5)
    size: int = Field(default=1, ge=1, lt=10)
    kind: Literal["a", "b"] = "a"
    host: str = Field(default="x", pattern="^[a-z]+$")
    ratio: float = Field(default=1.0, allow_inf_nan=False)
    many: list[int] = Field(default=[], max_length=1)

    @field_validator("host")
    @classmethod
    def _refused(cls, value: str) -> str:
        if value == "bad":
            message = "not this one"
            raise ValueError(message)
        return value


@pytest.mark.parametrize(
    ("body", "code", "where", "params"),
    [
        ({}, "missing", "/name", {}),
        ({"name": "ab", "naem": CANARY}, "unknown_field", "/naem", {}),
        ({"name": "ab", "a/b~c": CANARY}, "unknown_field", "/a~1b~0c", {}),
        ({"name": CANARY}, "too_long", "/name", {"max_length": 5}),
        ({"name": "a"}, "too_short", "/name", {"min_length": 2}),
        ({"name": "ab", "size": 0}, "out_of_range", "/size", {"ge": 1}),
        ({"name": "ab", "size": 10}, "out_of_range", "/size", {"lt": 10}),
        ({"name": "ab", "size": CANARY}, "wrong_type", "/size", {}),
        ({"name": None}, "wrong_type", "/name", {}),
        ({"name": "ab", "kind": CANARY}, "not_one_of", "/kind", {"expected": "'a' or 'b'"}),
        ({"name": "ab", "host": CANARY}, "bad_form", "/host", {"pattern": "^[a-z]+$"}),
        ({"name": "ab", "host": "bad"}, "invalid_value", "/host", {}),
        ({"name": "ab", "ratio": float("inf")}, "out_of_range", "/ratio", {}),
        ({"name": "ab", "many": [1, 2]}, "too_long", "/many", {"max_length": 1}),
        ({"name": "ab", "many": [CANARY]}, "wrong_type", "/many/0", {}),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
def test_a_field_is_named_by_pointer_and_code_without_what_was_sent(
    body: dict[str, Any], code: str, where: str, params: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate(body)
    found = field_problem({**caught.value.errors()[0], "loc": ("body", *caught.value.errors()[0]["loc"])})
    assert (found.code, found.pointer, found.params, found.location) == (code, where, params, "body")
    assert CANARY not in found.model_dump_json()
    assert CATALOGUE[found.code].status == 422


@pytest.mark.parametrize(
    ("kind", "code"),
    [("int_from_float", "wrong_type"), ("datetime_parsing", "wrong_type"), ("of_tomorrow", "invalid_value")],
)
def test_types_of_later_versions_of_pydantic_have_a_code_too(kind: str, code: str) -> None:
    assert code_of(kind).code == code


@pytest.mark.parametrize("step", ["\x1b[2J", "x" * 100_000, "\udc00", "\n"])
def test_a_hostile_field_name_is_inert(step: str) -> None:
    shown = pointer([step] * 50)
    assert len(shown) <= 1000
    assert not {"\x1b", "\udc00"} & set(shown)
