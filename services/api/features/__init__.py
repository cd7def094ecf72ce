"""One folder a noun: routes, schemas, queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.api.features.alerts.routes import router as alerts_router
from services.api.features.alerts.windows import router as windows_router
from services.api.features.approvals import settings as four_eyes
from services.api.features.approvals.routes import router as approvals_router
from services.api.features.audit.routes import router as audit_router
from services.api.features.auth.factors import router as factors_router
from services.api.features.auth.own import router as own_router
from services.api.features.auth.routes import router as auth_router
from services.api.features.backup_jobs import guarded as backup_jobs_guarded
from services.api.features.backup_jobs.routes import router as backup_jobs_router
from services.api.features.backups import guarded as backups_guarded
from services.api.features.backups.restores import router as restores_router
from services.api.features.backups.routes import router as backups_router
from services.api.features.channels.routes import router as channels_router
from services.api.features.events.routes import router as events_router
from services.api.features.files.downloads import router as downloads_router
from services.api.features.files.routes import router as files_router
from services.api.features.files.times import router as file_times_router
from services.api.features.groups.routes import router as groups_router
from services.api.features.jobs import guarded as jobs_guarded
from services.api.features.jobs.kinds import router as job_kinds_router
from services.api.features.jobs.routes import router as jobs_router
from services.api.features.limits.routes import router as limits_router
from services.api.features.proofs.routes import router as proofs_router
from services.api.features.recovery.routes import router as kit_router
from services.api.features.repositories import guarded as repositories_guarded
from services.api.features.repositories.importing import router as importing_router
from services.api.features.repositories.maintenance import router as maintenance_router
from services.api.features.repositories.pools import router as pools_router
from services.api.features.repositories.recovery import router as recovery_router
from services.api.features.repositories.routes import router as repositories_router
from services.api.features.schedules.routes import router as schedules_router
from services.api.features.servers import guarded as servers_guarded
from services.api.features.servers.routes import router as servers_router
from services.api.features.servers.statistics import router as statistics_router
from services.api.features.system.errors import router as errors_router
from services.api.features.system.routes import router as system_router
from services.api.features.tags.routes import router as tags_router
from services.api.features.tokens import guarded as tokens_guarded
from services.api.features.tokens.routes import router as tokens_router
from services.api.features.users import guarded as users_guarded
from services.api.features.users.routes import router as users_router
from services.api.features.wizard.routes import router as wizard_router

if TYPE_CHECKING:
    from services.api.security.approvals import Actions

ROUTERS = (
    servers_router,
    statistics_router,
    tags_router,
    groups_router,
    pools_router,
    importing_router,
    repositories_router,
    proofs_router,
    maintenance_router,
    recovery_router,
    kit_router,
    backup_jobs_router,
    backups_router,
    restores_router,
    files_router,
    file_times_router,
    downloads_router,
    jobs_router,
    job_kinds_router,
    wizard_router,
    alerts_router,
    windows_router,
    channels_router,
    schedules_router,
    limits_router,
    system_router,
    auth_router,
    own_router,
    factors_router,
    users_router,
    tokens_router,
    audit_router,
    approvals_router,
    four_eyes.router,
    errors_router,
    events_router,
)

GUARDED: Actions = {
    **backups_guarded.GUARDED,
    **servers_guarded.GUARDED,
    **repositories_guarded.GUARDED,
    **backup_jobs_guarded.GUARDED,
    **jobs_guarded.GUARDED,
    **users_guarded.GUARDED,
    **tokens_guarded.GUARDED,
    **four_eyes.GUARDED,
}
"""What does each kind of guarded action, for a request and once another person has agreed."""
