"""How often somebody may fail to log in: after a few failures he waits, for seconds and then for minutes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from services.api.kernel.errors import Refused
from shared.db.tables.account import Throttle
from shared.db.tables.base import db_now, or_ignore
from shared.domain.messages.accounts import THROTTLED

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.security.origin import Origin

FREE_OF_ACCOUNT, FREE_OF_ADDRESS = 5, 20
LONGEST_SECONDS = 900.0
FORGOTTEN_SECONDS = 86400.0
_LONGEST_KEY = 120


def throttled(seconds: float) -> Refused:
    """Return what is said to who failed too often: in how many seconds the next try is taken."""
    whole = max(1, math.ceil(seconds))
    return Refused(THROTTLED(seconds=whole), retry_after=whole)


def keys_of(account: str, origin: Origin) -> dict[str, int]:
    """Return under which keys a try is counted, each with how many failures cost nothing."""
    return {
        f"account:{account}"[:_LONGEST_KEY]: FREE_OF_ACCOUNT,
        f"address:{origin.network}"[:_LONGEST_KEY]: FREE_OF_ADDRESS,
    }


def pause_after(failures: int, free: int) -> float:
    """Return for how many seconds nothing is taken after so many failures: 1, 2, 4 ... 900."""
    over = failures - free
    return 0.0 if over < 0 else min(LONGEST_SECONDS, 2.0 ** min(over, 10))


async def count_try(session: AsyncSession, keys: dict[str, int]) -> None:
    """Count a try as a failure before it is made: a thousand at once are not all let in before the first one failed.

    Refused while there is a pause; such a try is neither made nor counted, the right password neither.
    """
    # Its own alone: the rest, of which strangers make as many as they like, goes in batches elsewhere.
    forgotten = Throttle.key.in_(keys), Throttle.last_at < db_now(-FORGOTTEN_SECONDS)
    await session.execute(delete(Throttle).where(*forgotten))
    await session.execute(or_ignore(insert(Throttle)), [{"key": key, "failures": 0} for key in sorted(keys)])
    now = (await session.execute(select(db_now()))).scalar_one()
    rows = list(
        await session.scalars(
            select(Throttle).where(Throttle.key.in_(keys)).order_by(Throttle.key).with_for_update()
        )
    )  # fmt: skip
    left = max((_left(row.blocked_until, now) for row in rows), default=0.0)
    if left > 0:
        raise throttled(left)
    for row in rows:
        failures = row.failures + 1
        pause = pause_after(failures, keys[row.key])
        change = update(Throttle).where(Throttle.key == row.key)
        await session.execute(change.values(failures=failures, last_at=db_now(), blocked_until=db_now(pause)))


async def take_back(session: AsyncSession, keys: dict[str, int]) -> None:
    """Take back a try that was right and is not all yet: it neither adds a failure nor forgives the earlier ones.

    Else who knows a password would begin anew with it after each few codes that he guessed wrong.
    """
    for key in sorted(keys):
        change = update(Throttle).where(Throttle.key == key, Throttle.failures > 0)
        await session.execute(change.values(failures=Throttle.failures - 1, blocked_until=db_now()))


async def count_success(session: AsyncSession, keys: dict[str, int]) -> None:
    """Forget the failures of an account whose user has come; of an address only this try is taken back."""
    accounts = [key for key in keys if key.startswith("account:")]
    await session.execute(delete(Throttle).where(Throttle.key.in_(accounts)))
    await take_back(session, {key: free for key, free in keys.items() if key not in accounts})


def _left(until: datetime, now: datetime) -> float:
    seconds = (until - now).total_seconds()
    return seconds if seconds <= LONGEST_SECONDS else 0.0  # a clock that was ahead wrote it
