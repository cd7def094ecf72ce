"""What no honest client leaves in a manifest: names that lead to other archives than those on record. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from shared.borg.output import Listing

_SHOWN = 5


def forgeries(listing: Listing, recorded: Mapping[str, str], own: Collection[str] = ()) -> list[str]:
    """Return in sentences how a manifest lies, checkpoints included; `recorded`: borg id -> name, `own`: just made.

    borg finds and deletes an archive by its name. A name that leads to another archive, or a second name of one, lets
    our own deletion take what was to stay.
    """
    archives = listing.archives
    count = Counter(archive.borg_id for archive in archives)
    names = {name: borg_id for borg_id, name in recorded.items()}
    twice = (one.name for one in archives if count[one.borg_id] > 1)
    renamed = (
        f"{one.name} instead of {recorded[one.borg_id]}"
        for one in archives
        if one.name != recorded.get(one.borg_id, one.name)
    )
    taken = (one.name for one in archives if names.get(one.name, one.borg_id) != one.borg_id)
    other = (f"{one.name} is {one.inside}" for one in archives if one.inside not in (None, one.name))
    dead = (one.name for one in archives if not one.there and one.borg_id not in recorded and one.borg_id not in own)
    rules = (
        ("it has several names for one archive", twice),
        ("it lists archives on record under other names", renamed),
        ("it gives the names of archives on record to others", taken),
        ("its names are not those that the archives give themselves", other),
        ("it names archives that are not there", dead),
    )
    return [*listing.wrong, *(f"{rule}: {shown}" for rule, found in rules if (shown := _shown(found)))]


def _shown(found: Iterable[str]) -> str:
    names = sorted(found)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
