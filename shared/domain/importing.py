"""Repositories that plain borg made: where they may lie, what may be done with them, and what their archives are."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from shared.domain.job_kinds import SPARES
from shared.domain.names import Name, check_source

MANAGED: Final = "managed"
READ_ONLY: Final = "read_only"
KEYFILES = frozenset({"keyfile", "keyfile-blake2"})
"""Kinds of encryption whose key is in no repository."""
UNENCRYPTED = frozenset({"none", "authenticated", "authenticated-blake2"})
"""Kinds of encryption that hide nothing: borg asks before it reads such a repository for the first time."""
LONGEST_KEY = 64 * 1024
_LONGEST_PATH = 512
_NOT_IN_A_PATH = ("{", "}", "::")


def is_barred(mode: str, kind: str) -> bool:
    """Tell whether a kind of job, by its type, would write to a repository that is read only."""
    return mode == READ_ONLY and kind not in SPARES


def check_import_path(value: str) -> str:
    """Return an absolute directory of a backup node; nothing in it means anything to borg."""
    path = check_source(value)
    if len(path.encode()) > _LONGEST_PATH or path == "/":
        message = f"an absolute path of a directory, of at most {_LONGEST_PATH} bytes"
        raise ValueError(message)
    if any(sign in path for sign in _NOT_IN_A_PATH):
        message = "borg gives a meaning to '{', '}' and '::' in a path: give the directory another name"
        raise ValueError(message)
    return path


def check_keyfile(value: str) -> str:
    """Return a key file's text, as `borg key export` writes it; its own lines are joined by a line feed."""
    lines = [line.strip() for line in value.splitlines() if line.strip()]
    if not lines or not lines[0].startswith("BORG_KEY ") or not value.isascii() or len(lines) < 2:  # noqa: PLR2004 - head and key
        message = "the text of a key file, as `borg key export` writes it: its first line begins with BORG_KEY"
        raise ValueError(message)
    return "\n".join([*lines, ""])


@dataclass(frozen=True, slots=True)
class ImportSecrets:
    """What opens a repository; never a part of a job's parameters."""

    passphrase: str
    keyfile: str = ""

    def __repr__(self) -> str:
        """Show neither."""
        return "ImportSecrets()"


ImportPath = Annotated[str, StringConstraints(max_length=_LONGEST_PATH), AfterValidator(check_import_path)]


def name_from(path: str) -> str:
    """Return a name for a repository from its directory's, as far as its letters allow."""
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "-" for letter in
                   PurePosixPath(path).name)  # fmt: skip
    return kept.strip("-_")[:63] or "imported"


class ImportAsked(BaseModel):
    """What is to be imported, as a job's parameters hold it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pool_id: uuid.UUID
    server_id: uuid.UUID
    path: ImportPath
    name: Name
    unencrypted: bool = False
    """A person said that it is meant to be unencrypted."""
    by: str = ""
