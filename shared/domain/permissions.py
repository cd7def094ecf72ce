"""What a person or a token may do: permissions as `noun:verb`, roles as sets of them. Both lists are closed."""

from __future__ import annotations

from enum import StrEnum
from itertools import chain


class Permission(StrEnum):
    """The right to one kind of action; each route of the API asks for one of them."""

    ALERTS_READ = "alerts:read"
    ALERTS_ACKNOWLEDGE = "alerts:acknowledge"
    APPROVALS_READ = "approvals:read"
    APPROVALS_DECIDE = "approvals:decide"
    AUDIT_READ = "audit:read"
    AUDIT_EXPORT = "audit:export"
    BACKUPS_READ = "backups:read"
    BACKUPS_HOLD = "backups:hold"
    BACKUPS_ACCEPT = "backups:accept"
    """A doubtful backup counts as good from then on: later runs are compared with it."""
    BACKUPS_RESTORE = "backups:restore"
    """To the server that a backup was made of."""
    BACKUPS_RESTORE_ELSEWHERE = "backups:restore_elsewhere"
    BACKUPS_DOWNLOAD = "backups:download"
    BACKUPS_DELETE = "backups:delete"
    BACKUP_JOBS_READ = "backup_jobs:read"
    BACKUP_JOBS_WRITE = "backup_jobs:write"
    BACKUP_JOBS_RUN = "backup_jobs:run"
    CHANNELS_READ = "channels:read"
    CHANNELS_WRITE = "channels:write"
    FILES_READ = "files:read"
    """Names and sizes of the files inside backups."""
    GRANTS_WRITE = "grants:write"
    GROUPS_READ = "groups:read"
    GROUPS_WRITE = "groups:write"
    JOBS_READ = "jobs:read"
    JOBS_CANCEL_OWN = "jobs:cancel_own"
    """What one asked for oneself; `jobs:control` holds for all."""
    JOBS_CONTROL = "jobs:control"
    """Cancel and retry."""
    LIMITS_READ = "limits:read"
    LIMITS_WRITE = "limits:write"
    POOLS_READ = "pools:read"
    POOLS_WRITE = "pools:write"
    REPOSITORIES_READ = "repositories:read"
    REPOSITORIES_WRITE = "repositories:write"
    REPOSITORIES_CHECK = "repositories:check"
    REPOSITORIES_VERIFY = "repositories:verify"
    REPOSITORIES_COMPACT = "repositories:compact"
    REPOSITORIES_INDEX = "repositories:index"
    REPOSITORIES_PRUNE = "repositories:prune"
    REPOSITORIES_RECOVER = "repositories:recover"
    REPOSITORIES_RESTORE_TEST = "repositories:restore_test"
    REPOSITORIES_IMPORT = "repositories:import"
    """Any directory of a node that its settings open, whatever server it is of: so it is about the fleet."""
    REPOSITORIES_MANAGE = "repositories:manage"
    """Take over what was imported, and say that prunes may take it."""
    REPOSITORIES_UNFREEZE = "repositories:unfreeze"
    """Prune again what was frozen, or follow a database that was restored."""
    REPOSITORIES_DELETE = "repositories:delete"
    SCHEDULES_READ = "schedules:read"
    SCHEDULES_WRITE = "schedules:write"
    """Pauses; a schedule itself is part of a backup job or of a repository."""
    SECRETS_SHOW = "secrets:show"
    SERVERS_READ = "servers:read"
    SERVERS_WRITE = "servers:write"
    SERVERS_SETUP = "servers:setup"
    SERVERS_DISCOVER = "servers:discover"
    SERVERS_COLLECT = "servers:collect"
    SERVERS_DELETE = "servers:delete"
    SETTINGS_READ = "settings:read"
    SETTINGS_WRITE = "settings:write"
    SUMMARY_READ = "summary:read"
    SYSTEM_READ = "system:read"
    """Borgfleet's own processes, and the messages that were given up."""
    TAGS_READ = "tags:read"
    TAGS_WRITE = "tags:write"
    THRESHOLDS_READ = "thresholds:read"
    THRESHOLDS_WRITE = "thresholds:write"
    TOKENS_READ = "tokens:read"
    """Those of others: one's own need no permission."""
    TOKENS_WRITE = "tokens:write"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    WINDOWS_READ = "windows:read"
    WINDOWS_WRITE = "windows:write"

    @property
    def noun(self) -> str:
        """What it is about."""
        return self.partition(":")[0]

    @property
    def verb(self) -> str:
        """What may be done."""
        return self.partition(":")[2]


class Role(StrEnum):
    """A set of permissions under a name; a user has it for the fleet, or for the servers with a tag."""

    VIEWER = "viewer"
    AUDITOR = "auditor"
    RESTORE_OPERATOR = "restore_operator"
    OPERATOR = "operator"
    ADMIN = "admin"


_NOT_FOR_ALL_TO_READ = frozenset({"approvals", "audit", "files", "settings", "tokens", "users"})
_VIEWER = frozenset(one for one in Permission if one.verb == "read" and one.noun not in _NOT_FOR_ALL_TO_READ)
_AUDITOR = _VIEWER | {
    Permission.APPROVALS_READ,
    Permission.AUDIT_EXPORT,
    Permission.AUDIT_READ,
    Permission.SETTINGS_READ,
    Permission.USERS_READ,
}
_RESTORE_OPERATOR = _VIEWER | {
    Permission.BACKUPS_RESTORE,
    Permission.FILES_READ,
    Permission.JOBS_CANCEL_OWN,
    Permission.REPOSITORIES_RESTORE_TEST,
}
_OPERATOR = _RESTORE_OPERATOR | {
    Permission.ALERTS_ACKNOWLEDGE,
    Permission.BACKUPS_HOLD,
    Permission.BACKUP_JOBS_RUN,
    Permission.BACKUP_JOBS_WRITE,
    Permission.JOBS_CONTROL,
    Permission.REPOSITORIES_CHECK,
    Permission.REPOSITORIES_COMPACT,
    Permission.REPOSITORIES_INDEX,
    Permission.REPOSITORIES_VERIFY,
    Permission.SCHEDULES_WRITE,
    Permission.SERVERS_COLLECT,
    Permission.SERVERS_DISCOVER,
    Permission.SERVERS_SETUP,
    Permission.SERVERS_WRITE,
    Permission.WINDOWS_WRITE,
}

ROLES: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.AUDITOR: frozenset(_AUDITOR),
    Role.RESTORE_OPERATOR: frozenset(_RESTORE_OPERATOR),
    Role.OPERATOR: frozenset(_OPERATOR),
    Role.ADMIN: frozenset(Permission),
}
"""What each role may. A new permission is the administrators' alone until it stands in another role."""

_OF_ONE_SERVER = frozenset(
    {"alerts", "backup_jobs", "backups", "files", "jobs", "repositories", "schedules", "servers"}
)
_WITHIN_TAGS = frozenset({Permission.SUMMARY_READ, Permission.WINDOWS_READ, Permission.WINDOWS_WRITE})
FLEET_ONLY: frozenset[Permission] = frozenset(
    one for one in Permission if one.noun not in _OF_ONE_SERVER and one not in _WITHIN_TAGS
) | {Permission.REPOSITORIES_IMPORT}
"""What a role that is limited to tags does not give: it is about the whole fleet."""


def permissions_of(*roles: Role) -> frozenset[Permission]:
    """Return what these roles allow together."""
    return frozenset(chain.from_iterable(ROLES[role] for role in roles))
