"""What may stand in a name, a path, an address: everything else is refused with its reason."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,62}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,252}[A-Za-z0-9])?")
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
_POOL_PATH = re.compile(r"(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PATH_BYTES = 4096


def check_name(value: str) -> str:
    """Return a name that is safe as one path component, one NATS token and one line of text."""
    if not _NAME.fullmatch(value) or value.endswith("."):
        message = "1 to 63 letters, digits, '-', '_' or single dots; begin with a letter or digit, end without a dot"
        raise ValueError(message)
    return value


def check_node(value: str) -> str:
    """Return a node's name: a name without dots, because it becomes one token of a subject."""
    if "." in check_name(value):
        message = "a node's name holds no dots"
        raise ValueError(message)
    return value


def check_host(value: str) -> str:
    """Return a host name or address; nothing that ssh or a shell could read as anything else."""
    if not _HOST.fullmatch(value) or ".." in value:
        message = "a host name, an IPv4 or an IPv6 address"
        raise ValueError(message)
    return value


def check_user(value: str) -> str:
    """Return a POSIX login name."""
    if not _USER.fullmatch(value):
        message = "a login name: lower-case letters, digits, '_', '-' or '.', at most 32"
        raise ValueError(message)
    return value


def check_text(value: str) -> str:
    """Return free text of one line: no control characters, so that no log line can be forged."""
    if _CONTROL.search(value):
        message = "no control characters or line breaks"
        raise ValueError(message)
    return value


def check_source(value: str) -> str:
    """Return an absolute path of a server, in normal form: no '..', no control characters."""
    check_text(value)
    if not value.startswith("/") or value.startswith("//"):
        message = "an absolute path, beginning with a single '/'"
        raise ValueError(message)
    if len(value.encode(errors="surrogateescape")) > _PATH_BYTES:
        message = f"at most {_PATH_BYTES} bytes"
        raise ValueError(message)
    if ".." in PurePosixPath(value).parts:
        message = "no '..' in a path"
        raise ValueError(message)
    return str(PurePosixPath(value))


def check_pool_path(value: str) -> str:
    """Return an absolute directory of a backup node; plain characters only, it goes into authorized_keys."""
    if not _POOL_PATH.fullmatch(value) or ".." in PurePosixPath(value).parts:
        message = "an absolute path of letters, digits, '.', '_' and '-'"
        raise ValueError(message)
    return value


Name = Annotated[str, AfterValidator(check_name)]
Node = Annotated[str, AfterValidator(check_node)]
Host = Annotated[str, AfterValidator(check_host)]
User = Annotated[str, AfterValidator(check_user)]
Text = Annotated[str, StringConstraints(max_length=200), AfterValidator(check_text)]
SourcePath = Annotated[str, AfterValidator(check_source)]
PoolPath = Annotated[str, AfterValidator(check_pool_path)]


def repository_path(pool_path: str, server: str, repository: str) -> str:
    """Return `<pool>/<server>/<repository>`, each part checked again."""
    return f"{check_pool_path(pool_path)}/{check_name(server)}/{check_name(repository)}"
