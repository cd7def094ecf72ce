"""Rules and dashboards speak only of metrics that exist, and every alert has its test."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from services.api.kernel.metrics import HttpMetrics
from services.scheduler.reaper import recovered_counter
from services.scheduler.schedules import schedule_metrics
from services.stats.metrics.snapshot import FAMILIES
from shared.telemetry.metrics import KernelMetrics, denied_counter

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = yaml.safe_load((DEPLOY / "prometheus/rules/borgfleet.yml").read_text())
DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))


def names() -> set[str]:
    """Every name under which a metric of ours is scraped."""
    registry = CollectorRegistry()
    KernelMetrics(registry)
    denied_counter(registry)
    HttpMetrics(registry)
    recovered_counter(registry)
    schedule_metrics(registry)
    ours = set(FAMILIES)
    for family in registry.collect():
        if family.type == "counter":
            ours.add(f"{family.name}_total")
        elif family.type == "histogram":
            ours |= {f"{family.name}_{suffix}" for suffix in ("bucket", "sum", "count")}
        else:
            ours.add(family.name)
    return ours


def rules() -> Iterator[dict[str, str]]:
    for group in RULES["groups"]:
        yield from group["rules"]


def queries(dashboard: Path) -> list[str]:
    panels = json.loads(dashboard.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def used(query: str) -> set[str]:
    return set(re.findall(r"\bborgfleet_[a-z0-9_]+", query))


def test_every_metric_in_a_rule_exists() -> None:
    unknown = {name for rule in rules() for name in used(rule["expr"])} - names()
    assert unknown == set()


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_every_metric_in_a_panel_exists(dashboard: Path) -> None:
    assert {name for query in queries(dashboard) for name in used(query)} - names() == set()


def test_every_alert_is_tested_firing_and_silent() -> None:
    tests = yaml.safe_load((DEPLOY / "prometheus/tests/borgfleet.test.yml").read_text())["tests"]
    fired, silent = set(), set()
    for test in tests:
        series = " ".join(entry["series"] for entry in test["input_series"])
        for check in test["alert_rule_test"]:
            (fired if check["exp_alerts"] else silent).add(check["alertname"])
            # One that fires for some of several subjects is silent for the others.
            if len(check["exp_alerts"]) < len(
                set(re.findall(r'(?:server|mountpoint|backup_job|pool|type)="([^"]+)"', series))
            ):
                silent.add(check["alertname"])
        assert 'instance="2"' in series, f"{test['name']}: one replica only"
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    assert alerts - fired == set()
    assert alerts - silent == set()


def test_figures_of_replicas_are_never_summed() -> None:
    everything = [rule["expr"] for rule in rules()] + [query for file in DASHBOARDS for query in queries(file)]
    for query in everything:
        for summed in re.findall(r"sum(?: by \([^)]*\))? \((borgfleet_[a-z0-9_]+)", query):
            assert summed not in FAMILIES, query


def test_prometheus_scrapes_every_service() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    compose = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())["services"]
    ours = {
        f"borgfleet-{one['command'][2]}"
        for one in compose.values()
        if (one.get("command") or [""])[:2] == ["borgfleet", "run"]
    }
    assert {job["job_name"] for job in config["scrape_configs"]} == ours
