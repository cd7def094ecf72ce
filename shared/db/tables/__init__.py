"""All tables, so that one import fills the metadata."""

from shared.db.tables.backup_job import BackupJob
from shared.db.tables.base import Base, db_now
from shared.db.tables.job import Job, JobLog
from shared.db.tables.kernel import ApiToken, Lease, OutboxRow, Secret
from shared.db.tables.server import Server
from shared.db.tables.storage import Archive, BackupNode, Repository, StoragePool

__all__ = [
    "ApiToken",
    "Archive",
    "BackupJob",
    "BackupNode",
    "Base",
    "Job",
    "JobLog",
    "Lease",
    "OutboxRow",
    "Repository",
    "Secret",
    "Server",
    "StoragePool",
    "db_now",
]
