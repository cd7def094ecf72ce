"""What a service sends is what its table says it sends; and its rights on NATS are no more than that."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import shared.events.streams as catalogue
from borgfleet import accounts
from borgfleet.accounts import MIGRATE, OUTSIDE, USERS, Rights
from borgfleet.registry import SERVICES
from shared.db.stores.job_messages import subject_of
from shared.domain.job import JobType
from shared.domain.job_kinds import TAKE_TURNS
from shared.events.base import Command, Event
from shared.events.progress import JobChanged, JobProgress
from shared.events.streams import COMMANDS, EVENTS, NODE_BOUND

ROOT = Path(__file__).resolve().parents[3]
BY_NAME: dict[str, type[Event]] = {event.__name__: event for event in EVENTS}
built = functools.cache(accounts.built)  # building all services takes a second
rights = functools.cache(accounts.rights)
BY_SUBJECT: dict[str, type[Event]] = {event.subject: event for event in EVENTS}


def commands(*kinds: str) -> frozenset[type[Event]]:
    return frozenset(BY_SUBJECT[subject_of(kind, None)] for kind in kinds)


MAINTENANCE = frozenset(command for command in COMMANDS if command.subject.startswith("repository."))
MAINTENANCE |= commands(JobType.ARCHIVE_INDEX, JobType.RESTORE_TEST)
SENDERS: dict[str, frozenset[type[Event]]] = {
    "request_backup": commands(JobType.BACKUP_CREATE) | commands(*TAKE_TURNS),
    "request_delete": commands(JobType.ARCHIVE_DELETE),
    "request_restore": commands(JobType.ARCHIVE_RESTORE),
    "request_self_backup": commands(JobType.SELF_BACKUP),
    "request_undo": commands(JobType.RESTORE_UNDO),
    "request_import": commands(JobType.REPOSITORY_IMPORT),
    "request_upkeep": MAINTENANCE | commands(*TAKE_TURNS),
    "request_maintenance": MAINTENANCE | commands(*TAKE_TURNS),
    "request_setup": commands(JobType.SERVER_SETUP),
    "request_collect": commands(JobType.STATS_COLLECT),
    "record_missed": frozenset({BY_NAME["BackupMissed"], BY_NAME["MaintenanceMissed"]}),
    "admit": commands(*TAKE_TURNS),
    "retry": frozenset(COMMANDS),
    "put_back": frozenset(),  # of what the service works on: see below
    "recover": frozenset(COMMANDS),
    "resend_silent": frozenset(COMMANDS),
    "enqueue": frozenset(COMMANDS),
}
"""What the functions of `shared` send that services call: each queues jobs, or says what became of them."""
OF_JOBS = {"put_back", "retry", "recover", "resend_silent", "enqueue"}
"""Methods of `tx.jobs`; others may have methods of these names."""


def trees(*places: str) -> Iterator[tuple[Path, ast.Module]]:
    for place in places:
        for file in sorted((ROOT / place).rglob("*.py")):
            yield file, ast.parse(file.read_text())


def called(node: ast.Call) -> str:
    """The name that is called; of a method of `tx.jobs` only if it is one of those that send."""
    if isinstance(node.func, ast.Name):
        return "" if node.func.id in OF_JOBS else node.func.id
    if not isinstance(node.func, ast.Attribute):
        return ""
    owner = node.func.value.attr if isinstance(node.func.value, ast.Attribute) else ""
    return node.func.attr if node.func.attr not in OF_JOBS or owner == "jobs" else ""


def emitted_in(tree: ast.Module) -> set[type[Event]]:
    """Events that a module emits: made in the call itself, or, where that gets a variable, any that the module makes."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    emits = [node for node in calls if called(node) == "emit"]
    direct = {inner.id for emit in emits for inner in ast.walk(emit) if isinstance(inner, ast.Name)} & set(BY_NAME)
    vague = [emit for emit in emits if not {n.id for n in ast.walk(emit) if isinstance(n, ast.Name)} & set(BY_NAME)]
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & set(BY_NAME)
    made = {name for name in named if not issubclass(BY_NAME[name], Command)}
    return {BY_NAME[name] for name in (direct | made if vague else direct)}


def sent_by(service: str) -> set[type[Event]]:
    sent: set[type[Event]] = {JobChanged}  # of every job whose row it writes
    for _, tree in trees(f"services/{service}"):
        sent |= emitted_in(tree)
        for node in ast.walk(tree):
            # A function may be called, or handed over to be called.
            name = called(node) if isinstance(node, ast.Call) else node.id if isinstance(node, ast.Name) else ""
            if name not in OF_JOBS or isinstance(node, ast.Call):
                sent |= SENDERS.get(name, frozenset())
    return sent


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_emits_what_its_table_says(name: str) -> None:
    assert sent_by(name) == set(built()[name].emits), "`emits` in its service.py, and so its rights on NATS"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_send_anew_what_it_works_on(name: str) -> None:
    """A run that is put back sends its job's message again, where another delivery of it was ended meanwhile."""
    service = built()[name]
    assert {route.event for route in service.routes if issubclass(route.event, Command)} <= set(service.emits)


def test_every_function_of_shared_that_sends_is_known_here() -> None:
    """Or a service that calls a new one would be refused by nats-server, and nobody would know before."""
    calls = {
        node.name: {called(call) for call in ast.walk(node) if isinstance(call, ast.Call)}
        for _, tree in trees("shared/db") for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }  # fmt: skip
    found = {"emit", "_send", "_resend"}
    while more := {name for name, inner in calls.items() if inner & found} - found:
        found |= more
    public = {name for name in found if not name.startswith("_")}
    assert public == set(SENDERS) | {"emit", "send"}  # `send` is what `admit` sends by


def test_every_event_is_emitted_by_somebody() -> None:
    emitted = {event for service in built().values() for event in service.emits}
    assert emitted == set(EVENTS) - {JobProgress}


def matches(pattern: str, subject: str) -> bool:
    parts = [r"[^.]+" if part == "*" else r".+" if part == ">" else re.escape(part) for part in pattern.split(".")]
    return re.fullmatch(r"\.".join(parts), subject) is not None


def may_publish(right: Rights, subject: str) -> bool:
    allowed = any(matches(pattern, subject) for pattern in right.publish)
    return allowed and not any(matches(pattern, subject) for pattern in right.deny)


def test_everybody_has_rights_and_an_inbox_that_no_other_service_reads() -> None:
    found = rights()
    assert tuple(found) == USERS
    for name, right in found.items():
        for other in set(USERS) - {name}:
            inbox = f"_INBOX_{other}.abc.1"
            assert not any(matches(pattern, inbox) for pattern in right.subscribe), (name, other)


@pytest.mark.parametrize("name", [name for name in USERS if name != "scheduler"])
def test_nobody_publishes_facts_that_are_not_its_own(name: str) -> None:
    own = set(built()[name].emits) if name in SERVICES else {BY_NAME["BackupRequested"], BY_NAME["ArchiveDelete"]}
    if name == MIGRATE:
        own = set()
    for event in set(EVENTS) - {JobProgress}:
        assert may_publish(rights()[name], event.subject) == (event in own), (name, event.subject)
        assert may_publish(rights()[name], f"{event.subject}.node1") == (
            event in own & set(NODE_BOUND) and name != OUTSIDE
        ), (name, event.subject)


@pytest.mark.parametrize("name", USERS)
@pytest.mark.parametrize(
    "subject",
    [f"$JS.API.STREAM.{verb}.JOBS" for verb in ("DELETE", "PURGE", "MSG.DELETE", "MSG.GET", "SNAPSHOT", "RESTORE")]
    + ["$JS.API.CONSUMER.DELETE.JOBS.server-setup", "$JS.API.CONSUMER.LIST.JOBS", "$JS.API.ACCOUNT.PURGE.A",
       "$JS.API.STREAM.CREATE.OTHER", "$JS.API.CONSUMER.CREATE.FACTS.spy", "$JS.API.CONSUMER.DURABLE.CREATE.JOBS.x",
       "$SYS.REQ.SERVER.PING", "_INBOX.abc", "anything"],
)  # fmt: skip
def test_nobody_deletes_reads_along_or_leaves_the_table(name: str, subject: str) -> None:
    assert not may_publish(rights()[name], subject)


def test_a_worker_pulls_from_its_own_consumers_alone() -> None:
    pulls = {
        "setup": "server-setup", "stats": "stats-collect", "backup": "backup-requested-node7",
    }  # fmt: skip
    for name, durable in pulls.items():
        subject = durable.replace("-", ".")
        for other in USERS:
            for verb in (f"$JS.API.CONSUMER.MSG.NEXT.JOBS.{durable}", f"$JS.ACK.JOBS.{durable}.1.2.3.4.5",
                         f"$JS.API.CONSUMER.CREATE.JOBS.{durable}.{subject}"):  # fmt: skip
                assert may_publish(rights()[other], verb) == (other == name), (other, verb)


def test_catalogue_has_no_event_beside_its_list() -> None:
    named = {value for value in vars(catalogue).values() if isinstance(value, type) and issubclass(value, Event)}
    assert named - {Event, Command} == set(EVENTS)
