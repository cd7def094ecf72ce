"""A real Prometheus scrapes the running services; product and Prometheus raise and resolve the same alerts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from shared.testing.sshd import free_port
from tests.harness.fleet import Fleet, until
from tests.harness.patience import WAIT
from tests.harness.webhook import webhook_channel

ROOT = Path(__file__).resolve().parents[2]


class Prometheus:
    """Debian's prometheus with our rules, in a directory of its own."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.port = free_port()
        self.fleet = fleet
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Prometheus:
        jobs = [
            {"job_name": f"borgfleet-{name}", "static_configs": [{"targets": [f"127.0.0.1:{service.health_port}"]}]}
            for name, service in self.fleet.services.items()
        ]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ROOT / "deploy/prometheus/rules/*.yml")],
            "scrape_configs": jobs,
        }
        self.directory.mkdir()
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        with (self.directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={self.directory / 'prometheus.yml'}",
                 f"--storage.tsdb.path={self.directory / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}"],
                stderr=log, stdout=log,
            )  # fmt: skip
        until(self.ready, "prometheus is ready")
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=WAIT)

    def ready(self) -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{self.port}/-/ready", timeout=WAIT).status_code == 200
        except httpx2.HTTPError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{self.port}/api/v1/query"
        answer = httpx2.get(url, params={"query": expression}, timeout=WAIT).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        return answer["data"]["result"]

    def firing(self, alert: str, **labels: str) -> bool:
        wanted = ", ".join(f'{name}="{value}"' for name, value in labels.items())
        return bool(self.query(f'ALERTS{{alertname="{alert}", alertstate="firing", {wanted}}}'))


@pytest.fixture
def prometheus(fleet: Fleet, tmp_path: Path) -> Iterator[Prometheus]:
    made = Prometheus(fleet, tmp_path / "prometheus")
    try:
        yield made.start()
    finally:
        made.stop()


def open_alerts(fleet: Fleet) -> set[tuple[str, str]]:
    return {(alert["kind"], alert["subject"]) for alert in fleet.get("/api/alerts?state=open&limit=500")["items"]}


def collect(fleet: Fleet) -> None:
    fleet.finished(fleet.post(f"/api/servers/{fleet.host['id']}/collect-stats"), "succeeded")


def test_an_overload_is_raised_and_resolved_in_the_product_and_in_prometheus(
    fleet: Fleet, data: Path, prometheus: Prometheus
) -> None:
    fleet.finished(fleet.run(fleet.backup_job([data])), "succeeded")
    collect(fleet)
    server = fleet.host["name"]
    overload = ("disk", f"server:{server}:/")
    assert overload not in open_alerts(fleet)
    path = f"/api/thresholds/disk?server={server}"
    with webhook_channel(fleet, "overload", kinds=["disk"]) as messages:
        fleet.call("PUT", path, {"warning": 0.5, "critical": None})
        try:
            collect(fleet)  # wakes the evaluation
            until(lambda: overload in open_alerts(fleet), "the product raises it")
            until(lambda: space_low(prometheus, server), "prometheus raises it")
        finally:
            fleet.call("DELETE", path)
        collect(fleet)
        until(lambda: overload not in open_alerts(fleet), "the product resolves it")
        until(lambda: not space_low(prometheus, server), "prometheus resolves it")
        until(lambda: len(told(messages, overload[1])) == 2, "the webhook is told of both")
    assert told(messages, overload[1]) == ["raise", "resolve"]
    resolved = fleet.get("/api/alerts?state=resolved")["items"]
    alert = next(one for one in resolved if (one["kind"], one["subject"]) == overload)
    assert [change["what"] for change in fleet.get(f"/api/alerts/{alert['id']}")["history"]] == ["raise", "resolve"]


def told(messages: list[dict[str, Any]], about: str) -> list[str]:
    """Return what was told of one file system: others, of tests beside this one, may be as full."""
    return [one["what"] for message in messages for one in message["alerts"] if one["about"] == about]


def space_low(prometheus: Prometheus, server: str) -> bool:
    return prometheus.firing("BorgfleetServerSpaceLow", server=server, kind="disk", mountpoint="/")


def test_a_failed_backup_is_an_alert_at_once_and_its_success_the_end_of_it(fleet: Fleet, data: Path) -> None:
    """By the event itself: the ticker comes each half minute only."""
    definition = fleet.backup_job([data / "not there"])
    about = ("backup_failed", f"backup_job:{definition['name']}")
    fleet.finished(fleet.run(definition), "failed")
    until(lambda: about in open_alerts(fleet), "it is raised")
    body = {key: definition[key] for key in ("name", "server_id", "repository_id")} | {"sources": [str(data)]}
    fleet.call("PUT", f"/api/backup-jobs/{definition['id']}", body)
    fleet.finished(fleet.run(definition), "succeeded", "warning")
    until(lambda: about not in open_alerts(fleet), "it is over")


def test_a_service_that_is_gone_is_an_incident_that_ends_when_it_is_back(fleet: Fleet) -> None:
    threshold = {"warning": 20, "critical": None, "for_seconds": 0}
    fleet.call("PUT", "/api/thresholds/service_missing", threshold)
    missing = ("service_missing", "service:setup")
    try:
        fleet.services["setup"].kill()
        until(lambda: missing in open_alerts(fleet), "it is missed")
        fleet.spawn("setup")
        until(lambda: missing not in open_alerts(fleet), "it is back")
    finally:
        fleet.call("DELETE", "/api/thresholds/service_missing")


def test_a_test_message_that_cannot_arrive_says_why(fleet: Fleet) -> None:
    body = {"name": "nowhere", "kind": "apprise", "url": f"json://127.0.0.1:{free_port()}/token-canary"}
    channel = fleet.post("/api/notification-channels", body)
    path = f"/api/notification-channels/{channel['id']}"
    try:
        sent = fleet.post(f"{path}/test")
        log = f"/api/notifications/{sent['id']}"
        failed = until(lambda: found if (found := fleet.get(log))["error"] else None, "it says why")
        assert failed["state"] == "waiting"
        assert failed["error"].startswith("not delivered")
        assert "token-canary" not in failed["error"] + fleet.logs()
    finally:
        fleet.call("DELETE", path)


def test_every_panel_of_every_dashboard_has_data(fleet: Fleet, data: Path, prometheus: Prometheus) -> None:
    definition = fleet.backup_job([data], rpo_seconds=3600)
    fleet.finished(fleet.run(definition), "succeeded")
    collect(fleet)
    name = definition["name"]
    metric = f'borgfleet_backup_last_success_timestamp_seconds{{backup_job="{name}"}}'
    until(lambda: prometheus.query(metric), "the backup's figures are scraped")
    panels = [
        (f"{file.stem}: {panel['title']}", target["expr"].replace("$server", fleet.host["name"]))
        for file in (ROOT / "deploy/grafana/dashboards").glob("*.json")
        for panel in json.loads(file.read_text())["panels"]
        for target in panel["targets"]
    ]

    # A rate needs two scrapes, and a service that another test ended has other counters now.
    def empty() -> list[str]:
        panels[:] = [panel for panel in panels if not prometheus.query(panel[1])]
        return [f"{name}: {expression}" for name, expression in panels]

    until(lambda: not empty(), lambda: "\n".join(empty()))
