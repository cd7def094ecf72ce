"""A thin client of the REST API; says errors as people want to read them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import httpx2
import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_FAILED = 1
EXIT_WARNING = 3
EXIT_NO_API = 4
_DEFAULT_URL = "http://127.0.0.1:8080"
_SECONDS = 30.0
_FIRST_ERROR = 400
_UNAUTHENTICATED = 401

errors = Console(stderr=True)


class Client:
    """The API with a token from BORGFLEET_TOKEN, BORGFLEET_TOKEN_FILE or ~/.config/borgfleet/token."""

    def __init__(self) -> None:
        """Read URL and token from the environment."""
        self._http = httpx2.Client(
            base_url=os.environ.get("BORGFLEET_URL", _DEFAULT_URL),
            headers={"Authorization": f"Bearer {_token()}"},
            timeout=_SECONDS,
        )

    def get(self, path: str, **query: Any) -> Any:
        """GET; return the answer's JSON."""
        return self._call("GET", path, params={k: v for k, v in query.items() if v is not None})

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """POST; return the answer's JSON."""
        return self._call("POST", path, json=body)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        """PUT; return the answer's JSON."""
        return self._call("PUT", path, json=body)

    def delete(self, path: str) -> Any:
        """DELETE; return the answer's JSON, if any."""
        return self._call("DELETE", path)

    def every(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield every item of a list, page by page."""
        after: str | None = None
        while True:
            page = self.get(path, after=after, **query)
            yield from page["items"]
            after = page.get("next")
            if after is None:
                return

    def named(self, path: str, name: str, what: str) -> dict[str, Any]:
        """Find an item by its name or id."""
        found = next((item for item in self.every(path) if name in (item["name"], item["id"])), None)
        return found or fail(f"there is no {what} named {name}", f"`borgfleet {what} list` shows what there is")

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._http.request(method, path, **options)
        except httpx2.HTTPError as error:
            fail(f"the API at {self._http.base_url} does not answer: {error}", "set BORGFLEET_URL", EXIT_NO_API)
        if answer.status_code >= _FIRST_ERROR:
            _problem(answer)
        return answer.json() if answer.content else None


def fail(message: str, remedy: str = "", status: int = EXIT_FAILED) -> NoReturn:
    """End with a message and what to do about it."""
    errors.print(f"[bold red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    if remedy:
        errors.print(f"  [dim]→[/] {escape(remedy)}", highlight=False, soft_wrap=True)
    raise typer.Exit(status)


def _problem(answer: httpx2.Response) -> NoReturn:
    try:
        problem = answer.json()
    except ValueError:
        fail(f"the API answered {answer.status_code} without an explanation")
    unauthenticated = answer.status_code == _UNAUTHENTICATED
    fail(problem.get("detail", "refused"), problem.get("remedy", ""), EXIT_NO_API if unauthenticated else EXIT_FAILED)


def _token() -> str:
    if token := os.environ.get("BORGFLEET_TOKEN"):
        return token
    file = Path(os.environ.get("BORGFLEET_TOKEN_FILE", Path.home() / ".config/borgfleet/token"))
    if not file.is_file():
        fail("no API token", f"put it into {file} (mode 600) or into BORGFLEET_TOKEN", EXIT_NO_API)
    return file.read_text().strip()
