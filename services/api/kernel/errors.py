"""Errors as problem+json (RFC 9457), each with a stable code; the one translation to HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route

from services.api.kernel.schemas import Problem
from shared.domain.text import clean
from shared.errors import AppError, Conflict, Forbidden, Internal, Invalid, NotFound, Transient

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import FastAPI
    from starlette.requests import Request

_STATUS: tuple[tuple[type[AppError], int, str], ...] = (
    (NotFound, 404, "Not found"),
    (Conflict, 409, "Conflict"),
    (Forbidden, 403, "Forbidden"),
    (Invalid, 422, "Invalid input"),
    (Transient, 503, "Not available now"),
    (Internal, 500, "Internal error"),
    (AppError, 400, "Refused"),
)
_HTTP: dict[int, tuple[str, str, str]] = {
    400: ("bad_body", "the body is no JSON that can be read", "send JSON in UTF-8, as GET /api/openapi.json says"),
    404: ("not_found", "there is no such path", "GET /api/openapi.json lists the paths"),
    405: ("method_not_allowed", "this path knows no such method", "use one of those that the header `Allow` names"),
}
_OTHER_REMEDY = "send a request as GET /api/openapi.json says"
_MOST_ERRORS, _LONGEST_FIELD, _LONGEST_DETAIL = 50, 200, 1000


class Unauthenticated(Forbidden):
    """No valid token."""

    default_code = "unauthenticated"


def install_error_handlers(app: FastAPI, routes: Iterable[BaseRoute]) -> None:
    """Answer every expected error as a problem; `routes` are all that the application has."""
    known = tuple(route for route in routes if isinstance(route, Route))

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        return _http_error(request, error, known)

    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, _unexpected)


async def _app_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, AppError):
        raise error
    return answer_error(error)


def answer_error(error: AppError) -> JSONResponse:
    """Return an expected error as a problem."""
    status, title = next((status, title) for kind, status, title in _STATUS if isinstance(error, kind))
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        status, title, headers = 401, "Unauthenticated", {"WWW-Authenticate": "Bearer"}
    if isinstance(error, Transient):
        headers["Retry-After"] = str(int(error.retry_after or 1))
    problem = Problem(title=title, status=status, code=error.code, detail=error.message, remedy=error.remedy)
    if isinstance(error, Conflict) and error.field:
        problem.errors = [{"field": error.field, "message": error.message}]
    return problem_answer(problem, headers)


async def _validation_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    # The input itself is not repeated: it may hold a password. A field's name may be the input's own.
    errors = [
        {"field": clean(".".join(map(str, one["loc"])), _LONGEST_FIELD), "message": clean(one["msg"], _LONGEST_DETAIL)}
        for one in error.errors()[:_MOST_ERRORS]
    ]
    detail = "; ".join(f"{one['field']}: {one['message']}" for one in errors)[:_LONGEST_DETAIL]
    problem = Problem(
        title="Invalid input",
        status=422,
        code="invalid",
        detail=detail,
        remedy="correct the fields named",
        errors=errors,
    )
    return problem_answer(problem, {})


def _http_error(request: Request, error: Exception, known: Iterable[Route]) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    title = HTTPStatus(error.status_code).phrase
    code, detail, remedy = _HTTP.get(error.status_code, ("refused", str(error.detail), _OTHER_REMEDY))
    problem = Problem(title=title, status=error.status_code, code=code, detail=detail, remedy=remedy)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request, known))
    return problem_answer(problem, headers)


def _allowed(request: Request, known: Iterable[Route]) -> list[str]:
    """Return every method of a path: the framework names those of the first of its routes only."""
    there = [route for route in known if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in there for method in route.methods or ()}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


async def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
    """Say nothing of what went wrong: the server raises it again, and the log has it whole."""
    problem = Problem(
        title="Internal error",
        status=500,
        code="internal",
        detail="the request met an error that Borgfleet does not know",
        remedy="see the log of the api service, and report it",
    )
    return problem_answer(problem, {})


def problem_answer(problem: Problem, headers: dict[str, str]) -> JSONResponse:
    """Return a problem as the answer it is; what it quotes of the input may hold anything."""
    problem.detail, problem.remedy = clean(problem.detail), clean(problem.remedy)
    return JSONResponse(
        problem.model_dump(), status_code=problem.status, headers=headers, media_type="application/problem+json"
    )
