"""What comes by NATS, from borg and from people's command lines: a dead letter or a sentence, never a dead task or a crash loop."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import logging
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import typer.main
from prometheus_client import CollectorRegistry
from pydantic import BaseModel
from sqlalchemy import func, select
from typer.testing import CliRunner

from borgfleet.cli.app import app
from borgfleet.cli.client import Client
from services.backup.catalogue.answers import Answers
from services.backup.service import build as build_backup
from services.setup.service import build as build_setup
from services.stats.service import build as build_stats
from shared.borg import output
from shared.borg.exit_codes import failure
from shared.config.settings import Settings
from shared.db.session import Database
from shared.db.tables import DeadLetter
from shared.domain.files import LIST, ListAsked, subject
from shared.domain.text import clean
from shared.errors import AppError, Conflict, Invalid, Transient
from shared.events.base import Command
from shared.events.streams import COMMANDS, JOBS
from shared.runtime.board import Board
from shared.runtime.service import Parts, Route
from shared.runtime.supervisor import supervise
from shared.runtime.worker import Worker
from shared.telemetry.metrics import KernelMetrics
from tests.harness import hostile
from tests.harness.pairs import PAIRS
from tests.harness.patience import WAIT

OPERATING = {"up", "run", "migrate", "wait", "health", "doctor", "nats-keys", "recovery-kit", "recover"}


def payloads(event: type[Command], alphabet: hostile.Turns) -> Iterator[bytes]:
    """Yield bodies that are no JSON of ours, and each field of a command with hostile values."""
    yield from hostile.BODIES
    for name in event.model_fields:
        for value in alphabet.some(hostile.ANYTHING):
            if name != "job_id" or value != "null":
                yield f'{{"{name}": {value}}}'.encode()


@PAIRS
async def test_every_command_with_any_content_ends_and_no_task_ends_with_it(
    bus: Any, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[str] = []
    monkeypatch.setattr(Board, "failed", lambda _self, name, error: failed.append(f"{name}: {error!r}") or 0.1)
    worker = {"ack_wait": WAIT, "max_failures": 2}
    parts = Parts(Settings.model_validate({"data_dir": tmp_path, "worker": worker}), db, bus, CollectorRegistry())
    metrics, alphabet = KernelMetrics(parts.registry), hostile.Turns()
    routes: list[Route] = [route for build in (build_backup, build_setup, build_stats) for route in build(parts).routes]
    assert {route.event for route in routes} >= set(COMMANDS)
    headers = itertools.cycle(hostile.HEADERS)
    stopping, board, sent = asyncio.Event(), Board(metrics.tasks), 0
    workers = [Worker(route, db, bus, parts.settings.worker, metrics) for route in routes]
    tasks = [asyncio.create_task(supervise(task, board, stopping)) for one in workers for task in one.tasks()]
    try:
        for route in routes:
            for payload in payloads(route.event, alphabet):
                await bus.publish(route.subject, payload, next(headers))
                sent += 1
        async with asyncio.timeout(2 * WAIT):
            while waiting := sum([await bus.count(JOBS, route.subject) for route in routes]):
                assert not [task for task in tasks if task.done()]
                await asyncio.sleep(0.05 if waiting < 100 else 0.5)
    finally:
        stopping.set()
        await asyncio.gather(*tasks)
    assert failed == []
    async with db.read() as session:
        dead = await session.scalar(select(func.count()).select_from(DeadLetter)) or 0
    # The rest were answered otherwise: an id of a job that is not there, a request that names nothing.
    assert dead > sent / 2, (dead, sent)


def questions(asked: type[BaseModel], alphabet: hostile.Turns) -> Iterator[bytes]:
    """Yield bodies that are no question, and each field of one with hostile values."""
    yield from hostile.BODIES
    whole = f'"archive_id": "{uuid.uuid4()}", "path": "L2V0Yw=="'
    for name in asked.model_fields:
        for value in alphabet.some(hostile.ANYTHING):
            yield f'{{{whole}, "{name}": {value}}}'.encode()
            encoded = base64.b64encode(value.encode(errors="surrogatepass")).decode()
            yield f'{{{whole}, "{name}": "{encoded}"}}'.encode()


async def test_every_question_to_a_node_with_any_content_has_an_answer_that_says_why_not(
    db: Database, bus: Any
) -> None:
    """Whoever may ask is not always the gateway; what is no fault of ours is never told as one."""
    node, alphabet, codes = f"n{uuid.uuid4().hex[:8]}", hostile.Turns(), Counter[str]()
    answers = Answers(
        db, bus, node, cast("Any", None), cast("Any", None), Path("/nowhere")
    )  # neither is reached: no such backup
    stopping = asyncio.Event()
    serving = asyncio.create_task(answers.serve(stopping))
    about = subject(LIST, node)
    while not await served(bus, about):
        assert not serving.done()
        await asyncio.sleep(0.02)
    for payload in questions(ListAsked, alphabet):
        with pytest.raises(AppError) as caught:
            await bus.request(about, payload, WAIT)
        assert isinstance(caught.value, (Invalid, Conflict)), (payload[:200], caught.value)
        assert caught.value.remedy, payload[:200]
        assert clean(caught.value.message) == caught.value.message, payload[:200]
        codes[caught.value.code] += 1
    assert not serving.done()
    assert len(codes) == 2, codes
    assert min(codes.values()) > 5, codes
    stopping.set()
    await serving


async def served(bus: Any, about: str) -> bool:
    """Tell whether anybody answers there: of that who serves it has made sure, or nobody is told at once."""
    try:
        await bus.request(about, b"", WAIT)
    except Transient:
        return False
    except AppError:
        return True
    return True


@pytest.mark.parametrize("as_bytes", [False, True])
def test_borgs_output_with_any_content_is_text_or_one_error(as_bytes: bool) -> None:
    shapes = (
        "{}", '{{"type": "log_message", "levelname": {0}, "message": {0}, "msgid": {0}}}', '{{"type": {0}}}', '{{"archives": {0}}}',
        '{{"type": "archive_progress", "nfiles": {0}, "original_size": {0}, "path": {0}}}', '{{"archives": [{{"name": {0}, "id": {0}}}]}}',
        '{{"archive": {0}, "cache": {0}, "repository": {0}}}', '{{"type": "progress_percent", "message": {0}, "current": {0}}}',
        "warning: {0}", '{0}{{"type": "log_message", "levelname": "WARNING", "message": "x"}}',
    )  # fmt: skip
    for value in (*hostile.ANYTHING, *hostile.PLAIN):
        for shape in shapes:
            text = value if shape == "{}" else shape.format(value)
            line = text.encode(errors="surrogatepass") if as_bytes else text
            lines = output.parse_line(line)
            for one in lines:
                repr(one).encode()
                str(getattr(one, "message", "")).encode()
            logged = [one for one in lines if isinstance(one, output.LogLine)]
            for status in (0, 1, 2, 100, 255):
                failure(status, logged)
            for parse in (output.parse_create, output.parse_info, output.parse_list, output.parse_listing):
                with contextlib.suppress(AppError):
                    parse(text)


def commands(group: Any, way: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*way, name))
        elif not way and name in OPERATING:
            continue
        else:
            yield (*way, name), command


def test_every_argument_of_the_command_line_takes_the_alphabet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def answered(client: Client) -> None:
        def answer(request: httpx2.Request) -> httpx2.Response:
            json.loads(request.content or b"null")
            return httpx2.Response(422, json={"detail": "refused", "remedy": "send another value"})

        client._http = httpx2.Client(base_url="http://test", transport=httpx2.MockTransport(answer))

    monkeypatch.setattr(Client, "__init__", answered)
    # What a program is given holds no NUL, and a byte that is no UTF-8 comes as half a surrogate pair.
    values = tuple(
        one
        for one in hostile.PLAIN
        if len(one) < 400 and "\x00" not in one and not any("\ud800" <= c < "\udc80" for c in one)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BORGFLEET_DATA_DIR", str(tmp_path))  # a few verbs ask no gateway, but the installation itself
    alphabet, tried, handlers = hostile.Turns(), 0, logging.root.handlers[:]
    top, runner = typer.main.get_command(app), CliRunner()
    monkeypatch.setattr("typer.testing._get_command", lambda _: top)  # else all commands are built anew each time
    for way, command in commands(top):
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        options = [one for one in command.params if one.param_type_name == "option" and not one.is_flag]
        for parameter in (*arguments, *options):
            for value in alphabet.some(values):
                given = [value if one is parameter else "x" for one in arguments]
                argv = [*way, *([parameter.opts[0], value] if parameter in options else []), "--", *given]
                done = runner.invoke(app, argv, input="x\n")
                logging.root.handlers[:] = handlers  # else the next one logs to this one's closed stream
                assert done.exception is None or isinstance(done.exception, SystemExit), (argv, done.exception)
                assert "Traceback" not in done.output, argv
                tried += 1
    assert tried > 500
