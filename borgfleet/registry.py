"""Every service by name; compose, Kubernetes and tests are checked against this list.

A service is imported when it is built: a worker's process holds no web framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.config.settings import Settings
    from shared.runtime.service import Parts, Service


def _api(parts: Parts) -> Service:
    from services.api.service import build  # noqa: PLC0415 - see above

    return build(parts)


def _backup(parts: Parts) -> Service:
    from services.backup.service import build  # noqa: PLC0415 - see above

    return build(parts)


def _scheduler(parts: Parts) -> Service:
    from services.scheduler.service import build  # noqa: PLC0415 - see above

    return build(parts)


def _setup(parts: Parts) -> Service:
    from services.setup.service import build  # noqa: PLC0415 - see above

    return build(parts)


def _stats(parts: Parts) -> Service:
    from services.stats.service import build  # noqa: PLC0415 - see above

    return build(parts)


SERVICES: dict[str, Callable[[Parts], Service]] = {
    "api": _api,
    "backup": _backup,
    "scheduler": _scheduler,
    "setup": _setup,
    "stats": _stats,
}

_REQUESTS = 20
SLOTS: dict[str, Callable[[Settings], int]] = {
    "api": lambda _settings: _REQUESTS,
    "backup": lambda settings: settings.backup.concurrency + 26,
    "scheduler": lambda _settings: 0,
    "setup": lambda _settings: 8,
    "stats": lambda _settings: 2,
}
"""How many requests and deliveries each service works on at once: known before it is built, for its connections."""
