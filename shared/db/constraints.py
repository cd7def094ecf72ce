"""What each constraint of the schema means to a person: code, sentence and field, whichever database refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import UniqueConstraint

from shared.db.tables import Base
from shared.errors import Conflict

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.exc import DBAPIError

_OTHER_NAME = "choose another name, or change the one that is there"
_LOOK_AGAIN = "nothing was changed; look again and repeat it if it is still wanted"


@dataclass(frozen=True, slots=True)
class Broken:
    """What a person is told when a constraint refuses a change."""

    code: str
    sentence: str
    field: str = ""
    remedy: str = _LOOK_AGAIN

    def error(self) -> Conflict:
        """Return it as the error that leaves the database's door."""
        return Conflict(self.sentence, code=self.code, remedy=self.remedy, field=self.field)


UNIQUE: dict[str, Broken] = {
    "uq_alert_rules_kind_server_tag": Broken("threshold_exists", "this threshold was set by another request", "kind"),
    "uq_alerts_open_key": Broken("alert_open", "an alert about this is open already"),
    "uq_api_tokens_digest": Broken("token_exists", "this token exists already", "token", "make a new token"),
    "uq_api_tokens_name": Broken("token_name_taken", "another token has this name", "name", _OTHER_NAME),
    "uq_api_tokens_prefix": Broken("token_exists", "this token exists already", "token", "make a new token"),
    "uq_approvals_open_key": Broken("approval_asked", "this was asked for by another request just now"),
    "uq_approvals_request_key": Broken("approval_kept", "this request was kept for a second person before"),
    "uq_archives_repository_id_borg_id": Broken("archive_recorded", "this archive is on record already"),
    "uq_backup_jobs_name": Broken("backup_job_name_taken", "another backup job has this name", "name", _OTHER_NAME),
    "uq_dead_letters_message_key": Broken("dead_letter_recorded", "this message was given up before"),
    "uq_download_tickets_digest": Broken("download_exists", "this download exists already", "", "ask for a new one"),
    "uq_grants_user_id_role_tag_id": Broken("grant_exists", "this user has this role already", "role"),
    "uq_jobs_request_key": Broken("already_requested", "this was asked for before, and its job exists"),
    "uq_missed_runs_schedule_id_due_at": Broken("missed_run_recorded", "this missed run is on record already"),
    "uq_notification_channels_name": Broken("channel_name_taken", "another channel has this name", "name", _OTHER_NAME),
    "uq_notifications_channel_id_change_id": Broken("notification_exists", "this channel is told of this already"),
    "uq_pauses_server": Broken("pause_exists", "another request paused this just now", "server"),
    "uq_repositories_path": Broken(
        "repository_path_taken", "another repository lies at this path", "name", "choose another name or another pool"
    ),
    "uq_repositories_server_id_name": Broken(
        "repository_name_taken", "this server has a repository of this name already", "name", _OTHER_NAME
    ),
    "uq_server_groups_name": Broken("group_name_taken", "another group has this name", "name", _OTHER_NAME),
    "uq_servers_name": Broken("server_name_taken", "another server has this name", "name", _OTHER_NAME),
    "uq_sessions_digest": Broken("session_exists", "this session exists already", "", "log in again"),
    "uq_storage_pools_name": Broken("pool_name_taken", "another storage pool has this name", "name", _OTHER_NAME),
    "uq_tags_name": Broken("tag_name_taken", "another tag has this name", "name", _OTHER_NAME),
    "uq_users_name": Broken("user_name_taken", "another user has this name", "name", _OTHER_NAME),
}
"""By the name of the unique constraint or unique index."""

CHECKS: dict[str, Broken] = {}
"""By the name of the check; the schema has none yet. (MariaDB's own, for JSON, are about values: see door.py.)"""

NOUNS: dict[str, str] = {
    "alerts": "alert",
    "archives": "backup",
    "backup_jobs": "backup job",
    "jobs": "job",
    "notification_channels": "channel",
    "repositories": "repository",
    "server_groups": "group",
    "servers": "server",
    "storage_pools": "storage pool",
    "tags": "tag",
    "users": "user",
}
"""By the table to which a foreign key refers: what people call one of its rows."""

_TWICE = Broken("conflict", "the same thing was made by another request at the same time")
_MARIA_KEY = re.compile(r"for key '(?:\w+\.)?(\w+)'")
_MARIA_NAMED = re.compile(r"CONSTRAINT `(?:\w+\.)?(\w+)`")
_SQLITE_COLUMNS = re.compile(r"^UNIQUE constraint failed: (.+)$")
_SQLITE_CHECK = re.compile(r"^CHECK constraint failed: (\w+)")
_CHANGES = re.compile(
    r"^\s*(?:INSERT\s+(?:OR\s+\w+\s+|IGNORE\s+)?INTO|UPDATE|(DELETE)\s+FROM)\s+[`\"]?(\w+)", re.IGNORECASE
)
_DUPLICATE = (1062, 1586)
_STILL_USED = (1217, 1451)
_NO_SUCH_PARENT = (1216, 1452)
_CHECK_FAILED = 4025


def broken_by(error: DBAPIError) -> Broken | None:
    """Return which constraint a driver's error is about; None if it is about none that is ours."""
    number, text = _said(error)
    if number in _DUPLICATE:
        return _unique(_MARIA_KEY.search(text))
    if match := _SQLITE_COLUMNS.match(text):
        return UNIQUE.get(_by_columns().get(frozenset(match[1].split(", ")), ""), _TWICE)
    if (match := _SQLITE_CHECK.match(text)) or (number == _CHECK_FAILED and (match := _MARIA_NAMED.search(text))):
        return CHECKS.get(match[1])
    if number in _NO_SUCH_PARENT + _STILL_USED or text.startswith("FOREIGN KEY constraint failed"):
        return _foreign_key(error, number, text)
    return None


def in_use(parent: str) -> Broken:
    """Return what is said when a row of this table cannot go because others refer to it."""
    noun = NOUNS[parent]
    users = sorted({table.name.replace("_", " ") for table in Base.metadata.tables.values() if _refers(table, parent)})
    sentence = f"this {noun} is still used: {' or '.join(users) or 'something'} refer to it"
    return Broken(f"{noun.replace(' ', '_')}_in_use", sentence, "", "delete what uses it first, or keep it")


def missing_parent(parent: str | None, field: str = "") -> Broken:
    """Return what is said when a row refers to one that is not there (any more)."""
    noun = NOUNS[parent] if parent else "something"
    sentence = f"the {noun} that this is for does not exist" if parent else "something that this is for does not exist"
    return Broken(
        "reference_unknown", sentence, field, "it may have been deleted meanwhile: list what there is and choose"
    )


def _said(error: DBAPIError) -> tuple[int | None, str]:
    arguments: tuple[Any, ...] = error.orig.args if error.orig else ()
    number = arguments[0] if arguments and isinstance(arguments[0], int) else None
    return number, str(arguments[-1]) if arguments else ""


def _unique(match: re.Match[str] | None) -> Broken:
    return UNIQUE.get(match[1], _TWICE) if match else _TWICE


def _foreign_key(error: DBAPIError, number: int | None, text: str) -> Broken:
    """Take the constraint's name from MariaDB; SQLite gives none, so there the statement has to tell."""
    change = _CHANGES.match(error.statement or "")
    named = _MARIA_NAMED.search(text)
    if named and named[1] in _foreign_keys():
        parent, field = _foreign_keys()[named[1]]
        return in_use(parent) if number in _STILL_USED else missing_parent(parent, field)
    if change and change[1]:
        return in_use(change[2]) if change[2] in NOUNS else Broken("in_use", "this is still used")
    table = Base.metadata.tables.get(change[2]) if change else None
    keys = list(table.foreign_keys) if table is not None else []
    return missing_parent(keys[0].column.table.name, keys[0].parent.name) if len(keys) == 1 else missing_parent(None)


@lru_cache(maxsize=1)
def _by_columns() -> dict[frozenset[str], str]:
    """Return the names of unique constraints by `table.column`, since SQLite names the columns alone."""
    return {
        frozenset(f"{table.name}.{column}" for column in index["column_names"]): index["name"]
        for table in Base.metadata.tables.values()
        for index in unique_of(table)
    }


def unique_of(table: Table) -> list[dict[str, Any]]:
    """Return name and columns of a table's unique constraints and unique indexes."""
    constraints = [one for one in table.constraints if isinstance(one, UniqueConstraint)]
    indexes = [index for index in table.indexes if index.unique]
    return [{"name": str(one.name), "column_names": [c.name for c in one.columns]} for one in (*constraints, *indexes)]


@lru_cache(maxsize=1)
def _foreign_keys() -> dict[str, tuple[str, str]]:
    """Return, by the name of a foreign key, the table that it refers to and the column that does."""
    return {
        str(key.constraint.name): (key.column.table.name, key.parent.name)
        for table in Base.metadata.tables.values()
        for key in table.foreign_keys
        if key.constraint is not None
    }


def _refers(table: Table, parent: str) -> bool:
    """Tell whether a table's rows hold a row of another: those that go with it do not."""
    return any(key.column.table.name == parent and key.ondelete != "CASCADE" for key in table.foreign_keys)
