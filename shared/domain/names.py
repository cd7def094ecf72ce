"""What may stand in a name, a path, an address: everything else is refused with its reason."""

from __future__ import annotations

import ipaddress
import re
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from shared.domain.values import check_clean

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,62}")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_LIKE_A_NUMBER = re.compile(r"\d+|0[xX][0-9A-Fa-f]*")
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
_LOGIN = re.compile(r"(?:[^\W_][\w.-]*\\)?\w[\w.+-]*\$?")
_POOL_PATH = re.compile(r"(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)+")
_PATH_BYTES = 4096
_HOST_LENGTH, _POOL_PATH_LENGTH = 253, 512
LOGIN_LENGTH = 256
"""useradd takes 32 characters; directories (LDAP, Active Directory) hold longer names."""


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
    """Return an address in its short form, or a host name without its final dot; nothing that ssh could misread."""
    address = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    bare, percent, zone = address.partition("%")
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return _check_host_name(value)
    if percent and (found.version == 4 or not _ZONE.fullmatch(zone)):  # noqa: PLR2004 - IPv4
        message = "after '%' an IPv6 address names a network interface, as fe80::1%eth0"
        raise ValueError(message)
    return f"{found}{percent}{zone}"


def _check_host_name(value: str) -> str:
    name = value.removesuffix(".")
    labels = name.split(".")
    if ":" in value or "[" in value:
        message = "not an IPv6 address: write it as 2001:db8::1 or fe80::1%eth0, and the port apart"
    elif len(name) > _HOST_LENGTH or not all(map(_LABEL.fullmatch, labels)):
        message = (
            "a host name of letters, digits, '-' and '_' between dots, 63 characters a part and 253 in all; "
            "a part neither begins nor ends with '-'; other letters are written as xn--..."
        )
    elif _LIKE_A_NUMBER.fullmatch(labels[-1]):
        message = "looks like an IPv4 address and is none: write it as 192.0.2.10, without leading zeros"
    else:
        return name
    raise ValueError(message)


def check_user(value: str) -> str:
    """Return a POSIX login name."""
    if not _USER.fullmatch(value):
        message = "a login name: lower-case letters, digits, '_', '-' or '.', at most 32"
        raise ValueError(message)
    return value


def check_login(value: str) -> str:
    r"""Return a login name as a server may know it, Admin, svc$ and DOMAIN\user among them; no shell misreads it."""
    if not _LOGIN.fullmatch(value):
        message = (
            "a login name: letters, digits, '_', '.', '+' and '-', perhaps as DOMAIN\\name or with '$' at its end; "
            "it does not begin with '-' or '.'"
        )
        raise ValueError(message)
    return value


def shown_address(host: str, port: int) -> str:
    """Return `host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_text(value: str) -> str:
    """Return free text of one line: no control characters, so that no log line can be forged."""
    return check_clean(value)


def check_source(value: str) -> str:
    """Return an absolute path of a server, in normal form: no '..', no control characters."""
    check_text(value)
    if not value.startswith("/") or value.startswith("//"):
        message = "an absolute path, beginning with a single '/'"
        raise ValueError(message)
    if len(value.encode()) > _PATH_BYTES:
        message = f"at most {_PATH_BYTES} bytes"
        raise ValueError(message)
    if ".." in PurePosixPath(value).parts:
        message = "no '..' in a path"
        raise ValueError(message)
    return str(PurePosixPath(value))


def check_pool_path(value: str) -> str:
    """Return an absolute directory of a backup node; plain characters only, it goes into authorized_keys."""
    if len(value) > _POOL_PATH_LENGTH or not _POOL_PATH.fullmatch(value) or ".." in PurePosixPath(value).parts:
        message = f"an absolute path of at most {_POOL_PATH_LENGTH} letters, digits, '.', '_' and '-'"
        raise ValueError(message)
    return value


Name = Annotated[str, AfterValidator(check_name)]
Node = Annotated[str, AfterValidator(check_node)]
Host = Annotated[str, StringConstraints(max_length=254), AfterValidator(check_host)]
User = Annotated[str, AfterValidator(check_user)]
Login = Annotated[str, StringConstraints(max_length=LOGIN_LENGTH), AfterValidator(check_login)]
Text = Annotated[str, StringConstraints(max_length=200), AfterValidator(check_text)]
Justification = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"\S", strip_whitespace=True),
    AfterValidator(check_text),
]
"""Why a person decided something: never blank, for it is all that is known of it later."""
SourcePath = Annotated[str, StringConstraints(max_length=_PATH_BYTES), AfterValidator(check_source)]
PoolPath = Annotated[str, StringConstraints(max_length=_POOL_PATH_LENGTH), AfterValidator(check_pool_path)]


def repository_path(pool_path: str, server: str, repository: str) -> str:
    """Return `<pool>/<server>/<repository>`, each part checked again."""
    return f"{check_pool_path(pool_path)}/{check_name(server)}/{check_name(repository)}"
