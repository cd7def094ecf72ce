"""A kind of job that others do not know would never run, never be retried, or be shown as nothing."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest

from shared.domain.job import JobType
from shared.domain.job_kinds import (
    JOB_KINDS,
    KIND_OF,
    MAINTENANCE,
    MAINTENANCE_TYPES,
    TAKE_TURNS,
    JobKind,
    MaintenanceTask,
    task_of,
)
from shared.events.streams import COMMAND_OF, COMMANDS, NODE_BOUND


def test_every_type_has_one_row_in_the_order_of_the_types() -> None:
    assert [kind.type for kind in JOB_KINDS] == list(JobType)
    assert list(KIND_OF) == [kind.value for kind in JobType]


def test_every_type_has_a_command_of_its_own_and_every_command_a_type() -> None:
    assert set(COMMAND_OF) == set(JobType)
    assert sorted(command.__name__ for command in COMMAND_OF.values()) == sorted(one.__name__ for one in COMMANDS)
    assert {kind.subject for kind in JOB_KINDS} == {command.subject for command in COMMANDS}


def test_what_is_bound_to_a_node_is_what_works_on_a_repository() -> None:
    assert {command.subject for command in COMMANDS if command not in NODE_BOUND} == {
        "restore.undo",
        "server.setup",
        "stats.collect",
    }


def test_only_what_has_a_repository_takes_turns() -> None:
    """Caps count by server and pool: without a repository there is neither."""
    assert {kind.type for kind in JOB_KINDS if kind.takes_turns and not kind.node_bound} == set()
    assert set(TAKE_TURNS) == {
        "backup_create",
        "repository_prune",
        "repository_compact",
        "repository_check",
        "restore_test",
    }


def test_the_names_in_schedules_are_those_that_the_api_takes() -> None:
    assert tuple(MAINTENANCE) == get_args(MaintenanceTask)
    assert {task_of(kind) for kind in MAINTENANCE_TYPES} == set(MAINTENANCE)
    assert all(task_of(kind.type.value) == task for task, kind in MAINTENANCE.items())


def test_a_schedule_that_a_newer_version_made_still_has_a_name() -> None:
    assert task_of("repository_defragment") == "defragment"
    assert task_of("") == ""


@pytest.mark.parametrize("kind", JOB_KINDS, ids=[kind.type.value for kind in JOB_KINDS])
def test_a_row_is_whole_and_its_phases_can_be_told_apart(kind: JobKind) -> None:
    assert kind.label[0].isupper()
    names = [phase.name for phase in kind.phases]
    assert names
    assert [name for name, count in Counter(names).items() if count > 1] == []
    # Progress says `reading archive 3 of 9`: a phase is found by how its text begins.
    assert [(one, two) for one in names for two in names if one != two and two.startswith(one)] == []
