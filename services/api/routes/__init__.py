"""One file per noun."""

from services.api.routes import (
    alerts,
    backup_jobs,
    backups,
    channels,
    jobs,
    kernel,
    limits,
    recovery,
    retention,
    schedules,
    servers,
    stats,
    storage,
    wizard,
)

_NOUNS = (
    servers,
    stats,
    storage,
    backup_jobs,
    backups,
    jobs,
    wizard,
    alerts,
    channels,
    schedules,
    retention,
    recovery,
    limits,
    kernel,
)
ROUTERS = tuple(noun.router for noun in _NOUNS)
