"""What a restore is asked to do."""

from __future__ import annotations

import base64
import binascii
import uuid
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_NOT_THERE = ("/proc", "/sys", "/dev", "/run")
"""Where nothing is kept."""
_LONGEST = 1000
_MOST_ITEMS = 1000


def _target(path: str) -> str:
    """Return a path that names exactly one place, by which a restore may go."""
    parts = path.split("/")
    if not path.startswith("/") or path == "/" or any(part in ("", ".", "..") for part in parts[1:]):
        message = "an absolute path is expected, without `.`, `..`, a double slash or one at the end"
        raise ValueError(message)
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in path):  # noqa: PLR2004 - control characters
        message = "a path without control characters is expected"
        raise ValueError(message)
    if any(path == one or path.startswith(f"{one}/") for one in _NOT_THERE):
        message = f"nothing is restored below {', '.join(_NOT_THERE)}"
        raise ValueError(message)
    return path


def _there(path: bytes) -> None:
    """Refuse what cannot come back to where it was."""
    if any(b"/" + path == one.encode() or path.startswith(one.encode()[1:] + b"/") for one in _NOT_THERE):
        message = f"nothing is restored below {', '.join(_NOT_THERE)}"
        raise ValueError(message)


def _text(path: bytes) -> str:
    try:
        return path.decode()
    except UnicodeDecodeError as error:
        message = "the directory that holds them all has a name that is not UTF-8: restore to a new directory"
        raise ValueError(message) from error


def _item(encoded: str) -> str:
    """Return a path inside an archive, in base64, as archives hold it: relative, and leading nowhere else."""
    try:
        path = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        message = "base64 is expected"
        raise ValueError(message) from error
    parts = path.strip(b"/").split(b"/")
    if not path.strip(b"/") or b"\0" in path or any(part in (b"", b".", b"..") for part in parts):
        message = "a path as the archive lists it is expected"
        raise ValueError(message)
    return base64.b64encode(b"/".join(parts)).decode()


Target = Annotated[str, Field(max_length=_LONGEST), AfterValidator(_target)]
Item = Annotated[str, AfterValidator(_item)]
Mode = Literal["directory", "beside", "swap", "merge"]
"""Into a new directory; or where it was: under another name, in place of what is there, or into what is there."""
Existing = Literal["keep", "replace"]
CONFIRMED: tuple[Mode, ...] = ("swap", "merge")
"""Modes that move what is there, and so ask for a preview first."""


class RestoreAsked(BaseModel):
    """The parameters of a job `archive_restore`."""

    model_config = ConfigDict(frozen=True)

    items: list[Item] = Field(default=[], max_length=_MOST_ITEMS, description="Paths in base64; none: all.")
    target_server_id: uuid.UUID | None = None
    mode: Mode = "directory"
    existing: Existing = "keep"
    """What a merge does with what is there: leave it, or set it aside."""
    preview: bool = False
    """Look and count, and write nothing."""
    shown: str | None = None
    """The digest of what the person was shown of what is there; anything else there ends the restore."""
    target_path: Target | None = None
    owner: Literal["numeric", "names", "root"] = "numeric"
    layout: Literal["short", "full"] = "short"
    route: Literal["auto", "native", "stream"] = "auto"
    metadata: Literal["full", "basic"] = "full"
    verify: Literal["sample", "all", "count"] = "sample"
    accept_old_borg: bool = False
    time_limit: int | None = None

    @model_validator(mode="after")
    def _fits_its_mode(self) -> Self:
        if self.mode == "directory":
            refused = "`existing` is for mode `merge`" if self.existing != "keep" else ""
        elif not self.items:
            refused = f"mode `{self.mode}` needs `items`: what is to come back to where it was"
        elif self.target_path is not None or self.layout == "full":
            refused = f"mode `{self.mode}` restores to where it was: without `target_path` and `layout`"
        elif self.existing != "keep" and self.mode != "merge":
            refused = "`existing` is for mode `merge`"
        else:
            refused = ""
            if self.top:
                _target(_text(b"/" + self.top))
            for path in self.paths:
                _there(path)
        if refused:
            raise ValueError(refused)
        return self

    @property
    def in_place(self) -> bool:
        """Whether it goes to where it was."""
        return self.mode != "directory"

    @property
    def top(self) -> bytes:
        """The directory that holds all of what was chosen; empty: the root, or whole paths are asked for."""
        if not self.paths or self.layout == "full":
            return b""
        above = [path.split(b"/")[:-1] for path in self.paths]
        common = above[0]
        for other in above[1:]:
            same = [pair[0] == pair[1] for pair in zip(common, other, strict=False)]
            common = common[: same.index(False) if False in same else len(same)]
        return b"/".join(common)

    @property
    def paths(self) -> list[bytes]:
        """The items as the archive names them."""
        return [base64.b64decode(item) for item in self.items]


def encoded(path: str) -> str:
    """Return a path of text as an item."""
    return base64.b64encode(path.encode()).decode()
