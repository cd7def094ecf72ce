"""What all schemas share."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from shared.domain.values import check_clean

T = TypeVar("T")


def _clean_secret(value: SecretStr) -> SecretStr:
    check_clean(value.get_secret_value())
    return value


Secret = Annotated[SecretStr, Field(max_length=2000), AfterValidator(_clean_secret)]
"""A password or a URL with one; never shown again."""


class In(BaseModel):
    """A request's body; what is not known is refused, so that no misspelt field passes."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class Out(BaseModel):
    """An answer, read from a row."""

    model_config = ConfigDict(from_attributes=True)


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
