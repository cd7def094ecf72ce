"""Accounts that could ask for something guarded: to make, change or become one may need a second person."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sqlalchemy import select

from services.api.features.users.changes import (
    add_login_link,
    add_user,
    change_user,
    remove_user,
    require_login,
    set_grants,
    user_to_change,
    wanted_grants,
)
from services.api.features.users.schemas import GrantsIn, UserChange, UserIn
from services.api.kernel.etag import ANY, Precondition, meant_for
from services.api.kernel.rights import rights_of
from services.api.kernel.scope import require_permission
from services.api.security.approvals import agreed, is_powerful, is_powerful_user
from shared.db.stores.accounts import end_sessions, require_other_admin, reset_factors
from shared.db.tables.account import User
from shared.domain.four_eyes import DIGEST, About, Command, Guarded
from shared.domain.messages.accounts import FACTORS_OWN
from shared.domain.permissions import Permission
from shared.errors import Forbidden
from shared.secrets.tokens import digest_of

if TYPE_CHECKING:
    from services.api.kernel.principal import Principal
    from services.api.security.approvals import Actions
    from shared.db.unit_of_work import UnitOfWork


def with_link(command: Command, secret: str) -> Command:
    """Return a command that makes a link of this secret, and holds only what it is known by."""
    return Command(command.kind, command.target, {**command.fields, DIGEST: digest_of("link", secret)}, command.version)


async def add(tx: UnitOfWork, asking: Principal, command: Command, *, secret: str | None = None) -> User:
    """Make a user with roles."""
    body = UserIn.model_validate({name: one for name, one in command.fields.items() if name != DIGEST})
    if body.grants:
        require_permission(asking, Permission.GRANTS_WRITE)
    wanted = await wanted_grants(tx.session, asking, body.grants)
    taken = await tx.session.scalar(select(User.id).where(User.name == body.name))
    if taken is None and is_powerful(rights_of(wanted)):
        shown = secret if body.kind == "person" else None
        await agreed(tx, asking, command, About("users", body.name), secret=shown)
    return await add_user(tx, asking, body, str(command.fields[DIGEST]))


async def change(tx: UnitOfWork, asking: Principal, command: Command, given: Precondition = ANY) -> None:
    """Change a user; where he gets or loses his login, or another address, it may need a second person."""
    user = await user_to_change(tx, asking, uuid.UUID(command.target), meant_for(given, command.version))
    body = UserChange.model_validate(dict(command.fields))
    if body.state == "disabled" and user.state != "disabled":
        await require_other_admin(tx.session, user.id)
    if body.state is not None or body.email is not None:
        await _agreed(tx, asking, command, user)
    await change_user(tx, user, body)


async def remove(tx: UnitOfWork, asking: Principal, command: Command, given: Precondition = ANY) -> None:
    """Forget a user with sessions, tokens and roles."""
    user = await user_to_change(tx, asking, uuid.UUID(command.target), meant_for(given, command.version))
    await require_other_admin(tx.session, user.id)
    await _agreed(tx, asking, command, user)
    await remove_user(tx, user)


async def grant(tx: UnitOfWork, asking: Principal, command: Command, given: Precondition = ANY) -> None:
    """Give a user these roles instead of those he has."""
    user = await user_to_change(tx, asking, uuid.UUID(command.target), meant_for(given, command.version))
    body = GrantsIn.model_validate(dict(command.fields))
    wanted = await wanted_grants(tx.session, asking, body.grants)
    await _agreed(tx, asking, command, user, or_if=is_powerful(rights_of(wanted)))
    await set_grants(tx, asking, user.id, body.grants)


async def link(tx: UnitOfWork, asking: Principal, command: Command, *, secret: str | None = None) -> None:
    """Make a link with which a person chooses a password."""
    user = await user_to_change(tx, asking, uuid.UUID(command.target), meant_for(ANY, command.version))
    require_login(user)
    await _agreed(tx, asking, command, user, secret=secret)
    await add_login_link(tx.session, user, str(command.fields[DIGEST]))


async def take_factors(tx: UnitOfWork, asking: Principal, command: Command) -> None:
    """Take another user's second factors away; all sessions end."""
    user_id = uuid.UUID(command.target)
    if user_id == asking.user_id:  # one's own ask for both proofs, also of who has a session or a token
        raise Forbidden(FACTORS_OWN())
    user = await user_to_change(tx, asking, user_id, meant_for(ANY, command.version))
    await _agreed(tx, asking, command, user)
    await reset_factors(tx.session, tx.secrets, user_id)
    await end_sessions(tx.session, user_id)


async def _agreed(
    tx: UnitOfWork, asking: Principal, command: Command, user: User, *, or_if: bool = False, secret: str | None = None
) -> None:
    if or_if or await is_powerful_user(tx.session, user.id):
        kept = Command(command.kind, command.target, command.fields, user.version)
        await agreed(tx, asking, kept, About("users", user.name), secret=secret)


GUARDED: Actions = {
    Guarded.ADD_USER: add,
    Guarded.CHANGE_USER: change,
    Guarded.DELETE_USER: remove,
    Guarded.CHANGE_GRANTS: grant,
    Guarded.LINK_USER: link,
    Guarded.RESET_FACTORS: take_factors,
}
"""What is done once another person has agreed."""
