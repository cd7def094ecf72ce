"""The one door of guarded actions: what needs a second person goes on here, or is kept until one agrees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.api.kernel.approval import Waits
from services.api.security.sessions import user_rights
from shared.db.stores.approvals import four_eyes
from shared.domain.four_eyes import POWERS
from shared.domain.messages.approvals import APPROVAL_OF_NOBODY
from shared.errors import Forbidden

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable, Mapping
    from typing import TypeAlias

    from sqlalchemy.ext.asyncio import AsyncSession

    from services.api.kernel.principal import Principal
    from services.api.kernel.rights import Rights
    from shared.db.unit_of_work import UnitOfWork
    from shared.domain.four_eyes import About, Command, Guarded

    Apply: TypeAlias = Callable[[UnitOfWork, Principal, Command], Awaitable[object]]
    Actions: TypeAlias = Mapping[Guarded, Apply]


async def agreed(
    tx: UnitOfWork, asking: Principal, command: Command, about: About, *, secret: str | None = None
) -> None:
    """Go on where no second person is asked for, or one has agreed; else end the request with 202 and the approval.

    The same function does an action for a request and, later, for a command that was kept: it calls this before it
    changes anything, and after it has looked whether it could be done at all.
    """
    if asking.approval is None and (await four_eyes(tx.session)).enabled:
        if asking.user_id is None:  # who holds it could agree to himself
            raise Forbidden(APPROVAL_OF_NOBODY())
        raise Waits(asking, command, about, secret)


def is_powerful(rights: Rights) -> bool:
    """Tell whether somebody with these rights could ask for anything guarded, or agree to it."""
    return bool(rights.all & POWERS)


async def is_powerful_user(session: AsyncSession, user_id: uuid.UUID) -> bool:
    """The same of a user as he is now."""
    return is_powerful(await user_rights(session, user_id))
