"""A kind of job is one row: nothing else lists the types, and no job reports a phase that its row does not name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.setup.steps import STEPS
from shared.domain.job import JobType
from shared.domain.job_kinds import JOB_KINDS, KIND_OF, MAINTENANCE

ROOT = Path(__file__).resolve().parents[2]
ROWS = {"shared/domain/job.py", "shared/domain/job_kinds.py"}
FILES = [
    file
    for package in ("borgfleet", "services", "shared", "scripts")
    for file in sorted((ROOT / package).rglob("*.py"))
    if "migrations" not in file.parts and file.relative_to(ROOT).as_posix() not in ROWS
]
PHASES = {
    "services/setup": ("server_setup",),
    "services/stats": ("stats_collect",),
    "services/backup/create": ("backup_create",),
    "services/backup/itself": ("self_backup",),
    "services/backup/inventory/recover.py": ("repository_recover",),
    "services/backup/inventory/verify.py": ("repository_verify",),
    "services/backup/restore/undo.py": ("restore_undo",),
    "services/backup/restore": ("archive_restore",),
    "services/backup/catalogue": ("archive_index",),
    "services/backup/drills": ("restore_test",),
    "services/backup/importing/take.py": ("repository_import",),
    "services/backup/importing/manage.py": ("repository_manage",),
    "services/backup/maintenance/check.py": ("repository_check",),
    "services/backup/maintenance/compact.py": ("repository_compact", "repository_prune"),
    "services/backup/maintenance/delete.py": ("archive_delete",),
    "services/backup/maintenance/prune.py": ("repository_prune",),
}


def named(node: ast.AST) -> str | None:
    """Return the type of job that an expression names, if it names one by itself."""
    if isinstance(node, ast.Attribute) and node.attr == "value":
        return named(node.value)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "JobType":
        return JobType[node.attr].value
    if isinstance(node, ast.Constant) and node.value in KIND_OF:
        return str(node.value)
    return None


def lists(tree: ast.AST) -> Iterator[tuple[int, set[str]]]:
    """Yield where several types, or all of upkeep's names, stand side by side."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            sides = [[key for key in node.keys if key is not None], node.values]
        elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            sides = [node.elts]
        elif isinstance(node, ast.BoolOp):
            sides = [[part for value in node.values if isinstance(value, ast.Compare) for part in value.comparators]]
        else:
            continue
        for side in sides:
            if len(types := {name for one in side if (name := named(one))}) > 1:
                yield node.lineno, types
            words = {one.value for one in side if isinstance(one, ast.Constant)}
            if words == set(MAINTENANCE):
                yield node.lineno, set(MAINTENANCE)


def test_no_other_place_lists_the_types_of_jobs() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line} {sorted(types)}"
        for file in FILES
        for line, types in lists(ast.parse(file.read_text()))
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "X = (JobType.BACKUP_CREATE, JobType.ARCHIVE_DELETE)",
        "X = {JobType.BACKUP_CREATE.value: 1, JobType.ARCHIVE_DELETE.value: 2}",
        "X = {1: 'backup_create', 2: 'archive_delete'}",
        "X = frozenset(['repository_check', JobType.ARCHIVE_DELETE.value])",
        "X = kind == JobType.BACKUP_CREATE or kind == 'archive_delete'",
        "X = ('check', 'prune', 'compact', 'restore_test')",
        "Y: Literal['prune', 'compact', 'check', 'restore_test']",
    ],
)
def test_a_list_of_types_in_any_form_is_found(code: str) -> None:
    assert list(lists(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["X = (JobType.BACKUP_CREATE, 1)", "X = {'check': 1, 'compact': 2}", "X = 'backup_create'"]
)
def test_a_single_type_may_be_named_anywhere(code: str) -> None:
    assert not list(lists(ast.parse(code)))


def told(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the words with which each progress begins; what borg says itself is not ours to name."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "progress"):
            continue
        first = node.args[0] if node.args else None
        if isinstance(first, ast.JoinedStr):
            first = first.values[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield node.lineno, first.value


def test_every_phase_that_a_job_reports_is_named_in_its_row() -> None:
    unknown: list[str] = []
    seen = 0
    for file in FILES:
        path = file.relative_to(ROOT).as_posix()
        if not path.startswith("services/"):
            continue
        kinds = next((kinds for where, kinds in PHASES.items() if path.startswith(where)), None)
        for line, words in told(ast.parse(file.read_text())):
            seen += 1
            assert kinds is not None, f"{path}:{line} reports progress: say in PHASES of which kinds of jobs"
            names = [{phase.name for phase in KIND_OF[kind].phases} for kind in kinds]
            if not all(any(words.startswith(name) for name in those) for those in names):
                unknown.append(f"{path}:{line} {words!r}")
    assert unknown == []
    assert seen > 15


def test_the_steps_of_a_set_up_are_its_phases() -> None:
    phases = [phase.name for phase in KIND_OF["server_setup"].phases]
    assert phases[-len(STEPS) :] == [name for name, _ in STEPS]


def test_hooks_are_phases_of_a_backup() -> None:
    """Their phase is put together from `pre` and `post`."""
    names = {phase.name for phase in KIND_OF["backup_create"].phases}
    assert {"pre-hook", "post-hook", "reading"} <= names


def test_the_table_of_jobs_is_in_the_documents() -> None:
    text = (ROOT / "docs/jobs.md").read_text()
    assert [kind.type for kind in JOB_KINDS if f"| `{kind.type}` | {kind.label} |" not in text] == []
