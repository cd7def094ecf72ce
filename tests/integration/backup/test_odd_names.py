"""Sources named like patterns, options or placeholders: each is what is backed up, counted and left out, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from shared.db.tables import Archive, BackupJob
from shared.domain.names import check_source
from tests.integration.backup.yard import NODES_BORG, SERVERS_BORG, Yard, files

NAMES = (
    "[a-z]*", "re:x", "sh:**", "pp:y", "{a,b}", "{now}", "-x", "--rsh=touch", " two  spaces ", "\u00fc", "u\u0308", "caf\\xe9",
    "*", "?", "%s", "a::b", "$(id)", "'\"", "#", "~", "!", "\\", "trailing.",
)  # fmt: skip
NEIGHBOURS = ("a", "ab", "x", "b", "u", "cafe", "two spaces", "abc")
"""What the names would also mean as patterns."""
BOTH = pytest.mark.parametrize("borg", [SERVERS_BORG, NODES_BORG], ids=["1.2.4", "1.4.5"])


@pytest.fixture
def tree(yard: Yard, borg: str) -> Path:
    """Each odd directory holds another number of files; the neighbours are no sources."""
    (yard.tools / "borg").unlink()
    (yard.tools / "borg").symlink_to(borg)
    root = yard.directory / "srv"
    for number, name in enumerate(NAMES, 1):
        files(root / name, number, 100)
    for name in NEIGHBOURS:
        files(root / name, 50, 100)
    return root


async def given(yard: Yard, definition: BackupJob) -> dict[str, int]:
    async with yard.db.read() as session:
        query = select(Archive.evidence).where(Archive.backup_job_id == definition.id)
        found = await session.scalar(query.order_by(Archive.created_at.desc()).limit(1))
    assert found is not None
    return {Path(one["source"]["path"]).name: one["files"] for one in found["sources"]}


@BOTH
async def test_each_is_counted_by_itself(yard: Yard, tree: Path) -> None:
    definition = await yard.backup_job(*(check_source(str(tree / name)) for name in NAMES), name="odd")
    job = await yard.run(definition, "succeeded")
    assert job.warnings == []
    assert (await yard.archives(definition))[-1].files == sum(range(1, len(NAMES) + 1))
    assert await given(yard, definition) == {name: number for number, name in enumerate(NAMES, 1)}


@BOTH
async def test_the_one_that_is_emptied_is_named(yard: Yard, tree: Path) -> None:
    definition = await yard.backup_job(*(str(tree / name) for name in NAMES), name="odd")
    await yard.run(definition, "succeeded")
    for name in ("[a-z]*", "{a,b}", "-x"):
        for file in (tree / name).iterdir():
            file.unlink()
    await yard.run(definition, "warning")
    reasons = (await yard.archives(definition))[-1].reasons
    named = {name for one in reasons for name in NAMES if f"{tree}/{name} " in one["text"]}
    assert (named, {one["weight"] for one in reasons}) == ({"[a-z]*", "{a,b}", "-x"}, {"doubt"}), reasons


@BOTH
async def test_a_rule_of_such_a_name_leaves_out_that_one_alone(yard: Yard, tree: Path) -> None:
    definition = await yard.backup_job(
        *(str(tree / name) for name in NAMES), name="odd",
        excludes=[f"pp:{tree}/[a-z]*", f"pp:{tree}/re:x"], patterns=[f"! pp:{tree}/{{a,b}}"],
    )  # fmt: skip
    await yard.run(definition, "warning")
    out = {"[a-z]*", "re:x", "{a,b}"}
    found = await given(yard, definition)
    assert {name: found[name] for name in NAMES} == {
        name: 0 if name in out else number for number, name in enumerate(NAMES, 1)
    }
    reasons = (await yard.archives(definition))[-1].reasons
    assert {name for one in reasons for name in NAMES if f"{tree}/{name} " in one["text"]} == out, reasons


@BOTH
@pytest.mark.parametrize("name", ["[a-z]*", "{a,b}", "re:x", " two  spaces "])
async def test_a_pool_below_such_a_name_is_left_out_and_nothing_else(yard: Yard, tree: Path, name: str) -> None:
    """borg meets the pool, whose own path is plain, through a link of that name."""
    inner = yard.directory / "inner"
    files(inner / "data", 4, 100)
    files(inner / "pool-next", 2, 100)
    yard.pool.rename(inner / "pool")
    yard.pool.symlink_to(inner / "pool")
    (tree / f"link {name}").symlink_to(yard.directory)
    source = tree / f"link {name}" / "inner"
    definition = await yard.backup_job(source, tree / "ab", name="odd")
    job = await yard.run(definition, "succeeded")
    assert any(f"{source}/pool is left out" in one for one in job.warnings), job.warnings
    assert await given(yard, definition) == {"inner": 6, "ab": 50}


@pytest.mark.parametrize(
    "name",
    [
        "/srv\n",
        "/srv/a\nb",
        "/srv\r",
        "/srv/\x00",
        "/srv/\ud800",
        "srv",
        "/srv/../etc",
        "",
        "/srv/a\u2028b",
        "/srv/\u202eabc",
    ],
)
def test_what_is_no_path_of_one_line_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        check_source(name)
