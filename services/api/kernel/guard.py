"""Routes that are closed: each says who may use it, and asks that before anything of the request's body is read."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.params import Depends
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from typing_extensions import override

from services.api.audit.record import record_late
from services.api.kernel.body import LARGEST_BODY, read_body
from services.api.kernel.changes import UNSAFE, answer_once
from services.api.kernel.errors import Outdated
from services.api.kernel.principal import Principal
from services.api.kernel.scope import servers_for
from services.api.kernel.strict import parameters_of, refuse_others
from shared.domain.messages.accounts import FACTOR_REQUIRED
from shared.domain.permissions import Permission
from shared.errors import Conflict, Forbidden

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from fastapi import Response

    from services.api.kernel.gateway import Gateway

_bearer = HTTPBearer(auto_error=False, description="An API token; the first one is printed at the first start.")


class Open(StrEnum):
    """A rule that asks for no permission."""

    ACCOUNT = "any account"
    """Whoever has logged in, or has a token, whatever it may do."""
    PUBLIC = "public"
    """Everybody: there is no principal."""


Rule = Permission | Open
_ACCOUNTS = frozenset({"grants", "tokens", "users"})
"""Whoever changes one of these changes what others may."""


def _nobody() -> None:
    """Ask for nothing."""


class Allow(Depends):
    """Who may use a route, as one of its `dependencies`.

    `largest` is how many bytes its body may have. Without `once` its transactions are its own, and its answer is not
    remembered: where a refusal leaves something behind, as a wrong password does, or a cookie is given.
    """

    def __init__(self, rule: Rule, *, largest: int = LARGEST_BODY, once: bool = True) -> None:
        """Take a permission, or one of the rules that ask for none."""
        # What FastAPI calls only tells OpenAPI of the token: the route itself asks, before it reads.
        super().__init__(_nobody if rule is Open.PUBLIC else _bearer)
        object.__setattr__(self, "rule", rule)
        object.__setattr__(self, "largest", largest)
        object.__setattr__(self, "once", once)

    rule: Rule
    largest: int
    once: bool


class GuardedRoute(APIRoute):
    """A route with exactly one `Allow`; without it the module that makes it cannot be imported."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        dependencies: Sequence[Depends] | None = None,
        openapi_extra: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Find out who may use it."""
        allows = [one for one in dependencies or () if isinstance(one, Allow)]
        if len(allows) != 1:
            message = f"the route {path} has {len(allows)} rules: give exactly one Allow(...) in its dependencies"
            raise TypeError(message)
        self.allow = allows[0]
        extra = {**(openapi_extra or {}), "x-permission": self.allow.rule.value}
        super().__init__(path, endpoint, dependencies=dependencies, openapi_extra=extra, **options)

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Put the question who asks before FastAPI's own handler, which begins with the body."""
        inner, allow, known = super().get_route_handler(), self.allow, parameters_of(self.dependant)
        action = self.name

        async def admitted(request: Request, principal: Principal | None) -> Response:
            if principal is not None and isinstance(allow.rule, Permission):
                await _limit(request, principal, allow.rule)
            refuse_others(request, known)
            read = await read_body(request, allow.largest)
            if principal is None or request.method not in UNSAFE:
                return await inner(read)
            if not allow.once:
                answer = await inner(read)
                await record_late(request)
                return answer
            answer = await answer_once(read, principal, inner)
            if isinstance(allow.rule, Open) or allow.rule.noun in _ACCOUNTS:
                # What the route forgot before the commit may have been read again meanwhile, as it was.
                request.app.state.authenticate.forget()
            return answer

        async def handler(request: Request) -> Response:
            request.state.action = action
            principal = None
            if allow.rule is not Open.PUBLIC:
                principal = request.state.principal = await request.app.state.authenticate(request)
            try:
                return await admitted(request, principal)
            except (Conflict, Forbidden, Outdated) as error:
                if principal is not None and request.method in UNSAFE:
                    await record_late(request, error.code)
                raise

        return handler


async def _limit(request: Request, principal: Principal, permission: Permission) -> None:
    """Let a request see what the right holds for; `Forbidden` without it."""
    if principal.lacks_factor:
        raise Forbidden(FACTOR_REQUIRED(name=principal.name))
    gateway: Gateway = request.app.state.gateway
    servers = await servers_for(gateway.database, principal, permission)
    if servers is not None:
        request.state.gateway = replace(gateway, servers=servers)


def principal_of(request: Request) -> Principal:
    """Return who asks; the route has let it in."""
    found = getattr(request.state, "principal", None)
    if not isinstance(found, Principal):
        message = "this route is open to everybody: nobody in particular asks"
        raise TypeError(message)
    return found
