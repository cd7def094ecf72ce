"""The process that delivers one message: a request on stdin, an answer on stdout, JSON both.

An audit hook sees every connection before it is made, by whatever library and after whatever redirect or name lookup:
private addresses are refused unless they are allowed, and so is starting programs. It cannot be taken off again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import ipaddress
import json
import logging
import re
import socket
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import httpx2

_SECONDS = 30.0
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PROGRAMS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "os.fork")
_CONNECTIONS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_SECRET = 6
_SHOWN = 300


class Refused(Exception):
    """An answer other than ok."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        """Say why, and what helps."""
        super().__init__(message)
        self.answer = {"ok": False, "code": code, "message": message, "remedy": remedy}


class Guard:
    """What this process may connect to."""

    def __init__(self, allowed: list[str]) -> None:
        """Take the private networks that are allowed."""
        self._allowed = [ipaddress.ip_network(network) for network in allowed]
        self.refused: list[str] = []

    def watch(self) -> None:
        """Look at everything this process does from now on."""
        sys.addaudithook(self._hook)

    def check(self, host: object) -> None:
        """Raise PermissionError unless this is an address that may be reached."""
        if not (isinstance(host, str) and self._may(host)):
            self.refused.append(str(host))
            message = f"{host} may not be reached"
            raise PermissionError(message)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if event in _CONNECTIONS:
            where: Any = args[1]
            if where is not None:  # None: the socket is connected already
                self.check(None if isinstance(where, (str, bytes)) else where[0])
        elif event in _PROGRAMS:
            self.refused.append(event)
            message = "a channel starts no programs"
            raise PermissionError(message)

    def _may(self, host: str) -> bool:
        try:
            address = _inner(ipaddress.ip_address(host.partition("%")[0]))
        except ValueError:
            return False
        if any(address in network for network in self._allowed):
            return True
        return address.is_global and not address.is_multicast


def _inner(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IPv4 address that an IPv6 address stands for, if it stands for one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def signed(key: str, message_id: str, at: int, body: bytes) -> str:
    """Return the signature of Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`."""
    secret = base64.b64decode(key.removeprefix("whsec_"))
    digest = hmac.new(secret, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def webhook(address: dict[str, Any], message: dict[str, Any] | None, guard: Guard) -> None:
    """Post a message, or see whether one could be."""
    try:
        parts = urlsplit(str(address["url"]))
        _ = parts.port
    except ValueError as error:
        raise Refused("channel_invalid", f"this is no URL: {error}", "give one, as https://example.org/hook") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused("channel_invalid", "this is no http or https URL", "give one, as https://example.org/hook")
    if message is None:
        _resolve(parts.hostname, guard)
        return
    body = json.dumps(message["data"] | {"title": message["title"], "text": message["text"]}).encode()
    at = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Borgfleet",
        "webhook-id": message["id"],
        "webhook-timestamp": str(at),
        "webhook-signature": signed(address["signing_key"], message["id"], at, body),
    }
    try:
        answer = httpx2.post(address["url"], content=body, headers=headers, timeout=_SECONDS, follow_redirects=False)
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise _failed(type(error).__name__, guard) from error
    if not answer.is_success:
        raise _failed(f"it answered {answer.status_code}", guard)


def tell_by_apprise(address: dict[str, Any], message: dict[str, Any] | None, guard: Guard) -> None:
    """Tell a message by Apprise, or see whether it knows this URL."""
    import apprise  # noqa: PLC0415 - large, and webhooks do without

    said = io.StringIO()
    logger = logging.getLogger("apprise")
    logger.addHandler(logging.StreamHandler(said))
    logger.setLevel(logging.WARNING)
    told: Any = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False))
    if not told.add(address["url"]):
        remedy = "see the list of services and their URLs in Apprise's documentation"
        raise Refused("channel_invalid", "Apprise does not know how to use this URL", remedy)
    if message is None:
        return
    if not told.notify(body=message["text"], title=message["title"], notify_type=message["level"]):
        raise _failed(scrubbed(said.getvalue(), address["url"]) or "it was not accepted", guard)


def scrubbed(text: str, url: str) -> str:
    """Return a text without whatever of a URL could be secret, on one line."""
    host = urlsplit(url).hostname or ""
    for part in sorted(re.split(r"[/:@?&=#,]+", url), key=len, reverse=True):
        if len(part) >= _SECRET and part != host:
            text = text.replace(part, "***")
    return " ".join(text.split())[:_SHOWN]


def _resolve(host: str, guard: Guard) -> None:
    try:
        found = {str(one[4][0]) for one in socket.getaddrinfo(host, None)}
    except OSError:
        return  # names come and go: what it is at the time of sending counts
    try:
        for address in found:
            guard.check(address)
    except PermissionError as error:
        raise _failed("", guard) from error


def _failed(why: str, guard: Guard) -> Refused:
    if guard.refused:
        message = f"refused to connect to {guard.refused[0]}: not a public address"
        remedy = "if it is meant to be reached, let an administrator add its network to notify.allowed_networks"
        return Refused("address_refused", message, remedy)
    return Refused(
        "delivery_failed", f"not delivered: {why}", "see whether the other side is up and the URL still valid"
    )


def main() -> None:
    """Serve one request."""
    request = json.load(sys.stdin)
    guard = Guard(request["allowed_networks"])
    deliver = webhook if request["address"]["kind"] == "webhook" else tell_by_apprise
    guard.watch()
    try:
        deliver(request["address"], request.get("message"), guard)
        answer: dict[str, Any] = {"ok": True}
    except Refused as error:
        answer = error.answer
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
