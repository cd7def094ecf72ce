"""The FastAPI application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.api.features import ROUTERS
from services.api.features.events.live import Live
from services.api.kernel.dependencies import Gateway
from services.api.kernel.errors import install_error_handlers
from services.api.kernel.guard import GuardedRoute
from services.api.kernel.head import HeadAsGet
from services.api.kernel.metrics import CountRequests, HttpMetrics
from services.api.kernel.request import Application
from services.api.kernel.schemas import Problem
from services.api.kernel.web import WebFiles
from services.api.security.guard import Accounts
from shared.notify.process import ChildSender

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI

    from shared.runtime.service import Parts

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "content": {"application/problem+json": {}}, "description": text}
    for status, text in (
        (400, "The body is no JSON that can be read."),
        (401, "No valid token."),
        (403, "Not allowed to whoever asks."),
        (404, "No such thing."),
        (409, "The state of things forbids it."),
        (410, "It was there, and never will be again."),
        (412, "It is meant for another version of the thing than there is; `params` tell what changed."),
        (413, "The body is larger than a request may be."),
        (415, "The body is said to be something else than JSON."),
        (422, "The input is wrong; `errors` names the fields."),
        (429, "Too often; try again after `Retry-After` seconds."),
        (503, "Not available now; try again after `Retry-After` seconds."),
    )
}


def build_app(parts: Parts) -> FastAPI:
    """Return the application over a process's parts; each path but the API's description says who may use it."""
    app = Application(
        title="Borgfleet",
        version="0.1.0",
        description="Backs up fleets of Linux servers with BorgBackup.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,  # a redirect would name the host that the client itself sent
    )
    app.public_url = parts.settings.api.public_url
    app.state.gateway = Gateway(parts.db, parts.bus, ChildSender(parts.settings.notify.networks()), parts.settings)
    app.state.live = Live(parts.bus)
    app.state.authenticate = Accounts(parts.db, parts.settings.api)
    app.add_middleware(HeadAsGet)
    app.add_middleware(WebFiles)  # before whoever is asked for a token: the UI's files are public, and hold no data
    app.add_middleware(CountRequests, metrics=HttpMetrics(parts.registry))
    install_error_handlers(app, [*app.routes, *(route for router in ROUTERS for route in router.routes)])
    add_routes(app)
    return app


def add_routes(app: FastAPI) -> None:
    """Add every route of the API; each says who may use it."""
    for router in ROUTERS:
        include(app, router)


def include(app: FastAPI, router: APIRouter) -> None:
    """Add a router's routes; one that does not say who may use it is refused."""
    if open_ones := [getattr(one, "path", "?") for one in router.routes if not isinstance(one, GuardedRoute)]:
        message = f"these routes do not say who may use them: {', '.join(open_ones)}"
        raise TypeError(message)
    app.include_router(router, responses=_PROBLEMS)
