"""Errors as problem+json (RFC 9457), each with a stable code; the one translation to HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from services.api.schemas.common import Problem
from shared.errors import AppError, Conflict, Forbidden, Invalid, NotFound, Transient

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

_STATUS: tuple[tuple[type[AppError], int, str], ...] = (
    (NotFound, 404, "Not found"),
    (Conflict, 409, "Conflict"),
    (Forbidden, 403, "Forbidden"),
    (Invalid, 422, "Invalid input"),
    (Transient, 503, "Not available now"),
    (AppError, 400, "Refused"),
)
_CODES = {401: "unauthenticated", 404: "not_found", 405: "method_not_allowed"}


class Unauthenticated(Forbidden):
    """No valid token."""

    default_code = "unauthenticated"


def install_error_handlers(app: FastAPI) -> None:
    """Answer every expected error as a problem."""
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


async def _app_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, AppError):
        raise error
    status, title = next((status, title) for kind, status, title in _STATUS if isinstance(error, kind))
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        status, title, headers = 401, "Unauthenticated", {"WWW-Authenticate": "Bearer"}
    if isinstance(error, Transient):
        headers["Retry-After"] = str(int(error.retry_after or 1))
    problem = Problem(title=title, status=status, code=error.code, detail=error.message, remedy=error.remedy)
    return _answer(problem, headers)


async def _validation_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    # The input itself is not repeated: it may hold a password.
    errors = [{"field": ".".join(map(str, e["loc"])), "message": str(e["msg"])} for e in error.errors()]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors)[:1000]
    problem = Problem(
        title="Invalid input",
        status=422,
        code="invalid",
        detail=detail,
        remedy="correct the fields named",
        errors=errors,
    )
    return _answer(problem, {})


async def _http_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    code = _CODES.get(error.status_code, "error")
    problem = Problem(title=str(error.detail), status=error.status_code, code=code, detail=str(error.detail))
    return _answer(problem, dict(error.headers or {}))


def _answer(problem: Problem, headers: dict[str, str]) -> JSONResponse:
    return JSONResponse(
        problem.model_dump(), status_code=problem.status, headers=headers, media_type="application/problem+json"
    )
