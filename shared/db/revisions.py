"""Which revisions of the schema this version knows, told without Alembic: every process asks when it starts."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

from shared.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Iterable


@lru_cache(maxsize=1)
def known_revisions() -> tuple[str, ...]:
    """Return the revisions from the first to the newest: their files' names begin with them."""
    names = (file.name for file in files("shared.db.migrations").joinpath("versions").iterdir())
    return tuple(sorted(name.partition("_")[0] for name in names if name[0].isdigit() and name.endswith(".py")))


def require_known(found: Iterable[str]) -> None:
    """Raise Permanent if the database's schema is of a version that this one does not know."""
    if strange := sorted(set(found) - set(known_revisions())):
        message = (
            f"the database's schema is of a newer version of Borgfleet: it has the revision {', '.join(strange)},"
            f" and this version knows none after {known_revisions()[-1]}"
        )
        remedy = "run `borgfleet migrate` of the newest version that has ever worked on this database"
        raise Permanent(message, code="schema_newer", remedy=remedy)
