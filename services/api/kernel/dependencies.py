"""What routes ask for: the parts, an authenticated caller, a page's bounds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request, Response

from services.api.kernel.gateway import Gateway, gateway_of
from services.api.kernel.guard import principal_of
from services.api.kernel.principal import Principal
from shared.domain.values import CleanText


def gateway(request: Request) -> Gateway:
    """Return the application's parts."""
    return gateway_of(request)


Parts = Annotated[Gateway, Depends(gateway)]


def caller(request: Request) -> str:
    """Return the name of who asks, as it is kept of what was asked for."""
    return principal_of(request).name


Caller = Annotated[str, Depends(caller)]
Asking = Annotated[Principal, Depends(principal_of)]
"""Who asks."""


_OF_THE_PAGE = frozenset({"limit", "after", "count", "csv"})
"""Parameters that choose a page and its form; all others choose what is listed."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a list, and from where."""

    limit: int
    after: str | None
    count: bool = False
    filters: str = ""
    """A digest of what is listed, and in which order: a cursor holds for the same list only."""
    request: Request | None = None
    response: Response | None = None

    def tell_next(self, cursor: str) -> None:
        """Name the next page in the header `Link`, as RFC 8288 says."""
        if self.request is not None and self.response is not None:
            url = self.request.url.include_query_params(after=cursor)
            self.response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'


def _bounds(request: Request, response: Response, limit: int, after: str | None, *, count: bool) -> Bounds:
    chosen = sorted((name, value) for name, value in request.query_params.multi_items() if name not in _OF_THE_PAGE)
    filters = hashlib.sha256(repr((request.url.path, chosen)).encode()).hexdigest()[:12]
    return Bounds(limit, after, count, filters, request, response)


Count = Annotated[bool, Query(description="Count them, up to 10,000: see `total` and `more`.")]


def bounds(
    request: Request,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    after: Annotated[CleanText | None, Query(description="`next` of the page before.")] = None,
    count: Count = False,
) -> Bounds:
    """Read a page's bounds."""
    return _bounds(request, response, limit, after, count=count)


PageBounds = Annotated[Bounds, Depends(bounds)]


def many_bounds(
    request: Request,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=2000)] = 2000,
    after: Annotated[CleanText | None, Query(description="From the `Link` of the part before.")] = None,
) -> Bounds:
    """Read the bounds of a list that most have whole in one answer."""
    return _bounds(request, response, limit, after, count=False)


ManyBounds = Annotated[Bounds, Depends(many_bounds)]
