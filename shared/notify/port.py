"""What the services need to tell somebody something."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Address:
    """Where to; the URL is a secret, and so is the key that signs for a webhook."""

    kind: str
    """`webhook` or `apprise`."""
    url: str = field(repr=False)
    signing_key: str = field(default="", repr=False)
    """`whsec_` and base64, as Standard Webhooks writes it; for webhooks alone."""


@dataclass(frozen=True, slots=True)
class Message:
    """What to say: title and text for people, data for programs."""

    id: str
    """The same for every try: who gets it twice knows."""
    title: str
    text: str
    level: str = "info"
    """info, success, warning or failure."""
    data: dict[str, Any] = field(default_factory=dict[str, Any])


class Sender(Protocol):
    """Delivers."""

    async def check(self, address: Address) -> None:
        """Return if this address can be used; Invalid if not, without sending anything."""
        ...

    async def send(self, address: Address, message: Message) -> None:
        """Deliver; Transient where a later try may help, Invalid where none will. No error holds a secret."""
        ...
