"""A role that gives more than its name says is a hole that nobody looks for."""

from __future__ import annotations

import re

import pytest

from shared.domain.job_kinds import JOB_KINDS
from shared.domain.permissions import FLEET_ONLY, ROLES, Permission, Role, permissions_of

HIDDEN_FROM_VIEWERS = {"users:read", "tokens:read", "audit:read", "settings:read", "files:read", "approvals:read"}
ADMINS_ALONE = {
    "backups:accept", "backups:delete", "backups:download", "backups:restore_elsewhere", "repositories:write",
    "repositories:delete", "repositories:prune", "repositories:recover", "repositories:unfreeze", "pools:write",
    "repositories:import", "repositories:manage",
    "channels:write", "limits:write", "thresholds:write", "tags:write", "groups:write", "users:write", "grants:write",
    "tokens:read", "tokens:write", "settings:write", "secrets:show", "approvals:decide", "servers:delete",
}  # fmt: skip


@pytest.mark.parametrize("permission", list(Permission))
def test_a_permission_is_a_noun_and_a_verb(permission: Permission) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*:[a-z]+(_[a-z]+)*", permission)
    assert permission.name == permission.value.replace(":", "_").upper()
    assert f"{permission.noun}:{permission.verb}" == permission


def test_a_viewer_reads_and_does_nothing_else() -> None:
    assert {one for one in ROLES[Role.VIEWER] if one.verb != "read"} == set()
    assert {one.value for one in Permission if one.verb == "read"} - ROLES[Role.VIEWER] == HIDDEN_FROM_VIEWERS


def test_an_auditor_changes_nothing() -> None:
    more = ROLES[Role.AUDITOR] - ROLES[Role.VIEWER]
    assert more == {"audit:read", "audit:export", "users:read", "settings:read", "approvals:read"}


def test_a_restore_operator_restores_to_the_same_server_only() -> None:
    more = ROLES[Role.RESTORE_OPERATOR] - ROLES[Role.VIEWER]
    assert more == {"files:read", "backups:restore", "jobs:cancel_own", "repositories:restore_test"}


def test_what_destroys_or_reveals_is_the_administrators_alone() -> None:
    for role in set(Role) - {Role.ADMIN, Role.AUDITOR}:
        assert ROLES[role] & ADMINS_ALONE == set(), role
    assert set(Permission) - permissions_of(*(set(Role) - {Role.ADMIN})) == ADMINS_ALONE


def test_roles_contain_one_another_as_the_table_says() -> None:
    assert ROLES[Role.VIEWER] < ROLES[Role.AUDITOR] < ROLES[Role.ADMIN]
    assert ROLES[Role.VIEWER] < ROLES[Role.RESTORE_OPERATOR] < ROLES[Role.OPERATOR] < ROLES[Role.ADMIN]
    assert ROLES[Role.ADMIN] == set(Permission)
    assert permissions_of() == frozenset()
    assert permissions_of(Role.AUDITOR, Role.OPERATOR) == ROLES[Role.AUDITOR] | ROLES[Role.OPERATOR]


def test_what_is_about_the_whole_fleet_is_not_given_by_a_tag() -> None:
    """Who tags a server decides who sees it; a pool or a channel serves servers of every tag."""
    assert {one.noun for one in FLEET_ONLY} >= {"tags", "pools", "limits", "channels", "users", "settings", "grants"}
    assert {"servers:read", "backups:restore", "jobs:control", "summary:read"} & FLEET_ONLY == set()


def test_every_kind_of_job_needs_a_permission_that_there_is() -> None:
    assert all(kind.permission in set(Permission) for kind in JOB_KINDS)
    assert all(isinstance(kind.permission, Permission) for kind in JOB_KINDS)
