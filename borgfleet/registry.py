"""Every service by name; compose, Kubernetes and tests are checked against this list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.api.service import build as build_api
from services.backup.service import build as build_backup
from services.scheduler.service import build as build_scheduler
from services.setup.service import build as build_setup

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.runtime.service import Parts, Service

SERVICES: dict[str, Callable[[Parts], Service]] = {
    "api": build_api,
    "backup": build_backup,
    "scheduler": build_scheduler,
    "setup": build_setup,
}
