"""The kernel's metrics: names once, base units, labels from closed sets, never an id."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000)


class TaskMetrics:
    """What is told of the tasks of a process, each by the name of its service and its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics of tasks once."""
        self.last_success = Gauge(
            "borgfleet_task_last_success_timestamp_seconds",
            "When a task of this process last succeeded; before its first success, when it was started.",
            ["task"],
            registry=registry,
        )
        self.interval = Gauge(
            "borgfleet_task_interval_seconds",
            "How often a task does its work; 0: it runs all the time.",
            ["task"],
            registry=registry,
        )
        self.failures = Counter(
            "borgfleet_task_failures_total", "Times a task failed and was started again.", ["task"], registry=registry
        )


def denied_counter(registry: CollectorRegistry) -> Counter:
    """Register what counts the subjects that nats-server refuses this process."""
    text = "Times nats-server refused this process a subject, by direction: publish or subscription."
    made = Counter("borgfleet_bus_denied_total", text, ["direction"], registry=registry)
    for direction in ("publish", "subscription"):
        made.labels(direction)  # at 0 from the start: of a series that begins at 1 Prometheus sees no increase
    return made


class KernelMetrics:
    """What every worker counts; one instance per process and registry."""

    def __init__(self, registry: CollectorRegistry, tasks: TaskMetrics | None = None) -> None:
        """Register the kernel's metrics once; those of tasks may be there already."""
        self.registry = registry
        build = Gauge("borgfleet_build_info", "Always 1; the label tells the version.", ["version"], registry=registry)
        build.labels(version("borgfleet")).set(1)
        self.deliveries = Counter(
            "borgfleet_deliveries_total", "Messages disposed of.", ["subject", "disposition"], registry=registry
        )
        self.handling = Histogram(
            "borgfleet_handling_seconds", "Time a handler took.", ["subject"], buckets=_SECONDS, registry=registry
        )
        self.running = Gauge("borgfleet_running_jobs", "Jobs being worked on.", ["subject"], registry=registry)
        self.published = Counter("borgfleet_outbox_published_total", "Outbox rows published.", registry=registry)
        self.dead = Counter("borgfleet_dead_letters_total", "Messages given up.", ["subject"], registry=registry)
        self.bus_up = Gauge("borgfleet_bus_up", "Whether the message bus answers this process.", registry=registry)
        self.tasks = tasks or TaskMetrics(registry)
