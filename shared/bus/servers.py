"""What a NATS server must be before we work with it, and how we log in to it."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from shared.domain.messages.bus import (
    BUS_UNREACHABLE_MONITOR,
    BUS_UNREACHABLE_SERVERS,
    NATS_NOT_DURABLE,
    NATS_SEED_INVALID,
    NATS_TOO_OLD,
)
from shared.errors import Permanent, Transient
from shared.secret_files import read_secret_text
from shared.tls import Certificates

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from shared.config.settings import NatsSettings

_MINIMUM = (2, 11)
_ASK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Silent:
    """A server's monitoring port that did not answer, and why."""

    url: str
    reason: str


@dataclass(frozen=True, slots=True)
class ServerState:
    """What one server's monitoring port says: how it keeps messages, and which streams it leads are not whole."""

    url: str
    name: str
    version: str
    sync_always: bool
    peers: tuple[str, ...]
    """The other servers of its cluster that it reaches."""
    behind: tuple[str, ...]
    """`<stream> on <server>` for each replica that does not hold all; of the streams that this server leads."""

    def __str__(self) -> str:
        """Say it in a line."""
        sync = "each message on disk" if self.sync_always else "messages not on disk at once"
        cluster = f", with {', '.join(self.peers)}" if self.peers else ""
        return f"{self.name} {self.version}, {sync}{cluster}"


async def look(settings: NatsSettings) -> list[ServerState | Silent]:
    """Ask the monitoring port of every server, in the order of the settings."""
    context = certificates(settings).context() if settings.encrypted else None
    return await asyncio.gather(*(asyncio.to_thread(_looked_at, url, context) for url in settings.monitors))


def inbox_of(user: str) -> str:
    """Return where answers to a user go: on a server with rights, no service hears those to another."""
    return f"_INBOX_{re.sub(r'[^A-Za-z0-9_-]', '_', user)}"


def unreachable(settings: NatsSettings, cause: str) -> Transient:
    """Return the error of servers of which none answered, with the most telling cause that was met."""
    where = ", ".join(url.rpartition("@")[2] for url in settings.servers)
    return Transient(BUS_UNREACHABLE_SERVERS(where=where, error=cause))


def log_in(settings: NatsSettings) -> dict[str, Any]:
    """Return nats-py's options that say who we are; the seed signs what the server asks, and never leaves us."""
    options: dict[str, Any] = {}
    if settings.nkey_seed_file:
        options["nkeys_seed_str"] = _seed(settings)
    elif settings.token_file:
        options["token"] = read_secret_text(settings.token_file, "NATS token file")
    return options


def certificates(settings: NatsSettings) -> Certificates:
    """Return which certificates are meant for the bus."""
    return Certificates(settings.ca_file, settings.cert_file, settings.key_file)


async def refusal(banner: str, settings: NatsSettings, context: ssl.SSLContext | None) -> Permanent | None:
    """Return why we do not work with a server, or with one of its cluster; Transient if none tells."""
    version = ".".join(re.findall(r"\d+", banner)[:3])
    if tuple(int(part) for part in version.split(".")[:2]) < _MINIMUM:
        return Permanent(NATS_TOO_OLD(version=version))
    if not settings.monitors or not settings.require_sync_always:
        return None
    asked = [asyncio.to_thread(_syncs_always, url, context) for url in settings.monitors]
    answers = dict(zip(settings.monitors, await asyncio.gather(*asked), strict=True))
    # One node that loses what it acknowledged is enough: it may lead a stream, or be one of a majority of two.
    if lax := [url for url, answer in answers.items() if answer is False]:
        return Permanent(NATS_NOT_DURABLE(servers=lax))
    silent = [answer for answer in answers.values() if isinstance(answer, Silent)]
    if len(silent) == len(answers):
        raise _no_monitor(silent)
    return None


def _seed(settings: NatsSettings) -> str:
    import nkeys  # noqa: PLC0415 - only who logs in by a seed loads it

    assert settings.nkey_seed_file is not None  # noqa: S101 - for the type checker
    seed = read_secret_text(settings.nkey_seed_file, "NATS seed file")
    try:
        nkeys.from_seed(bytearray(seed.encode())).wipe()  # pyright: ignore[reportUnknownMemberType] - nkeys is untyped
    except (nkeys.NkeysError, ValueError) as error:
        raise Permanent(NATS_SEED_INVALID(path=settings.nkey_seed_file)) from error
    return seed


def _syncs_always(url: str, context: ssl.SSLContext | None) -> bool | Silent:
    """Ask one server whether it writes to disk before it acknowledges."""
    try:
        return bool(_told(f"{url}/jsz", context).get("config", {}).get("sync_always"))
    except (OSError, ValueError) as error:  # ValueError: something else answers there
        return Silent(url, str(error))


def _looked_at(url: str, context: ssl.SSLContext | None) -> ServerState | Silent:
    try:
        about, jetstream = _told(f"{url}/varz", context), _told(f"{url}/jsz?streams=1", context)
        routes: list[dict[str, Any]] = _told(f"{url}/routez", context).get("routes") or []
    except (OSError, ValueError) as error:
        return Silent(url, str(error))
    name = str(about.get("server_name"))
    sync = bool(jetstream.get("config", {}).get("sync_always"))
    peers = sorted({str(route.get("remote_name")) for route in routes})
    return ServerState(url, name, str(about.get("version")), sync, tuple(peers), tuple(_behind(jetstream, name)))


def _behind(jetstream: dict[str, Any], leader: str) -> Iterator[str]:
    accounts: list[dict[str, Any]] = jetstream.get("account_details") or []
    for account in accounts:
        streams: list[dict[str, Any]] = account.get("stream_detail") or []
        for stream in streams:
            cluster: dict[str, Any] = stream.get("cluster") or {}
            replicas: list[dict[str, Any]] = cluster.get("replicas") or []
            if cluster.get("leader") == leader:
                yield from (f"{stream['name']} on {peer['name']}" for peer in replicas if not peer.get("current"))


def _told(url: str, context: ssl.SSLContext | None) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=_ASK_SECONDS, context=_for(url, context)) as answer:  # noqa: S310 - an operator's own setting
        told: Any = json.load(answer)
    if not isinstance(told, dict):
        raise ValueError("no nats-server answers there")  # noqa: TRY004 - what came from outside is no type of ours
    return cast("dict[str, Any]", told)


def _for(url: str, context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    return context if url.startswith("https:") else None


def _no_monitor(silent: list[Silent]) -> Transient:
    told = "; ".join(f"{one.url}: {one.reason}" for one in silent)
    return Transient(BUS_UNREACHABLE_MONITOR(told=told))
