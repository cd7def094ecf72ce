"""One folder a noun: routes, schemas, queries."""

from services.api.features.alerts.routes import router as alerts
from services.api.features.backup_jobs.routes import router as backup_jobs
from services.api.features.backups.routes import router as backups
from services.api.features.channels.routes import router as channels
from services.api.features.jobs.routes import router as jobs
from services.api.features.limits.routes import router as limits
from services.api.features.repositories.maintenance import router as maintenance
from services.api.features.repositories.recovery import router as recovery
from services.api.features.repositories.routes import router as repositories
from services.api.features.schedules.routes import router as schedules
from services.api.features.servers.routes import router as servers
from services.api.features.servers.statistics import router as statistics
from services.api.features.system.routes import router as system
from services.api.features.wizard.routes import router as wizard

ROUTERS = (
    servers,
    statistics,
    repositories,
    maintenance,
    recovery,
    backup_jobs,
    backups,
    jobs,
    wizard,
    alerts,
    channels,
    schedules,
    limits,
    system,
)
