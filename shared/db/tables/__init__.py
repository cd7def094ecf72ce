"""All tables, so that one import fills the metadata."""

from shared.db.tables.alert import Alert, AlertChange, AlertRule, MaintenanceWindow
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.base import Base, db_now
from shared.db.tables.evidence import PastMeasure, RunEvidenceRow
from shared.db.tables.job import Job, JobLog
from shared.db.tables.kernel import (
    ApiToken,
    CommitMark,
    DeadLetter,
    Lease,
    OutboxRow,
    RunLimits,
    Secret,
    ServiceInstance,
)
from shared.db.tables.notify import Notification, NotificationChannel
from shared.db.tables.schedule import MissedRun, Pause, Schedule
from shared.db.tables.server import AccessRefusal, Server
from shared.db.tables.stats import ServerMount, ServerRollup, ServerStats, ServerStatus
from shared.db.tables.storage import Archive, BackupNode, Repository, StoragePool

__all__ = [
    "AccessRefusal",
    "Alert",
    "AlertChange",
    "AlertRule",
    "ApiToken",
    "Archive",
    "BackupJob",
    "BackupNode",
    "Base",
    "CommitMark",
    "DeadLetter",
    "Job",
    "JobLog",
    "Lease",
    "MaintenanceWindow",
    "MissedRun",
    "Notification",
    "NotificationChannel",
    "OutboxRow",
    "PastMeasure",
    "Pause",
    "Repository",
    "RunEvidenceRow",
    "RunLimits",
    "Schedule",
    "Secret",
    "Server",
    "ServerMount",
    "ServerRollup",
    "ServerStats",
    "ServerStatus",
    "ServiceInstance",
    "StoragePool",
    "db_now",
]
