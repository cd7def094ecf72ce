"""Statistics from real sshd's and from a mass of SSH servers, some of which misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import delete, func, select

from borgfleet.bootstrap import open_database
from shared.db.tables import Server, ServerStats, ServerStatus
from shared.testing.sshd import login_user
from tests.harness.faketime import wrong_clock
from tests.harness.fleet import Fleet, ServiceProcess, until
from tests.harness.mass_ssh import (
    CLOSING,
    GARBLING,
    HANGING,
    LIVING,
    RECORDED,
    WAITING,
    answers_no_more,
    logins,
    mass_ssh,
)

MASS = 200
COLUMNS = (
    "os_distribution", "os_version", "kernel_version", "hostname", "architecture", "cpu_cores", "cpu_model",
    "cpu_load_1", "cpu_load_5", "cpu_load_15", "cpu_usage_percent", "memory_total_mb", "memory_used_mb",
    "memory_free_mb", "memory_available_mb", "memory_percent", "swap_total_mb", "swap_used_mb", "swap_percent",
    "disk_total_gb", "disk_used_gb", "disk_free_gb", "disk_percent", "disk_mount_point", "uptime_seconds",
    "uptime_human", "boot_time", "ip_address", "collected_at",
)  # fmt: skip


def in_database(fleet: Fleet, work: Any) -> Any:
    async def run() -> Any:
        db = open_database(fleet.settings())
        try:
            return await db.run(work)
        finally:
            await db.close()

    return asyncio.run(run())


def test_one_server_fills_every_column(fleet: Fleet) -> None:
    server = f"/api/servers/{fleet.host['id']}"
    fleet.finished(fleet.post(f"{server}/collect-stats"), "succeeded")
    status = fleet.get(server)["status"]
    assert status["up"]
    assert len(COLUMNS) == 29
    assert {name: status["sample"][name] for name in COLUMNS if status["sample"][name] is None} == {}

    def of_one_probe() -> tuple[Any, Any, Any] | None:
        """Take list, history and status while no sweep came between."""
        before, items = fleet.get(server)["status"], fleet.get("/api/servers")["items"]
        history = fleet.get(f"{server}/stats?step=60")
        if fleet.get(server)["status"] != before:
            return None
        return {one["name"]: one for one in items}, history["points"][-1]["disk"], before["sample"]

    listed, disk, sample = until(of_one_probe, "a moment without a sweep")
    assert listed[fleet.host["name"]]["status"]["sample"] == sample
    assert disk["min"] <= sample["disk_percent"] <= disk["max"]  # of all probes of that minute


@pytest.mark.parametrize("offset", ["+1d", "-1d"])
def test_a_stats_service_whose_clock_is_a_day_off_spoils_no_history(fleet: Fleet, offset: str) -> None:
    server = f"/api/servers/{fleet.host['id']}"
    fleet.restart("stats", **wrong_clock(offset))
    try:
        began = datetime.now(UTC)
        fleet.finished(fleet.post(f"{server}/collect-stats"), "succeeded")
        sample = fleet.get(server)["status"]["sample"]
        assert began <= datetime.fromisoformat(sample["collected_at"]) <= datetime.now(UTC)
        took = (datetime.now(UTC) - began).total_seconds()  # so far may be off what is asked for on the way
        assert abs(datetime.fromisoformat(sample["boot_time"]).timestamp() - psutil.boot_time()) < 5 + took
        assert abs(sample["clock_offset_seconds"]) < 2 + took
    finally:
        fleet.restart("stats")
    fleet.finished(fleet.post(f"{server}/collect-stats"), "succeeded")
    assert fleet.get(server)["status"]["sample"]["network_received_rate"] is not None


def test_a_stopped_server_is_down_with_a_reason_and_up_again_when_it_is_back(fleet: Fleet) -> None:
    server = f"/api/servers/{fleet.host['id']}"
    fleet.server.stop()
    try:
        job = fleet.finished(fleet.post(f"{server}/collect-stats"), "failed")
        assert job["code"] == "server_unreachable"
        status = fleet.get(server)["status"]
        assert (status["up"], status["code"]) == (False, "server_unreachable")
        assert "refused" in status["reason"]
    finally:
        fleet.server.start()
    fleet.finished(fleet.post(f"{server}/collect-stats"), "succeeded")
    assert fleet.get(server)["status"]["up"]


class Mass:
    """Two hundred servers on ports of their own, and four that misbehave."""

    def __init__(self, fleet: Fleet, directory: Path, shown: dict[str, Any]) -> None:
        self.fleet, self.directory = fleet, directory
        others = (HANGING, GARBLING, CLOSING)
        names = [f"mass{n}" for n in range(MASS)] + list(others) + ["changed"]
        keys = [shown["host_key"]] * (len(names) - 1) + [OTHER_KEY]
        in_database(fleet, lambda tx: self._add(tx, names, shown["ports"], keys))
        self.ids = {row["name"]: row["id"] for row in fleet.get("/api/servers?limit=500")["items"]}
        self.living = [self.ids[name] for name in names[:MASS]]
        self.all = [self.ids[name] for name in names]

    async def _add(self, tx: Any, names: list[str], ports: list[int], keys: list[str]) -> None:
        for name, port, key in zip(names, ports, keys, strict=True):
            tx.session.add(
                Server(name=name, host="127.0.0.1", port=port, username=login_user(), host_key=key, facts={})
            )

    def sweep(self, servers: list[str]) -> dict[str, Any]:
        return self.fleet.post("/api/collect-stats", {"servers": servers})

    def samples(self) -> dict[str, int]:
        async def count(tx: Any) -> dict[str, int]:
            query = select(ServerStats.server_id, func.count()).group_by(ServerStats.server_id)
            return {str(row[0]): row[1] for row in await tx.session.execute(query)}

        return in_database(self.fleet, count)

    def forget(self) -> None:
        async def clear(tx: Any) -> None:
            await tx.session.execute(delete(ServerStats))
            await tx.session.execute(delete(ServerStatus))

        in_database(self.fleet, clear)


OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"


@pytest.fixture(scope="module")
def mass(running_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mass]:
    directory = tmp_path_factory.mktemp("mass") / "ssh"
    running_fleet.ensure_running()
    key = running_fleet.get("/api/fleet-key")["public_key"]
    with mass_ssh(
        directory, key, *[LIVING] * 10, *[RECORDED] * (MASS - 11), WAITING, HANGING, GARBLING, CLOSING, LIVING
    ) as shown:
        made = Mass(running_fleet, directory, shown)
        yield made
        for identity in made.all:
            running_fleet.call("DELETE", f"/api/servers/{identity}")


def test_two_hundred_servers_answer_while_four_misbehave_each_with_its_reason(fleet: Fleet, mass: Mass) -> None:
    mass.forget()
    job = fleet.finished(mass.sweep(mass.all), "succeeded")
    assert job["result"] == {"collected": MASS, "unreachable": 4, "left_alone": 0}
    strange = (HANGING, GARBLING, CLOSING, "changed")
    assert {name: fleet.get(f"/api/servers/{mass.ids[name]}")["status"]["code"] for name in strange} == {
        HANGING: "command_timed_out", GARBLING: "no_shell", CLOSING: "connection_lost",
        "changed": "host_key_changed",
    }  # fmt: skip
    before = logins(mass.directory)
    fleet.finished(mass.sweep(mass.living), "succeeded")
    assert logins(mass.directory) == before  # a steady sweep pays no handshake
    assert {mass.samples()[identity] for identity in mass.living} == {2}


def test_two_replicas_collect_nothing_twice(fleet: Fleet, mass: Mass) -> None:
    mass.forget()
    second = ServiceProcess(fleet, "stats").wait_ready()
    try:
        jobs = [mass.sweep(mass.living[:100]), mass.sweep(mass.living[100:])]
        for job in jobs:
            fleet.finished(job, "succeeded")
    finally:
        second.stop()
    samples = mass.samples()
    assert [samples.get(identity) for identity in mass.living] == [1] * MASS


def test_a_sweep_whose_worker_is_killed_goes_on_where_it_was(fleet: Fleet, mass: Mass) -> None:
    mass.forget()
    worker = fleet.restart("stats", BORGFLEET_STATS__CONCURRENCY="4")
    with answers_no_more(mass.directory):  # the last of them, or all may be stored by the time of the kill
        job = mass.sweep(mass.living)
        until(lambda: len(mass.samples()) >= 50, "a part is stored")
        worker.kill()
    before = mass.samples()
    assert len(before) < MASS
    fleet.spawn("stats")
    ended = fleet.finished(job, "succeeded")
    after = mass.samples()
    assert ended["attempt"] >= 2
    assert set(after) == set(mass.living)
    assert [after[identity] for identity in before] == [1] * len(before)


def test_dead_servers_are_left_alone_for_a_while_and_slow_nobody(fleet: Fleet, mass: Mass) -> None:
    mass.forget()
    fleet.finished(fleet.post("/api/collect-stats", {}), "succeeded")
    strange = (HANGING, GARBLING, CLOSING, "changed")

    def looked_at() -> list[str]:
        return [fleet.get(f"/api/servers/{mass.ids[name]}")["status"]["checked_at"] for name in strange]

    before = looked_at()
    job = fleet.finished(fleet.post("/api/collect-stats", {}), "succeeded")
    assert looked_at() == before
    assert job["result"]["unreachable"] == 0
    assert job["result"]["left_alone"] >= len(strange)
