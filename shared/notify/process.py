"""Delivers from a child process: it is bounded in time, and what it may connect to is bounded too."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from shared.domain.messages.alerts import DELIVERY_TIMEOUT
from shared.errors import Invalid, Transient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.notify.port import Address, Message

_SECONDS = 45.0
_HOPELESS = ("channel_invalid", "address_refused")


class ChildSender:
    """Starts `shared.notify.child` for each delivery; Apprise's memory is given back at once."""

    def __init__(self, allowed_networks: Sequence[str] = (), *, seconds: float = _SECONDS) -> None:
        """Take the private networks that may be reached."""
        self._allowed = list(allowed_networks)
        self._seconds = seconds

    async def check(self, address: Address) -> None:
        """See `Sender.check`."""
        await self._ask({"address": asdict(address)}, self._seconds)

    async def send(self, address: Address, message: Message) -> None:
        """See `Sender.send`."""
        await self._ask({"address": asdict(address), "message": asdict(message)}, self._seconds)

    async def _ask(self, request: dict[str, Any], seconds: float) -> None:
        """Send a request to the child by its stdin: nothing of it stands in argv or in its environment."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BORGFLEET_")}
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "shared.notify.child", env=environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(seconds):
                given = json.dumps(request | {"allowed_networks": self._allowed}).encode()
                stdout, _ = await child.communicate(given)
        except TimeoutError as error:
            raise Transient(DELIVERY_TIMEOUT(seconds=seconds)) from error
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        _read(stdout)


def _read(stdout: bytes) -> None:
    try:
        answer = json.loads(stdout)
    except ValueError:
        answer = {"code": "delivery_broke", "message": "the delivering process ended without an answer", "remedy": ""}
    if answer.get("ok"):
        return
    kind = Invalid if answer["code"] in _HOPELESS else Transient
    raise kind(answer["message"], code=answer["code"], remedy=answer["remedy"])
