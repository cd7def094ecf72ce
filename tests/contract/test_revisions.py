"""A new revision is made by a script, with a test that sees lost rows: nobody writes either from memory."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, Table

from shared.db.revisions import known_revisions
from shared.db.tables import Base
from tests.harness.revisions import Schema, schema_at

ROOT = Path(__file__).resolve().parents[2]
BEFORE, NEWEST = known_revisions()[-2:]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("revision_script", ROOT / "scripts/revision.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "revision_script", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["sqlite", "mariadb"])
def schema(request: pytest.FixtureRequest, tmp_path: Path) -> Schema:
    return schema_at(BEFORE, request, tmp_path)


def test_what_the_models_have_more_is_proposed_and_a_test_is_there_for_it(script: Any, tmp_path: Path) -> None:
    copy = tmp_path / "migrations"
    shutil.copytree(ROOT / "shared/db/migrations", copy)
    more = Table("of_tomorrow", Base.metadata, Column("id", Integer, primary_key=True))
    try:
        revision, test = script.make("what_comes_tomorrow", tmp_path, copy)
    finally:
        Base.metadata.remove(more)
    number = f"{int(NEWEST) + 1:04d}"
    assert (revision.name, test.name) == (f"{number}_what_comes_tomorrow.py", f"test_revision_{number}.py")
    up, _, down = revision.read_text().partition("def downgrade")
    assert f'revision = "{number}"\ndown_revision = "{NEWEST}"' in up
    assert "create_table('of_tomorrow'" in up
    assert "drop_table('of_tomorrow')" in down
    names = [node.name for node in ast.walk(ast.parse(test.read_text())) if isinstance(node, ast.FunctionDef)]
    assert names == ["schema", f"test_rows_of_the_version_before_are_there_after_revision_{number}_and_without_it"]
    assert test.read_text().count(f'"{NEWEST}"') == 2
    assert not list((ROOT / "shared/db/migrations/versions").glob(f"{number}_what_comes_tomorrow*"))


@pytest.mark.parametrize(
    "name", ["", "Tags", "tags by id", "tags-by-id", "../tags", "0021_tags", "_tags", "tags_", "a__b", "t\u00e4gs", "x" * 41, "tags;rm"]
)  # fmt: skip
def test_a_name_that_is_none_is_refused(script: Any, name: str) -> None:
    assert "is no name for a revision" in script.refusal(name, ("0001",))


@pytest.mark.parametrize("known", [("0001", "0003"), ("0001", "0001"), ("0002",), ("1",)])
def test_a_line_with_two_ends_is_refused(script: Any, known: tuple[str, ...]) -> None:
    assert "no single line" in script.refusal("tags", known)
    assert script.refusal("tags", ("0001", "0002")) is None


def test_the_newest_revision_loses_no_row_up_back_and_up_again(schema: Schema) -> None:
    before = schema.rows()
    assert len(before["run_limits"]) == 1
    schema.upgrade(NEWEST)
    assert schema.lost(before) == []
    schema.downgrade(BEFORE)
    assert schema.rows() == before
    schema.upgrade(NEWEST)
    assert schema.lost(before) == []


def test_a_row_that_a_revision_loses_is_seen(schema: Schema) -> None:
    before = schema.rows()
    schema.execute("DELETE FROM run_limits")
    assert schema.lost(before) == ["run_limits"]
    schema.execute("DROP TABLE run_limits")
    assert schema.lost(before) == ["run_limits"]
