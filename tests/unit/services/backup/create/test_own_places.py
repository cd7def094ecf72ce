"""What of ours lies below a source is left out by a rule that is told; a source within it is refused."""

from __future__ import annotations

import pytest

from services.backup.create.own_places import OwnPlace, read_places
from shared.borg import commands
from shared.db.tables import Archive
from shared.domain.messages.source_reasons import BORG_CACHE, NODE_DATA, THE_POOL
from shared.errors import Permanent, Transient
from tests.unit.services.backup.world import World

MARKS = {"id-1": THE_POOL(pool="main"), "host-1": NODE_DATA(node="node1")}
POOL = OwnPlace("/srv/backups", THE_POOL(pool="main"))


def read(sources: dict[str, str], *lines: str) -> list[str]:
    answer = [f"S {physical}" for physical in sources.values()]
    return [place.path for place in read_places(list(sources), "\n".join([*answer, *lines]), MARKS)]


@pytest.mark.parametrize(
    ("sources", "lines", "paths"),
    [
        ({"/srv": "/srv"}, ["O id-1 /srv/backups"], ["/srv/backups"]),
        ({"/srv/": "/srv"}, ["O id-1 /srv/backups"], ["/srv/backups"]),
        ({"/": "/"}, ["O id-1 /srv/backups"], ["/srv/backups"]),
        ({"/link": "/data/srv"}, ["O id-1 /data/srv/b"], ["/link/b"]),  # as borg meets it
        ({"/srv": "/srv", "/": "/"}, ["O id-1 /srv/b"], ["/srv/b"]),
        ({"/a": "/x", "/b": "/x"}, ["O id-1 /x/p"], ["/a/p", "/b/p"]),
        ({"/srv": "/srv"}, ["O id-1 /srv/my disk"], ["/srv/my disk"]),
        ({"/srv": "/srv"}, ["O id-1 /srv2/backups"], []),  # only its name begins alike
        ({"/srv": "/srv"}, ["O other /srv/backups"], []),  # somebody else's file of this name
        ({"/srv": "/srv"}, ["O id-1 relative", "O id-1", "O", "", "X y", "O id-1 "], []),
        ({"/srv": "/srv"}, ["O host-1 /srv/b", "O host-1 /srv/b/node"], ["/srv/b"]),  # the inner one is in the outer
        ({"/root": "/root"}, ["B /root/.cache/borg"], ["/root/.cache/borg"]),
        ({"/root/.cache/borg": "/root/.cache/borg"}, ["B /root/.cache/borg"], []),
        ({"/srv": "/srv"}, ["O id-1 /srv/" + "x" * 2000], []),  # cannot be said to borg
        ({"/srv": "/srv"}, ["O id-1 /srv/a\x07b"], []),
    ],
)
def test_places_are_named_as_borg_meets_them(sources: dict[str, str], lines: list[str], paths: list[str]) -> None:
    assert read(sources, *lines) == paths


def test_an_answer_that_lacks_a_source_is_no_answer() -> None:
    assert read_places(["/srv", "/etc"], "S /srv\nO id-1 /srv/backups", MARKS) == ()
    assert read_places(["/srv"], "", MARKS) == ()


@pytest.mark.parametrize("source", ["/srv/backups", "/srv/backups/web1/system"])
def test_a_source_within_a_pool_is_refused(source: str) -> None:
    with pytest.raises(Permanent) as caught:
        read({source: source}, "O id-1 /srv/backups")
    assert (caught.value.code, bool(caught.value.remedy)) == ("source_is_ours", True)


def test_our_rule_stands_before_all_others_and_hides_all_below() -> None:
    assert POOL.rule == "! pp:/srv/backups"
    assert commands.check_pattern(POOL.rule) == POOL.rule


async def test_a_pool_below_a_source_is_left_out_and_told(world: World) -> None:
    world.server.ours = (POOL, OwnPlace("/root/.cache/borg", BORG_CACHE(), grows=False))
    job = await world.request()
    await world.backup(job)
    assert [place.path for place in world.server.left_out] == ["/srv/backups", "/root/.cache/borg"]
    ended = await world.job(job)
    assert ended.state == "succeeded"
    assert (ended.warnings, ended.warning_messages) == ([POOL.said.text], [POOL.said.to_json()])
    (archive,) = await world.rows(Archive)
    assert [reason["code"] for reason in archive.reasons] == ["own_place_left_out"]
    assert archive.trusted


async def test_a_run_whose_source_is_a_pool_makes_nothing(world: World) -> None:
    world.server.ours = Permanent("it is the pool", code="source_is_ours", remedy="take it out")
    assert (await world.refused(await world.request())).code == "source_is_ours"
    assert world.server.created == 0


async def test_a_server_that_does_not_answer_for_this_is_backed_up_all_the_same(world: World) -> None:
    world.server.ours = Transient("no answer", code="server_garbled")
    job = await world.request()
    await world.backup(job)
    assert (await world.job(job)).state == "succeeded"
