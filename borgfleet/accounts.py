"""What each service may publish and subscribe to on NATS, derived from the table of services.

nats-server refuses everything else: a service that was taken over can neither give orders that are not its own nor hear
what others ask for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from borgfleet.registry import SERVICES
from shared.bus.asking import LONGEST
from shared.bus.memory import MemoryBus
from shared.bus.port import durable_name
from shared.bus.servers import inbox_of
from shared.config.settings import Settings
from shared.db.session import Database
from shared.events.archive import ArchiveDelete
from shared.events.backup import BackupRequested
from shared.events.progress import JobProgress
from shared.events.streams import AUDIT, CANARY, COMMANDS, EVENTS, JOBS, NODE_BOUND, PROGRESS, STREAMS
from shared.runtime.service import Parts
from shared.secrets.envelope import KeyRing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.events.base import Event
    from shared.runtime.service import Service

_API = "$JS.API"
_ALIVE = f"{_API}.INFO"
"""What a service asks JetStream to know that it answers."""
MIGRATE, OUTSIDE = "migrate", "outside"
DOCTOR = "doctor"
"""`borgfleet doctor` logs in as the service in whose container it is called."""
USERS = (*SERVICES, MIGRATE, OUTSIDE)
"""Everybody who logs in: each service, `borgfleet migrate`, and programs of others that ask for backups."""


@dataclass(frozen=True, slots=True)
class Rights:
    """Subjects that one user may publish to and subscribe to; what is denied is denied whatever else allows it."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    deny: tuple[str, ...] = ()
    replies: bool = False
    """It may publish one message to the inbox that a question names, for as long as an answer may take."""


def rights() -> dict[str, Rights]:
    """Return everybody's rights."""
    services = built()
    found = {name: _of_service(service, services.values()) for name, service in services.items()}
    found[MIGRATE] = Rights((_ALIVE, *_streams()), _inbox(MIGRATE))
    found[OUTSIDE] = Rights((BackupRequested.subject, ArchiveDelete.subject), _inbox(OUTSIDE))
    return found


def users_conf() -> str:
    """Return nats-server's list of users; each key is a variable, which `borgfleet nats-keys` gives a value."""
    lines = ["authorization {", "  users: ["]
    for name, right in rights().items():
        lines += [
            f"    {{ nkey: ${variable(name)}, permissions: {{",
            "      publish: {",
            *_listed("allow", right.publish),
            *(_listed("deny", right.deny) if right.deny else ()),
            "      },",
            "      subscribe: {",
            *_listed("allow", right.subscribe),
            "      }",
            *([f'      allow_responses: {{ max: 1, expires: "{LONGEST:.0f}s" }}'] if right.replies else ()),
            "      } }",
        ]
    return "\n".join([*lines, "  ]", "}"]) + "\n"


def variable(user: str) -> str:
    """Return the name under which nats-server's configuration knows a user's public key."""
    return f"BORGFLEET_{user.upper()}_KEY"


def built() -> dict[str, Service]:
    """Return every service as it is at work, without asking a database or a bus for anything."""
    db = Database("sqlite+aiosqlite:///never-opened.db", key_ring=KeyRing([bytes(32)]))
    return {name: build(Parts(Settings(), db, MemoryBus(), CollectorRegistry())) for name, build in SERVICES.items()}


def _of_service(service: Service, everybody: Iterable[Service]) -> Rights:
    emitted = _subjects(EVENTS if service.sweeps else service.emits)
    taken = [f"{route.event.subject}.*" if route.node else route.subject for route in service.routes]
    publish = [
        _ALIVE,
        *(subject for route in taken for subject in _pulling(route, any_name=bool(service.node))),
        *([f"{JobProgress.subject}.*"] if service.routes else []),
        *emitted,
        *(f"dead.{subject}" for subject in dict.fromkeys([*taken, *emitted])),
        *(_newest(event) for event in service.reads),
        *((*_streams(), *CANARY.subjects, f"{_API}.DIRECT.GET.{CANARY.name}.canary.*") if service.sweeps else ()),
        *service.asks,
    ]
    hears = [event.subject for event in service.hears]
    deny = _consumers_of(other for other in everybody if other.name != service.name) if service.node else ()
    return Rights(
        tuple(dict.fromkeys(publish)),
        (*_inbox(service.name), *hears, *service.answers),
        tuple(deny),
        bool(service.answers),
    )


def _pulling(subject: str, *, any_name: bool) -> tuple[str, ...]:
    """Return what a worker says to have, and to end, the messages of a subject.

    The consumer of a node's subject has the node in its name, and a name has no parts that could be left open: any
    name is allowed there, and those of other services are denied.
    """
    name = "*" if any_name else durable_name(subject)
    return (
        f"{_API}.CONSUMER.CREATE.{JOBS.name}.{name}.{subject}",
        f"{_API}.CONSUMER.MSG.NEXT.{JOBS.name}.{name}",
        f"$JS.ACK.{JOBS.name}.{name}.>",
    )


def _consumers_of(services: Iterable[Service]) -> list[str]:
    subjects = [route.subject for service in services for route in service.routes]
    found: list[str] = []
    for name in map(durable_name, subjects):
        found += [
            f"{_API}.CONSUMER.CREATE.{JOBS.name}.{name}.>",
            f"{_API}.CONSUMER.MSG.NEXT.{JOBS.name}.{name}",
            f"$JS.ACK.{JOBS.name}.{name}.>",
        ]
    return found


def _subjects(events: Sequence[type[Event]]) -> list[str]:
    """Return where events go: work of a backup node also to the node's own subject."""
    found: list[str] = []
    for event in events:
        if event is JobProgress:
            continue
        found.append(event.subject)
        if event in COMMANDS and event in NODE_BOUND:
            found.append(f"{event.subject}.*")
    return found


def _streams() -> tuple[str, ...]:
    return tuple(f"{_API}.STREAM.{verb}.{stream.name}" for verb in ("INFO", "CREATE", "UPDATE") for stream in STREAMS)


def _newest(event: type[Event]) -> str:
    """Return what is asked for the newest message of an event."""
    stream, place = (PROGRESS, f"{event.subject}.*") if event is JobProgress else (AUDIT, event.subject)
    return f"{_API}.DIRECT.GET.{stream.name}.{place}"


def _inbox(name: str) -> tuple[str, ...]:
    return (f"{inbox_of(name)}.>", f"{inbox_of(DOCTOR)}.>")


def _listed(word: str, subjects: Sequence[str]) -> list[str]:
    return [f"        {word}: [", *(f'          "{subject}"' for subject in subjects), "        ]"]
