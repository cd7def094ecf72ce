"""One file per noun."""

from services.api.routes import backup_jobs, backups, jobs, servers, storage, wizard

ROUTERS = (servers.router, storage.router, backup_jobs.router, backups.router, jobs.router, wizard.router)
