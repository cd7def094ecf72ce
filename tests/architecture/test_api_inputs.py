"""Whatever the API takes in is bounded: each body's field, each query and path parameter of each route, found from the app."""

from __future__ import annotations

import datetime as dt
import enum
import types
import uuid
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from annotated_types import MaxLen
from fastapi.routing import APIRoute
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from services.api.features import ROUTERS
from services.api.kernel.patches import Patch
from shared.domain.values import CleanText, Figure, Int32, Int63, Moment

REFUSED: dict[type, tuple[Any, ...]] = {
    str: ("\ud800", "a\x00b", "a\x1bb", "a\u202eb", "x" * 100_000),
    SecretStr: ("\ud800", "a\x00b", "x" * 100_000),
    int: (2**63, -(2**63) - 1, 10**400),
    float: (float("nan"), float("inf"), float("-inf")),
    dt.datetime: (
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1969-12-31T23:59:59Z",
        "2027-01-01T00:00:00",
    ),
}
PLAIN = (bool, uuid.UUID, dt.time)
Leaf = tuple[str, Any]


def leaves(where: str, hint: Any) -> Iterator[Leaf]:
    """Yield (where, annotation) of everything that holds no other input; of a list or dict, that it is bounded."""
    kind = bare(hint)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        outer = getattr(hint, "__metadata__", ())
        for one in get_args(kind):
            if one is not type(None):
                yield from leaves(where, Annotated[one, *outer] if outer else one)
    elif origin in (list, dict):
        yield where, hint
        for one in get_args(kind):
            yield from leaves(f"{where}[]", one)
    elif isinstance(kind, type) and issubclass(kind, Patch):
        yield from leaves(where, kind.whole)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield from leaves(f"{where}.{name}", whole(field))
    else:
        yield where, hint


def bare(hint: Any) -> Any:
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return hint


def whole(field: FieldInfo) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def inputs() -> list[Leaf]:
    found: list[Leaf] = []
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            name = f"{'/'.join(sorted(route.methods))} {route.path}"
            stack = [route.dependant]
            while stack:
                dependant = stack.pop()
                stack += dependant.dependencies
                for group in ("path_params", "query_params", "header_params", "cookie_params", "body_params"):
                    for parameter in getattr(dependant, group):
                        found += leaves(f"{name} {group[:-7]} {parameter.name}", whole(parameter.field_info))
    return found


INPUTS = inputs()


def unbounded(hint: Any) -> str:
    """Say why an input is not bounded; nothing if it is."""
    kind = bare(hint)
    if get_origin(kind) in (list, dict):
        said = [part for one in getattr(hint, "__metadata__", ()) for part in getattr(one, "metadata", [one])]
        return "" if any(isinstance(one, MaxLen) for one in said) else "has no max_length"
    if get_origin(kind) is Literal or kind in PLAIN or (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        return ""
    if kind not in REFUSED:
        return f"is of the type {kind}, of which this test knows nothing"
    adapter = TypeAdapter(hint)
    for value in REFUSED[kind]:
        try:
            adapter.validate_python(value)
        except ValidationError:
            continue
        return f"takes {str(value)[:30]!a}"
    return ""


def test_every_input_of_every_route_is_bounded() -> None:
    assert len(INPUTS) > 200
    assert {where: why for where, hint in INPUTS if (why := unbounded(hint))} == {}


@pytest.mark.parametrize("bare_type", [str, int, float, dt.datetime, SecretStr, list[int], dict[str, int], bytes, Any])
def test_a_bare_type_would_be_found(bare_type: Any) -> None:
    class Body(BaseModel):
        field: bare_type | None = None

    assert any(unbounded(hint) for _, hint in leaves("body", Body))


@pytest.mark.parametrize("good", [CleanText, Int32, Int63, Figure, Moment])
def test_the_types_for_inputs_are_bounded(good: Any) -> None:
    assert unbounded(good) == ""
