"""Errors as problem+json (RFC 9457), each with a stable code; the one translation to HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match, Route
from typing_extensions import override

from services.api.kernel.invalid import field_problem
from services.api.kernel.schemas import FieldProblem, Problem
from shared.domain.messages import CATALOGUE
from shared.domain.messages.requests import (
    HTTP_REFUSED,
    INTERNAL_UNKNOWN,
    INVALID_FIELDS,
    METHOD_NOT_ALLOWED,
    NO_SUCH_PATH,
)
from shared.domain.text import clean
from shared.errors import AppError, Conflict, Forbidden, Gone, Internal, Invalid, NotFound, Transient

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from shared.domain.message import Said

_STATUS: tuple[tuple[type[AppError], int, str], ...] = (
    (NotFound, 404, "Not found"),
    (Conflict, 409, "Conflict"),
    (Gone, 410, "Gone"),
    (Forbidden, 403, "Forbidden"),
    (Invalid, 422, "Invalid input"),
    (Transient, 503, "Not available now"),
    (Internal, 500, "Internal error"),
    (AppError, 400, "Refused"),
)
_HTTP: dict[int, Said] = {404: NO_SUCH_PATH(), 405: METHOD_NOT_ALLOWED()}
_MOST_ERRORS, _LONGEST_DETAIL = 50, 1000


class Refused(AppError):
    """What HTTP itself refuses; the message has the status."""

    default_code = "refused"

    def __init__(self, said: Said, *, retry_after: int | None = None) -> None:
        """Take an entry with its status, and in how many seconds to try again where that helps."""
        super().__init__(said)
        self.retry_after = retry_after


class Outdated(Refused):
    """A change that was meant for another version of a thing than there is."""


class Unauthenticated(Forbidden):
    """No valid token, or not proved who one is, or not lately."""

    default_code = "unauthenticated"

    def __init__(self, said: Said, *, methods: Sequence[str] = (), flow: str = "") -> None:
        """Take what is to be proved now, and the secret with which a login goes on that is half done."""
        super().__init__(said)
        self.methods, self.flow = methods, flow


def install_error_handlers(app: FastAPI, routes: Iterable[BaseRoute]) -> None:
    """Answer every expected error as a problem; `routes` are all that the application has."""
    known = tuple(route for route in routes if isinstance(route, Route))

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        return _http_error(request, error, known)

    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(ClientDisconnect, _nobody_there)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, _unexpected)


class _Silence(Response):
    """No answer: the client has left within its own request."""

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing."""


async def _nobody_there(_request: Request, _error: Exception) -> Response:
    return _Silence()


async def _app_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, AppError):
        raise error
    return answer_error(error, _request_id(request))


def answer_error(error: AppError, request_id: str = "") -> JSONResponse:
    """Return an expected error as a problem."""
    status, title = next((status, title) for kind, status, title in _STATUS if isinstance(error, kind))
    headers: dict[str, str] = {}
    if isinstance(error, Refused):
        status, title = error.said.status, HTTPStatus(error.said.status).phrase
        headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
    if isinstance(error, Unauthenticated):
        status, title, headers = 401, "Unauthenticated", {"WWW-Authenticate": "Bearer"}
    if error.said.status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # not the caller's doing: a slow service, a missing key
        status, title = error.said.status, HTTPStatus(error.said.status).phrase
    if isinstance(error, Transient):
        headers["Retry-After"] = str(int(error.retry_after or 1))
    problem = problem_of(error.said, title=title, status=status, request_id=request_id)
    if isinstance(error, Unauthenticated):
        problem.methods, problem.flow = list(error.methods), error.flow
    if isinstance(error, Conflict) and error.field:
        field = error.field
        problem.errors = [FieldProblem(field=field, pointer=f"/{field}", code=error.code, message=error.message)]
    return problem_answer(problem, headers)


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    # The input itself is not repeated: it may hold a password. A field's name may be the input's own.
    errors = [field_problem(one) for one in error.errors()[:_MOST_ERRORS]]
    detail = "; ".join(f"{one.field}: {one.message}" for one in errors)[:_LONGEST_DETAIL]
    problem = problem_of(INVALID_FIELDS(wrong=detail), title="Invalid input", request_id=_request_id(request))
    problem.errors = errors
    return problem_answer(problem, {})


def _http_error(request: Request, error: Exception, known: Iterable[Route]) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    title = HTTPStatus(error.status_code).phrase
    said = _HTTP.get(error.status_code) or HTTP_REFUSED(why=str(error.detail))
    problem = problem_of(said, title=title, status=error.status_code, request_id=_request_id(request))
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request, known))
    return problem_answer(problem, headers)


def _allowed(request: Request, known: Iterable[Route]) -> list[str]:
    """Return every method of a path: the framework names those of the first of its routes only.

    A path that is written out wins over one with parameters that its last word would fit in.
    """
    fits = [route for route in known if route.matches(request.scope)[0] is not Match.NONE]
    fewest = min((len(route.param_convertors) for route in fits), default=0)
    there = [route for route in fits if len(route.param_convertors) == fewest]
    methods = {method for route in there for method in route.methods or ()}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


async def _unexpected(request: Request, _error: Exception) -> JSONResponse:
    """Say nothing of what went wrong: the server raises it again, and the log has it whole."""
    problem = problem_of(INTERNAL_UNKNOWN(), title="Internal error", request_id=_request_id(request))
    return problem_answer(problem, {})


def _request_id(request: Request) -> str:
    return getattr(request.state, "request_id", "")


def problem_of(said: Said, *, title: str, status: int = 0, request_id: str = "") -> Problem:
    """Return what is said as a problem; without a status it has that of its entry."""
    told: dict[str, Any] = said.to_json() if said.key in CATALOGUE else {}
    return Problem(
        type=f"/api/errors/{said.code}",
        title=title,
        status=status or said.status,
        code=said.code,
        key=told.get("key", ""),
        params=told.get("params", {}),
        detail=said.text,
        remedy=said.remedy,
        request_id=request_id,
    )


def problem_answer(problem: Problem, headers: dict[str, str]) -> JSONResponse:
    """Return a problem as the answer it is; what it quotes of the input may hold anything."""
    problem.detail, problem.remedy = clean(problem.detail), clean(problem.remedy)
    return JSONResponse(
        problem.model_dump(), status_code=problem.status, headers=headers, media_type="application/problem+json"
    )
