"""From where a request comes, whether nobody could read it on its way, and which page of a browser sent it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.messages.accounts import CSRF, NOT_ENCRYPTED
from shared.domain.text import clean
from shared.errors import Forbidden

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

SECURE_COOKIE, PLAIN_COOKIE = "__Host-borgfleet", "borgfleet"
"""Only a cookie of the first name is bound to https and to this host by the browser itself."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_IPV6_NET = 64
_LONGEST_ADDRESS, _LONGEST_AGENT = 64, 200


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a request besides its content."""

    address: str
    secure: bool
    """It came over https, or to a URL that is https."""
    own_host: bool
    """It was sent to this machine by a name that never leaves it, as http://127.0.0.1:8080."""
    agent: str

    @property
    def network(self) -> str:
        """What failures are counted by: the owner of an IPv6 address has 2^64 of them."""
        try:
            address = ipaddress.ip_address(self.address.partition("%")[0])
        except ValueError:
            return self.address
        if isinstance(address, ipaddress.IPv4Address):
            return str(address)
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _IPV6_NET), strict=False))

    @property
    def cookie(self) -> str:
        """The name of the session's cookie; Forbidden where it would travel in the clear."""
        if self.secure:
            return SECURE_COOKIE
        if self.own_host:
            return PLAIN_COOKIE
        raise Forbidden(NOT_ENCRYPTED())


def origin_of(connection: HTTPConnection, public_url: str) -> Origin:
    """Read it from a request; what trusted proxies say of it stands in it already."""
    client = connection.client
    return Origin(
        address=clean(client.host if client else "", _LONGEST_ADDRESS),
        secure=connection.scope.get("scheme") == "https" or public_url.startswith("https:"),
        own_host=_is_own(_host_of(connection.headers.get("host", ""))),
        agent=clean(connection.headers.get("user-agent", ""), _LONGEST_AGENT),
    )


def require_own_page(connection: HTTPConnection, public_url: str, *, browser: bool) -> None:
    """Refuse a change that another site's page made a browser send.

    `browser`: it came with a cookie, so a browser sent it; without one, a program that names no page at all may log in.
    """
    headers = connection.headers
    if connection.scope["method"] in _SAFE:
        return
    site, page = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        ours = site == "same-origin"
    elif page is not None or browser:  # an older browser, or one that was sent to a plain http address
        ours = page == (public_url or f"{connection.scope.get('scheme', 'http')}://{headers.get('host', '')}")
    else:
        ours = True
    if not ours:
        raise Forbidden(CSRF())


def _host_of(header: str) -> str:
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def _is_own(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
