"""What all schemas share."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any, Generic, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from shared.domain.message import Said
from shared.domain.messages import read
from shared.domain.values import check_clean

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

T = TypeVar("T")


def _clean_secret(value: SecretStr) -> SecretStr:
    check_clean(value.get_secret_value())
    return value


Secret = Annotated[SecretStr, Field(max_length=2000), AfterValidator(_clean_secret)]
"""A password or a URL with one; never shown again."""


SEEN: Any = Field(
    default=None, ge=1, le=2**31 - 1, description="As GET shows it: it is replaced only if it is still this version."
)
VERSION: Any = Field(description="Raised by each change of its definition; `If-Match` names it.")


def _is_empty(names: list[str]) -> bool:
    return not names


def _is_blank(text: str) -> bool:
    return not text


def _is_none(value: object) -> bool:
    return value is None


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


class MessageOut(BaseModel):
    """An entry of the catalogue with its parameters, and its sentences in English: GET /api/errors tells of each."""

    code: str
    key: str = Field(description="The name of this very sentence: a code may have several.")
    params: dict[str, Any]
    text: str
    remedy: str


def message_out(stored: Any) -> MessageOut | None:
    """Return what a row keeps of a message; None if it keeps none that this version knows."""
    if isinstance(stored, MessageOut):
        return stored
    said = stored if isinstance(stored, Said) else read(stored)
    return MessageOut(**said.to_json(), text=said.text, remedy=said.remedy) if said else None


Told = Annotated[MessageOut | None, BeforeValidator(message_out)]
"""A message as a row keeps it."""


class Telling(Out):
    """An answer that tells why something is as it is: its sentences are made when they are read."""

    message: Told = Field(default=None, description="The reason as an entry of GET /api/errors, and its parameters.")

    @model_validator(mode="after")
    def _in_todays_words(self) -> Self:
        if self.message is not None:
            for name, words in (("reason", self.message.text), ("remedy", self.message.remedy)):
                if name in type(self).model_fields:
                    setattr(self, name, words)
        return self


class Page(BaseModel, Generic[T]):
    """One page of a list; give `next` as `after` for the following one."""

    items: list[T]
    next: str | None = Field(default=None, description="Null on the last page; it is in the header `Link` too.")
    total: int | None = Field(
        default=None,
        exclude_if=_is_none,
        description="With `count=true`: how many there are on all pages, up to 10,000.",
    )
    more: bool | None = Field(
        default=None, exclude_if=_is_none, description="With `count=true`: whether there are more than were counted."
    )


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str
    location: str = Field(default="", description="body, query, path or header")
    pointer: str = Field(default="", description="Where it is in the location, as RFC 6901 says.")
    code: str
    params: dict[str, Any] = Field(default={})
    message: str


class Problem(BaseModel):
    """An error as RFC 9457 says it: `code` is stable, `detail` names the cause, `remedy` what to do."""

    type: str = Field(default="about:blank", description="`/api/errors/<code>`, which tells of it.")
    title: str
    status: int
    code: str
    key: str = Field(default="", description="The name of this very sentence: a code may have several.")
    params: dict[str, Any] = {}
    detail: str
    remedy: str = ""
    request_id: str = Field(default="", description="As in the header `X-Request-Id` and in the log.")
    errors: list[FieldProblem] = []
    methods: list[str] = Field(
        default=[], exclude_if=_is_empty, description="What is to be proved now: password, totp, recovery_code."
    )
    flow: str = Field(
        default="",
        exclude_if=_is_blank,
        description="With `second_factor_needed`: what POST /api/auth/second-factor goes on with, for ten minutes.",
    )
