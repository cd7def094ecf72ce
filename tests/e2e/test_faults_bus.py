"""Messages lost, doubled, garbled; nats-server killed and wiped; the relay killed on both sides of publishing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import uuid
from pathlib import Path
from typing import Any

import httpx2
import nats
import pytest

from tests.harness.fleet import Fleet, asked, until
from tests.harness.held import held
from tests.harness.idle_worker import start_idle_worker
from tests.harness.invariants import assert_invariants, queued
from tests.harness.patience import WAIT


def publish(fleet: Fleet, subject: str, *payloads: bytes) -> None:
    """Publish as an outsider would, with nothing but a NATS client."""

    async def send() -> None:
        client = await nats.connect(fleet.nats.url)
        for payload in payloads:
            await client.publish(subject, payload)
        await client.flush(timeout=WAIT)
        await client.close()

    asyncio.run(send())


def dead_letters(fleet: Fleet) -> list[dict[str, Any]]:
    async def read() -> list[dict[str, Any]]:
        client = await nats.connect(fleet.nats.url)
        js = client.jetstream(timeout=WAIT)
        info = await js.stream_info("DEAD")
        first = info.state.first_seq if info.state.messages else info.state.last_seq + 1
        letters = [
            json.loads((await js.get_msg("DEAD", number)).data or b"{}")
            for number in range(first, info.state.last_seq + 1)
        ]
        await client.close()
        return letters

    return asyncio.run(read())


def jobs_of(fleet: Fleet, definition: dict[str, Any]) -> list[dict[str, Any]]:
    return fleet.get(f"/api/jobs?backup_job_id={definition['id']}")["items"]


def test_an_outside_publisher_starts_a_backup_by_name(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    publish(fleet, "backup.requested", json.dumps({"backup_job": definition["name"]}).encode())
    job = until(lambda: jobs_of(fleet, definition), "a job is made")[0]
    fleet.finished(job, "succeeded")
    assert_invariants(fleet, definition)


def test_an_outside_publisher_deletes_a_backup_by_id(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    fleet.finished(fleet.run(definition), "succeeded")
    publish(fleet, "archive.delete", json.dumps({"archive_id": fleet.backups(definition)[0]["id"]}).encode())
    until(lambda: not fleet.backups(definition), "the backup is gone")
    assert fleet.listed(definition) == {}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\xff\xfe not even text", "undecodable"),
        (b"[]", "undecodable"),
        (b'{"backup_job": "../../etc"}', "undecodable"),
        (b'{"backup_job": "a;rm -rf ~"}', "undecodable"),
        (b"{}", "backup_job_missing"),
        (b'{"backup_job": "no-such-job"}', "backup_job_unknown"),
    ],
)
def test_garbage_on_backup_requested_is_dead_lettered_with_its_reason(fleet: Fleet, payload: bytes, code: str) -> None:
    before = len(dead_letters(fleet))
    publish(fleet, "backup.requested", payload)
    letters = until(lambda: found if len(found := dead_letters(fleet)) > before else None, "a dead letter")
    letter = letters[-1]
    assert letter["code"] == code
    assert letter["payload"].encode() == payload.decode(errors="replace").encode()
    assert letter["reason"]
    assert letter["remedy"]
    assert letter["subject"] == "backup.requested"


def test_a_message_for_an_unknown_job_is_dead_lettered_and_not_looped(fleet: Fleet) -> None:
    before = len(dead_letters(fleet))
    publish(fleet, "backup.requested.node1", json.dumps({"job_id": str(uuid.uuid4())}).encode())
    letters = until(lambda: found if len(found := dead_letters(fleet)) > before else None, "a dead letter")
    assert letters[-1]["code"] == "job_unknown"


def test_one_message_delivered_three_times_has_one_effect(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    job = fleet.run(definition)
    message = json.dumps({"job_id": job["id"]}).encode()
    publish(fleet, "backup.requested.node1", message, message)
    assert fleet.finished(job, "succeeded")["attempt"] == 1
    publish(fleet, "backup.requested.node1", message)
    assert_invariants(fleet, definition)
    assert len(fleet.backups(definition)) == 1
    assert fleet.job(job)["attempt"] == 1


@pytest.mark.parametrize("where", ["after_outbox_commit_before_publish", "after_publish_before_mark"])
def test_relay_killed_on_either_side_of_publishing_loses_and_doubles_nothing(
    fleet: Fleet, data: Path, where: str
) -> None:
    definition = fleet.backup_job([data])
    gateway = fleet.doomed("api", where)
    run, key = f"/api/backup-jobs/{definition['id']}/run", {"Idempotency-Key": str(uuid.uuid4())}
    with contextlib.suppress(httpx2.TransportError):  # it may die before its answer is on its way
        fleet.http.post(run, headers=key)
    gateway.wait_dead()
    fleet.spawn("api")
    again = asked(fleet.http, "POST", run, key=key["Idempotency-Key"])
    assert again.headers["Idempotency-Replayed"] == "true", again.text
    job = again.json()
    assert fleet.finished(job, "succeeded")["attempt"] == 1
    assert len(fleet.backups(definition)) == 1
    assert_invariants(fleet, definition)


def test_nats_killed_while_runs_are_posted_still_answers_202_and_runs_each_once(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    fleet.nats.kill()
    jobs = [fleet.run(definition) for _ in range(3)]
    fleet.nats.start()
    for job in jobs:
        fleet.finished(job, "succeeded")
    assert len(fleet.backups(definition)) == len(jobs)
    assert_invariants(fleet, definition)


def test_nats_stopped_while_runs_are_posted_is_noticed_and_runs_each_once(fleet: Fleet, data: Path) -> None:
    """No connection breaks: there is only silence."""
    definition = fleet.backup_job([data])
    gateway = fleet.restart("api")
    nats = fleet.nats.process
    assert nats is not None
    nats.send_signal(signal.SIGSTOP)
    try:
        jobs = [fleet.run(definition) for _ in range(2)]
        until(lambda: "relay_stalled" in gateway.log.read_text(), "the silence is noticed")
    finally:
        nats.send_signal(signal.SIGCONT)
    for job in jobs:
        fleet.finished(job, "succeeded")
    assert len(fleet.backups(definition)) == len(jobs)
    assert_invariants(fleet, definition)


def test_nats_down_while_a_thousand_runs_are_posted_runs_each_once(fleet: Fleet) -> None:
    """The kernel's part alone, borg left out: a worker whose runs do nothing takes them."""
    pool = fleet.post("/api/storage-pools", {"name": "idle", "path": "/idle", "node": "idle"})
    body = {"name": "idle", "server_id": fleet.host["id"], "pool_id": pool["id"]}
    definition = fleet.backup_job(["/etc"], repository_id=fleet.post("/api/repositories", body)["id"])
    fleet.nats.kill()
    jobs = {fleet.run(definition)["id"] for _ in range(1000)}
    fleet.nats.start()
    worker = start_idle_worker(fleet, "idle")
    try:
        until(lambda: _states(fleet, "idle") == {"succeeded 1": len(jobs)}, "each ran once", 5 * WAIT)
        # The reaper may have re-sent runs that waited long: their messages too must go while somebody takes them.
        until(lambda: not _unsent(fleet) and not queued(fleet), lambda: f"no message is left; left: {queued(fleet)}")
    finally:
        worker.terminate()
        worker.wait(timeout=WAIT)


def _states(fleet: Fleet, node: str) -> dict[str, int]:
    query = "SELECT node, CONCAT(state, ' ', attempt), COUNT(*) FROM jobs GROUP BY 1, 2"
    rows = (line.split("\t") for line in fleet.maria.sql(query, fleet.database_url.rsplit("/", 1)[1]).splitlines())
    return {state: int(count) for where, state, count in rows if where == node}


def test_nats_killed_in_mid_backup_does_not_stop_borg(fleet: Fleet, data: Path, slow_data: Path) -> None:
    definition = fleet.backup_job([slow_data], upload_limit_kib=1024, compression="none")
    with held(slow_data):
        job = fleet.run(definition)
        fleet.reading(job)
        fleet.nats.kill()
        fleet.nats.start()
    assert fleet.finished(job, "succeeded")["attempt"] == 1
    assert_invariants(fleet, definition)


def test_nats_storage_wiped_with_jobs_queued_loses_no_job(fleet: Fleet, data: Path) -> None:
    definition = fleet.backup_job([data])
    fleet.services["backup"].stop()
    jobs = [fleet.run(definition) for _ in range(2)]
    until(lambda: not _unsent(fleet), "the messages are out")
    fleet.nats.kill()
    fleet.nats.wipe()
    fleet.nats.start()
    fleet.spawn("backup")
    for job in jobs:
        fleet.finished(job, "succeeded")
    assert len(fleet.backups(definition)) == len(jobs)
    assert_invariants(fleet, definition)


def _unsent(fleet: Fleet) -> bool:
    name = fleet.database_url.rsplit("/", 1)[1]
    return fleet.maria.sql("SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL", name).strip() != "0"
