"""Strict queries: a parameter that a route does not know, or that is given twice, is refused and never ignored.

A filter that is ignored in a script that deletes is a disaster.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from shared.domain.messages.requests import DOUBLED_PARAMETER, UNKNOWN_PARAMETER
from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import Request
    from fastapi.dependencies.models import Dependant
    from pydantic.fields import FieldInfo

_NAMED = 5
"""Parameters named in a refusal at most."""


def parameters_of(dependant: Dependant) -> dict[str, bool]:
    """Return the query parameters that a route takes, and whether each may be repeated."""
    known: dict[str, bool] = {}
    stack = [dependant]
    while stack:
        one = stack.pop()
        stack += one.dependencies
        for field in one.query_params:
            known |= dict(_named(field.alias, field.field_info))
    return known


def refuse_others(request: Request, known: dict[str, bool]) -> None:
    """Raise `Invalid` for parameters that are not known, and for those given more than once that may not be."""
    given = Counter(name for name, _ in request.query_params.multi_items())
    if unknown := [name for name in given if name not in known]:
        raise Invalid(UNKNOWN_PARAMETER(names=_quoted(unknown), known=_quoted(sorted(known), len(known))))
    if doubled := [name for name, count in given.items() if count > 1 and not known[name]]:
        raise Invalid(DOUBLED_PARAMETER(names=_quoted(doubled)))


def _named(alias: str, field: FieldInfo) -> Iterator[tuple[str, bool]]:
    """Yield a parameter, or, of a model of parameters, each of its own."""
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, inner in kind.model_fields.items():
            yield from _named(inner.alias or name, inner)
    else:
        yield alias, _is_list(kind)


def _is_list(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _is_list(get_args(hint)[0])
    return get_origin(hint) is list or any(_is_list(one) for one in get_args(hint) if get_origin(hint) is not dict)


def _quoted(names: list[str], most: int = _NAMED) -> str:
    return ", ".join(f"`{name[:60]}`" for name in names[:most])
