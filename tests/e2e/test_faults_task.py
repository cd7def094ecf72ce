"""A task of a process dies of an error nobody foresaw: it is started again, `/readyz` and a metric say so, work goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.harness.fleet import Fleet, ServiceProcess, until
from tests.harness.patience import WAIT


def asked(service: ServiceProcess, path: str) -> httpx2.Response | None:
    try:
        return httpx2.get(f"http://127.0.0.1:{service.health_port}{path}", timeout=WAIT)
    except httpx2.HTTPError:
        return None


def problems(service: ServiceProcess) -> dict[str, str] | None:
    """Return what is down; None if it does not answer yet."""
    answer = asked(service, "/readyz")
    return answer and answer.json()["problems"]


def figure(service: ServiceProcess, name: str, task: str) -> float:
    answer = asked(service, "/metrics")
    assert answer is not None
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if sample.name == name and sample.labels.get("task") == task:
                return sample.value
    return 0.0


@pytest.fixture
def fault(tmp_path: Path) -> Iterator[Path]:
    """While this file is there, a named place fails."""
    file = tmp_path / "fails"
    file.touch()
    yield file
    file.unlink(missing_ok=True)


CASES = {
    "relay": "api",
    "scheduler:reaper": "scheduler",
    "setup:server.setup/1": "setup",
}


@pytest.mark.parametrize("task", CASES)
def test_a_task_that_dies_is_started_again_and_the_process_says_so(
    fleet: Fleet, data: Path, fault: Path, task: str
) -> None:
    name = CASES[task]
    definition = fleet.backup_job([data])
    fleet.services[name].stop()
    broken = ServiceProcess(fleet, name, BORGFLEET_FAIL_AT=f"task:{task}", BORGFLEET_FAIL_WHILE=str(fault))
    fleet.services[name] = broken
    until(lambda: task in (problems(broken) or {}), f"{name} names {task}")
    until(lambda: set(problems(broken) or {}) == {task}, f"{name} names nothing else")
    until(lambda: figure(broken, "borgfleet_task_failures_total", task) >= 2, "it is started again")
    alive = asked(broken, "/livez")
    assert alive is not None
    assert alive.status_code == 200  # to kill the process would stop the runs of all its other tasks
    assert "RuntimeError" in broken.log.read_text()
    fleet.finished(fleet.run(definition), "succeeded")  # nobody else suffers
    mended_at = time.time()
    fault.unlink()
    broken.wait_ready()
    until(lambda: figure(broken, "borgfleet_task_last_success_timestamp_seconds", task) >= mended_at - 1, "it works")
    fleet.finished(fleet.run(definition), "succeeded")
    assert len(fleet.backups(definition)) == 2
