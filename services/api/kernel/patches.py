"""PATCH as RFC 7396 says: what a patch names is changed, null removes it, everything else stays as it is.

The patch is merged onto the definition as the change finds it, and the result is checked as one that was sent whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, cast

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, SkipValidation, ValidationError, create_model
from pydantic.fields import FieldInfo

from services.api.kernel.errors import Refused
from shared.domain.messages.requests import NOT_MERGE_PATCH

if TYPE_CHECKING:
    from collections.abc import Mapping

M = TypeVar("M", bound=BaseModel)
MERGE_PATCH = "application/merge-patch+json"
_TAKEN = frozenset({MERGE_PATCH, "application/json"})


class Patch(BaseModel):
    """What is to change of something."""

    model_config = ConfigDict(extra="forbid")
    whole: ClassVar[type[BaseModel]]
    """What it is checked as, once it is merged."""


def patch_of(model: type[BaseModel]) -> type[Patch]:
    """Return the base of a patch's model: each field may be left out, and is checked once it is merged."""
    fields: dict[str, Any] = {
        field: (Annotated[SkipValidation[info.rebuild_annotation() | None], _described(info)], None)
        for field, info in model.model_fields.items()
    }
    made = create_model(f"{model.__name__}Patch", __base__=Patch, **fields)
    made.whole = model
    return made


def _described(info: FieldInfo) -> Any:
    return FieldInfo(description=info.description, examples=info.examples)


async def merge_patch(request: Request) -> None:
    """Refuse bodies that are JSON of another meaning, as JSON Patch."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _TAKEN:
        raise Refused(NOT_MERGE_PATCH(kind=kind[:100] or "of no type"))


MERGES = Depends(merge_patch)
"""A dependency of each route that takes a patch."""


def documented(patch: type[Patch]) -> dict[str, Any]:
    """Return what OpenAPI is told of a patch beside its schema: the other type of its body."""
    schema = {"$ref": f"#/components/schemas/{patch.__name__}"}
    return {"requestBody": {"content": {MERGE_PATCH: {"schema": schema}}}}


def merged(model: type[M], present: Mapping[str, Any], patch: Patch, **emptied: Any) -> M:
    """Return a whole definition: the present one with a patch merged onto it; RequestValidationError if it is none.

    `emptied` says what null makes of fields that have a value of their own for nothing.
    """
    asked = {name: getattr(patch, name) for name in patch.model_fields_set}
    asked |= {name: value for name, value in emptied.items() if name in asked and asked[name] is None}
    try:
        made = model.model_validate(_merge(present, asked))
    except ValidationError as error:
        raise _as_of_the_body(error.errors()) from None
    _refuse_unknown(model, _merge(present, asked, keep=True))
    return made


def _merge(target: Any, patch: Any, *, keep: bool = False) -> Any:
    """Merge as RFC 7396 says; `keep`: what is null is set, and not removed."""
    if not isinstance(patch, dict):
        return patch
    made = dict(cast("dict[str, Any]", target)) if isinstance(target, dict) else {}
    for name, value in cast("dict[str, Any]", patch).items():
        if value is None and not keep:
            made.pop(name, None)
        else:
            made[name] = _merge(made.get(name), value, keep=keep)
    return made


def _refuse_unknown(model: type[BaseModel], whole: Any) -> None:
    """Refuse to remove what could not be there: a misspelt name would pass in silence."""
    try:
        model.model_validate(whole)
    except ValidationError as error:
        if unknown := [one for one in error.errors() if one["type"] == "extra_forbidden"]:
            raise _as_of_the_body(unknown) from None


def _as_of_the_body(errors: list[Any]) -> RequestValidationError:
    return RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in errors])
