"""One folder a noun: routes, schemas, queries."""

from services.api.features.alerts.routes import router as alerts_router
from services.api.features.backup_jobs.routes import router as backup_jobs_router
from services.api.features.backups.routes import router as backups_router
from services.api.features.channels.routes import router as channels_router
from services.api.features.jobs.kinds import router as job_kinds_router
from services.api.features.jobs.routes import router as jobs_router
from services.api.features.limits.routes import router as limits_router
from services.api.features.repositories.maintenance import router as maintenance_router
from services.api.features.repositories.recovery import router as recovery_router
from services.api.features.repositories.routes import router as repositories_router
from services.api.features.schedules.routes import router as schedules_router
from services.api.features.servers.routes import router as servers_router
from services.api.features.servers.statistics import router as statistics_router
from services.api.features.system.routes import router as system_router
from services.api.features.wizard.routes import router as wizard_router

ROUTERS = (
    servers_router,
    statistics_router,
    repositories_router,
    maintenance_router,
    recovery_router,
    backup_jobs_router,
    backups_router,
    jobs_router,
    job_kinds_router,
    wizard_router,
    alerts_router,
    channels_router,
    schedules_router,
    limits_router,
    system_router,
)
