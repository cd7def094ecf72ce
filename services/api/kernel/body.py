"""The body of a request: read whole within its limits, and decoded strictly, before a route sees it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NoReturn

from fastapi import Request
from starlette.requests import ClientDisconnect
from typing_extensions import override

from services.api.kernel.errors import Refused
from shared.domain.messages.requests import BODY_TOO_DEEP, BODY_TOO_LARGE, BODY_TOO_SLOW, MALFORMED_JSON, NOT_JSON

if TYPE_CHECKING:
    from starlette.types import Receive

LARGEST_BODY = 1024 * 1024
LONGEST_SECONDS = 30.0
DEEPEST = 50
"""How deep lists and objects may be nested: far more than any body of ours is."""


class ReadRequest(Request):
    """A request whose body is here already."""

    def __init__(self, request: Request, data: bytes) -> None:
        """Stand for a request whose body was read."""
        super().__init__(request.scope, request.receive)
        self.data = data

    @override
    async def body(self) -> bytes:
        """Return the body as it came."""
        return self.data

    @override
    async def json(self) -> Any:
        """Return the body's value; it was found to be sound before."""
        return self.state.json


async def read_body(request: Request, largest: int = LARGEST_BODY, seconds: float = LONGEST_SECONDS) -> ReadRequest:
    """Read and decode the body; raises `Refused` where it is too large, too slow, too deep or no JSON."""
    if _declared(request) > largest:
        raise Refused(BODY_TOO_LARGE(most=largest))
    try:
        async with asyncio.timeout(seconds):
            data = await _read(request.receive, largest)
    except TimeoutError:
        raise Refused(BODY_TOO_SLOW(seconds=seconds)) from None
    if data and is_json(request):
        request.state.json = decoded(data)
    elif data:
        raise Refused(NOT_JSON(kind=request.headers.get("content-type", "")[:100] or "of no type"))
    return ReadRequest(request, data)


def is_json(request: Request) -> bool:
    """Tell whether the body is said to be JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def decoded(data: bytes) -> Any:
    """Return what JSON in UTF-8 says; names that stand twice, NaN and deep nesting are refused."""
    try:
        # A text of its own: given bytes, the decoder would guess UTF-16 and UTF-32 too.
        value = json.loads(data.decode(), object_pairs_hook=_each_once, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise Refused(MALFORMED_JSON(why=f"it is no UTF-8 at byte {error.start + 1}")) from None
    except json.JSONDecodeError as error:
        raise Refused(MALFORMED_JSON(why=f"{error.msg} at line {error.lineno}, column {error.colno}")) from None
    except RecursionError:
        raise Refused(BODY_TOO_DEEP(most=DEEPEST)) from None
    except ValueError as error:
        raise Refused(MALFORMED_JSON(why=str(error)[:200])) from None
    if data.count(b"[") + data.count(b"{") > DEEPEST and _depth_exceeds(value, DEEPEST):
        raise Refused(BODY_TOO_DEEP(most=DEEPEST))
    return value


async def _read(receive: Receive, largest: int) -> bytes:
    """Return the whole body; `ClientDisconnect` when it ends before its end."""
    data = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect  # what he meant to send is not known: nothing is done
        data += message.get("body", b"")
        if len(data) > largest:
            raise Refused(BODY_TOO_LARGE(most=largest))
        if not message.get("more_body", False):
            return bytes(data)


def _declared(request: Request) -> int:
    """Return what the client says of the length; what it does not say is counted as it comes."""
    length = request.headers.get("content-length", "")
    return int(length[:20]) if length.isascii() and length.isdigit() else 0


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        message = "a name stands twice in one object"
        raise ValueError(message)
    return made


def _no_number(word: str) -> NoReturn:
    message = f"{word} is no number in JSON"
    raise ValueError(message)


def _depth_exceeds(value: Any, most: int) -> bool:
    level: list[Any] = [value]
    for _ in range(most):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        level = [one for one in inner if isinstance(one, (dict, list))]
        if not level:
            return False
    return True
