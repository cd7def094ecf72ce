"""What all schemas share."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any, Generic, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from shared.domain.values import check_clean

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

T = TypeVar("T")


def _clean_secret(value: SecretStr) -> SecretStr:
    check_clean(value.get_secret_value())
    return value


Secret = Annotated[SecretStr, Field(max_length=2000), AfterValidator(_clean_secret)]
"""A password or a URL with one; never shown again."""


def _is_empty(names: list[str]) -> bool:
    return not names


class In(BaseModel):
    """A request's body; what is not known is refused, so that no misspelt field passes."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class Out(BaseModel):
    """An answer, read from a row.

    A row may hold what this version cannot read, as after a downgrade: those fields are left empty and named, and the
    rest is shown. A list never fails for one of its rows.
    """

    model_config = ConfigDict(from_attributes=True)

    unreadable: list[str] = Field(
        default=[],
        exclude_if=_is_empty,
        description="Fields whose stored value this version cannot read: they are empty here. Absent without any.",
    )

    @model_validator(mode="wrap")
    @classmethod
    def _what_can_be_read(cls, stored: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return read(stored)
        except ValidationError as error:
            wrong = {str(one["loc"][0]) for one in error.errors() if one["loc"]}
            if not wrong or not wrong <= cls.model_fields.keys():
                raise
            row = cast("dict[str, Any]", stored if isinstance(stored, dict) else vars(stored))
            values = {name: row[name] for name in cls.model_fields.keys() - wrong if name in row}
            empty = {name: _empty(cls.model_fields[name], error) for name in wrong}
            return read(values | empty | {"unreadable": sorted(wrong)})


def _empty(field: FieldInfo, error: ValidationError) -> Any:
    """Return what stands for a field that cannot be read; one that has to have a value is refused as it was."""
    adapter = TypeAdapter[Any](field.rebuild_annotation())
    candidates: tuple[Any, ...] = (None, [], {}, "")
    for empty in candidates:
        with contextlib.suppress(ValidationError):
            return adapter.validate_python(empty)
    raise error


class Page(BaseModel, Generic[T]):
    """One page of a list; give `next` as `after` for the following one."""

    items: list[T]
    next: str | None = Field(default=None, description="Absent on the last page.")


class Problem(BaseModel):
    """An error as RFC 9457 says it: `code` is stable, `detail` names the cause, `remedy` what to do."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    remedy: str = ""
    errors: list[dict[str, str]] = []
