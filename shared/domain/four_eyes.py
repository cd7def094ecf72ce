"""Four eyes: which actions need a second person, each as a command that is frozen as it was asked for. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from shared.domain.permissions import Permission
from shared.domain.retention import Policy

if TYPE_CHECKING:
    import uuid

OUTSIDE = "outside"
"""Who asked, where it was a message of a program of others."""
DIGEST, PREFIX = "digest", "prefix"
"""The fields of a command that hold what a new secret is known by: they are no part of what was asked for."""
FRESH = frozenset({DIGEST, PREFIX})


class Guarded(StrEnum):
    """The kinds of actions that need a second person, where four eyes are switched on."""

    DELETE_BACKUP = "delete_backup"
    DELETE_SERVER = "delete_server"
    RELEASE_BACKUP = "release_backup"
    """Also a hold that would end earlier."""
    LOWER_RETENTION = "lower_retention"
    LOWER_JOB_RETENTION = "lower_job_retention"
    DELETE_JOB = "delete_backup_job"
    """Where its backups would be kept for less time without it."""
    PASS_DELETION_LIMIT = "pass_deletion_limit"  # noqa: S105 - the limit of a prune, no password
    UNFREEZE = "unfreeze"
    ACCEPT_RESTORED = "accept_restored"
    CONFIRM_RETENTION = "confirm_retention"
    """Lets prunes take what was imported."""
    RETRY_DELETION = "retry_deletion"
    ADD_USER = "add_user"
    CHANGE_USER = "change_user"
    DELETE_USER = "delete_user"
    CHANGE_GRANTS = "change_grants"
    LINK_USER = "link_user"
    RESET_FACTORS = "reset_factors"
    MAKE_TOKEN = "make_token"  # noqa: S105 - what is done, no token
    CHANGE_FOUR_EYES = "change_four_eyes"


PERMISSION_OF: dict[Guarded, Permission] = {
    Guarded.DELETE_BACKUP: Permission.BACKUPS_DELETE,
    Guarded.DELETE_SERVER: Permission.SERVERS_DELETE,
    Guarded.RELEASE_BACKUP: Permission.BACKUPS_HOLD,
    Guarded.LOWER_RETENTION: Permission.REPOSITORIES_WRITE,
    Guarded.LOWER_JOB_RETENTION: Permission.BACKUP_JOBS_WRITE,
    Guarded.DELETE_JOB: Permission.BACKUP_JOBS_WRITE,
    Guarded.PASS_DELETION_LIMIT: Permission.REPOSITORIES_PRUNE,
    Guarded.UNFREEZE: Permission.REPOSITORIES_UNFREEZE,
    Guarded.ACCEPT_RESTORED: Permission.REPOSITORIES_UNFREEZE,
    Guarded.CONFIRM_RETENTION: Permission.REPOSITORIES_MANAGE,
    Guarded.RETRY_DELETION: Permission.BACKUPS_DELETE,
    Guarded.ADD_USER: Permission.USERS_WRITE,
    Guarded.CHANGE_USER: Permission.USERS_WRITE,
    Guarded.DELETE_USER: Permission.USERS_WRITE,
    Guarded.CHANGE_GRANTS: Permission.GRANTS_WRITE,
    Guarded.LINK_USER: Permission.USERS_WRITE,
    Guarded.RESET_FACTORS: Permission.USERS_WRITE,
    Guarded.MAKE_TOKEN: Permission.TOKENS_WRITE,
    Guarded.CHANGE_FOUR_EYES: Permission.SETTINGS_WRITE,
}
"""What the second person has to be allowed too."""

POWERS = frozenset(PERMISSION_OF.values())
"""Who has one of these can ask for something guarded: to make, change or impersonate such an account is guarded."""


@dataclass(frozen=True, slots=True)
class Command:
    """A guarded action as it was asked for; done later, it does the same or nothing."""

    kind: Guarded
    target: str = ""
    """The id of what it is about."""
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What else it takes, as JSON can hold it."""
    version: int | None = None
    """The version of the target that it was asked for, where that has one."""

    @property
    def key(self) -> str:
        """The same for two requests that would do the same; new secrets are no difference."""
        told = {name: value for name, value in self.fields.items() if name not in FRESH}
        text = json.dumps([self.kind.value, self.target, told, self.version], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class About:
    """What a command is about, as people know it."""

    noun: str
    name: str = ""
    server_id: uuid.UUID | None = None
    reason: str = ""


def lowers(before: object, after: object) -> bool:
    """Tell whether less might be kept under a retention than under the one before; None: nothing is ever pruned.

    Both are a `Policy`, or what a row keeps of one. One that cannot be read might have kept anything.
    """
    if after is None:
        return False
    if before is None:
        return True
    try:
        old, new = _read(before), _read(after)
    except ValidationError:
        return True
    if old.pop("zone") != new.pop("zone"):
        return True  # other days, weeks and months: another backup is the last one of its day
    more = new.pop("deletion_limit_percent") > old.pop("deletion_limit_percent")
    return more or any(new[name] < old[name] for name in old)


def _read(policy: object) -> dict[str, Any]:
    return (policy if isinstance(policy, Policy) else Policy.model_validate(policy)).model_dump()
