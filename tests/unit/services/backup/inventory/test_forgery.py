"""What no honest client leaves in a manifest, rule by rule; and what honest ones leave is never taken for it."""

from __future__ import annotations

import pytest

from services.backup.inventory.forgery import forgeries
from shared.borg.output import Listed, Listing

RECORDED = {"a": "one", "b": "two"}
HONEST = (Listed("one", "a"), Listed("two", "b"))
FORGED = {
    "a checkpoint that is another name": ([*HONEST, Listed("x.checkpoint", "a")], "several names for one archive: one, x.checkpoint"),
    "two names of an unknown one": ([*HONEST, Listed("x", "c"), Listed("y", "c")], "several names for one archive: x, y"),
    "a checkpoint alone": ([Listed("x.checkpoint", "a"), Listed("two", "b")], "other names: one -> x.checkpoint"),
    "exchanged": ([Listed("two", "a"), Listed("one", "b")], "other names: one -> two, two -> one"),
    "a name that was taken": ([Listed("one", "c", "one"), Listed("two", "b")], "to others: one"),
    "another name inside": ([*HONEST, Listed("x", "c", "y")], "archives give themselves: y -> x"),
    "a name that leads nowhere": ([*HONEST, Listed("x", "c", there=False)], "are not there: x"),
    "more than are shown": ([Listed(f"n{n}", "c") for n in range(7)], "n0, n1, n2, n3, n4 and 2 more"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORGED)
def test_each_lie_is_told_with_the_names_that_it_hits(case: str) -> None:
    listed, said = FORGED[case]
    assert said in " | ".join(one.text for one in forgeries(Listing(listed), RECORDED))


def test_what_is_wrong_with_the_manifest_itself_comes_first() -> None:
    assert [one.text for one in forgeries(Listing(HONEST, ["it was written later than now"]), RECORDED)] == [
        '"it was written later than now"'
    ]


@pytest.mark.parametrize(
    "listed",
    [
        HONEST, [*HONEST, Listed("new", "c", "new")], [*HONEST, Listed("new.checkpoint", "c", "new.checkpoint")],
        [*HONEST, Listed("unreadable", "c")], HONEST[:1], [], [Listed("one", "a", there=False), HONEST[1]],
        [*HONEST, Listed("own", "o", there=False)],
    ],
)  # fmt: skip
def test_new_archives_checkpoints_and_losses_are_no_lies(listed: list[Listed]) -> None:
    assert forgeries(Listing(listed), RECORDED, own={"o"}) == []
