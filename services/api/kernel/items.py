"""What a request chooses of a backup."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from services.api.kernel.schemas import In
from shared.domain.names import Text
from shared.domain.restoring import encoded


class ItemIn(In):
    """A file or a directory of a backup, with all that is below it."""

    path: Text | None = Field(default=None, min_length=1, examples=["srv/www"])
    path_b64: str | None = Field(
        default=None,
        max_length=6000,
        pattern=r"^[A-Za-z0-9+/]+=*$",
        description="Instead, for any other name: not UTF-8, with control characters, or very long.",
    )

    @model_validator(mode="after")
    def _is_named_once(self) -> Self:
        if (self.path is None) == (self.path_b64 is None):
            message = "give `path` or `path_b64`"
            raise ValueError(message)
        return self

    def encoded(self) -> str:
        """Return its bytes in base64."""
        return self.path_b64 or encoded(self.path or "")
