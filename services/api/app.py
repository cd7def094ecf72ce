"""The FastAPI application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI

from services.api.features import ROUTERS
from services.api.kernel.dependencies import Gateway, authenticated
from services.api.kernel.errors import install_error_handlers
from services.api.kernel.head import HeadAsGet
from services.api.kernel.metrics import CountRequests, HttpMetrics
from services.api.kernel.request import Door
from services.api.kernel.schemas import Problem
from shared.notify.process import ChildSender

if TYPE_CHECKING:
    from shared.runtime.service import Parts

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "content": {"application/problem+json": {}}, "description": text}
    for status, text in (
        (401, "No valid token."),
        (404, "No such thing."),
        (409, "The state of things forbids it."),
        (413, "The body is larger than a request may be."),
        (422, "The input is wrong; `errors` names the fields."),
        (503, "Not available now; try again after `Retry-After` seconds."),
    )
}


def build_app(parts: Parts) -> FastAPI:
    """Return the application over a process's parts; every path but the documentation needs a token."""
    app = FastAPI(
        title="Borgfleet",
        version="0.1.0",
        description="Backs up fleets of Linux servers with BorgBackup.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,  # a redirect would name the host that the client itself sent
    )
    gateway = Gateway(parts.db, parts.bus, ChildSender(parts.settings.notify.networks()), {})
    app.state.gateway = gateway
    app.add_middleware(HeadAsGet)
    app.add_middleware(Door, parts=gateway)
    app.add_middleware(CountRequests, metrics=HttpMetrics(parts.registry))
    install_error_handlers(app, [*app.routes, *(route for router in ROUTERS for route in router.routes)])
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(authenticated)], responses=_PROBLEMS)
    return app
