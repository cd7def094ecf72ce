"""What no honest client leaves in a manifest: names that lead to other archives than those on record. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from shared.domain.messages import frozen as say

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from shared.borg.output import Listing
    from shared.domain.message import Message, Said

_SHOWN = 5


def forgeries(listing: Listing, recorded: Mapping[str, str], own: Collection[str] = ()) -> list[Said]:
    """Return how a manifest lies, checkpoints included; `recorded`: borg id -> name, `own`: just made.

    borg finds and deletes an archive by its name. A name that leads to another archive, or a second name of one, lets
    our own deletion take what was to stay.
    """
    archives = listing.archives
    count = Counter(archive.borg_id for archive in archives)
    names = {name: borg_id for borg_id, name in recorded.items()}
    twice = (one.name for one in archives if count[one.borg_id] > 1)
    renamed = (
        f"{recorded[one.borg_id]} -> {one.name}" for one in archives if one.name != recorded.get(one.borg_id, one.name)
    )
    taken = (one.name for one in archives if names.get(one.name, one.borg_id) != one.borg_id)
    other = (f"{one.inside} -> {one.name}" for one in archives if one.inside not in (None, one.name))
    dead = (one.name for one in archives if not one.there and one.borg_id not in recorded and one.borg_id not in own)
    rules: tuple[tuple[Message, Iterable[str]], ...] = (
        (say.SEVERAL_NAMES, twice),
        (say.OTHER_NAMES, renamed),
        (say.TAKEN_NAMES, taken),
        (say.INNER_NAMES, other),
        (say.DEAD_NAMES, dead),
    )
    wrong = [say.LISTING_WRONG(words=words) for words in listing.wrong]
    return [*wrong, *(said for rule, found in rules for said in _told(rule, found))]


def _told(rule: Message, found: Iterable[str]) -> list[Said]:
    names = sorted(found)
    return [rule(names=names[:_SHOWN], more=max(0, len(names) - _SHOWN) or None)] if names else []
