"""Makes the next revision of the schema, from the difference between models and migrations, and a test for it."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from alembic import command

from shared.db.migrations import alembic_config, migrate
from shared.db.revisions import known_revisions

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests/contract"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST = 40
_TEST = '''"""Revision {revision}, {words}: a fleet of the version before keeps its rows, up, back and up again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.revisions import Schema, schema_at

ROWS: list[str] = []
"""INSERTs into the schema of revision {before}, of rows that this revision touches."""


@pytest.fixture(params=["sqlite", "mariadb"])
def schema(request: pytest.FixtureRequest, tmp_path: Path) -> Schema:
    return schema_at("{before}", request, tmp_path)


def test_rows_of_the_version_before_are_there_after_revision_{revision}_and_without_it(schema: Schema) -> None:
    for row in ROWS:
        schema.execute(row)
    before = schema.rows()
    schema.upgrade("{revision}")
    assert schema.lost(before) == []
    schema.downgrade("{before}")
    assert schema.rows() == before
    schema.upgrade("{revision}")
    assert schema.lost(before) == []
'''


def refusal(name: str, known: tuple[str, ...]) -> str | None:
    """Return why no revision of this name is made."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        return f"{name!r} is no name for a revision: give small words joined by _, {_LONGEST} letters at most"
    if known != tuple(f"{number:04d}" for number in range(1, len(known) + 1)):
        return "the revisions are no single line from 0001 on: two have one number, or one is missing"
    return None


def make(name: str, tests: Path = TESTS, migrations: Path | None = None) -> list[Path]:
    """Write the revision and its test, into a copy of the migrations if one is given; return their paths."""
    known = known_revisions()
    before, revision = known[-1], f"{int(known[-1]) + 1:04d}"
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite+aiosqlite:///{directory}/models.db"
        migrate(url)
        config = alembic_config(url)
        if migrations is not None:
            config.set_main_option("script_location", str(migrations))
        made = command.revision(config, name.replace("_", " "), autogenerate=True, rev_id=revision)
    if made is None or isinstance(made, list):
        sys.exit("Alembic made no revision, or more than one")
    test = tests / f"test_revision_{revision}.py"
    test.write_text(_TEST.format(revision=revision, before=before, words=name.replace("_", " ")))
    return [Path(made.path), test]


def main() -> None:
    """Make a revision of the name that is given."""
    if len(sys.argv) != 2:
        sys.exit("usage: scripts/revision NAME, as scripts/revision tags_by_id")
    if reason := refusal(sys.argv[1], known_revisions()):
        sys.exit(reason)
    for path in make(sys.argv[1]):
        print(f"wrote {path.relative_to(ROOT)}")
    print("Read the revision: what Alembic found is a proposal. Then give its test rows of the version before.")


if __name__ == "__main__":
    main()
