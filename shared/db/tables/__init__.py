"""All tables, so that one import fills the metadata."""

from shared.db.tables.account import (
    ApiToken,
    Grant,
    LoginFlow,
    LoginSession,
    OneTimeLink,
    RecoveryCode,
    Throttle,
    User,
)
from shared.db.tables.alert import Alert, AlertChange, AlertRule, MaintenanceWindow
from shared.db.tables.approval import Approval, FourEyes
from shared.db.tables.audit import AuditCheck, AuditEntry, AuditSeal
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.base import Base, db_now
from shared.db.tables.download import DownloadTicket
from shared.db.tables.evidence import PastMeasure, RunEvidenceRow
from shared.db.tables.job import Job, JobLog
from shared.db.tables.kernel import (
    CommitMark,
    DeadLetter,
    Lease,
    OutboxRow,
    RunLimits,
    Secret,
    ServiceInstance,
)
from shared.db.tables.notify import Notification, NotificationChannel
from shared.db.tables.proof import RestoreProof
from shared.db.tables.recovery import KitEntry
from shared.db.tables.request import IdempotencyKey
from shared.db.tables.schedule import MissedRun, Pause, Schedule
from shared.db.tables.server import AccessRefusal, Server
from shared.db.tables.stats import ServerMount, ServerRollup, ServerStats, ServerStatus
from shared.db.tables.storage import Archive, BackupNode, Repository, StoragePool
from shared.db.tables.tag import ChannelTag, GroupTag, ServerGroup, ServerTag, Tag

__all__ = [
    "AccessRefusal",
    "Alert",
    "AlertChange",
    "AlertRule",
    "ApiToken",
    "Approval",
    "Archive",
    "AuditCheck",
    "AuditEntry",
    "AuditSeal",
    "BackupJob",
    "BackupNode",
    "Base",
    "ChannelTag",
    "CommitMark",
    "DeadLetter",
    "DownloadTicket",
    "FourEyes",
    "Grant",
    "GroupTag",
    "IdempotencyKey",
    "Job",
    "JobLog",
    "KitEntry",
    "Lease",
    "LoginFlow",
    "LoginSession",
    "MaintenanceWindow",
    "MissedRun",
    "Notification",
    "NotificationChannel",
    "OneTimeLink",
    "OutboxRow",
    "PastMeasure",
    "Pause",
    "RecoveryCode",
    "Repository",
    "RestoreProof",
    "RunEvidenceRow",
    "RunLimits",
    "Schedule",
    "Secret",
    "Server",
    "ServerGroup",
    "ServerMount",
    "ServerRollup",
    "ServerStats",
    "ServerStatus",
    "ServerTag",
    "ServiceInstance",
    "StoragePool",
    "Tag",
    "Throttle",
    "User",
    "db_now",
]
