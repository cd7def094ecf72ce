"""A thin client of the REST API; says errors as people want to read them."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast
from urllib.parse import quote

import httpx2
import typer
from typing_extensions import override

from borgfleet.cli.failing import EXIT_FAILED, EXIT_NO_API, EXIT_WAITS, fail

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFAULT_URL = "http://127.0.0.1:8080"
_DATA_DIR = "/var/lib/borgfleet"
_OWN_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})
_SECONDS = 30.0
_DOWNLOAD_SECONDS = 600.0
"""Until the first byte: borg may have to look through a large archive for it."""
_ACCEPTED, _REDIRECT, _FIRST_ERROR, _UNAUTHENTICATED = 202, 300, 400, 401
_APPROVALS = "/api/approvals/"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{3,512}")
"""What a bearer token may be (RFC 6750); those that Borgfleet makes are bf_ and letters, digits, '-' and '_'."""


class Answer(dict[str, Any]):
    """An object of an answer; one that lacks what every API of ours has comes from something else."""

    def __init__(self, pairs: dict[str, Any], client: Client) -> None:
        """Keep what is said if a field is missing."""
        super().__init__(pairs)
        self._client = client

    def __missing__(self, key: str) -> NoReturn:
        """End with a sentence."""
        self._client.not_ours(f"its answer has no `{key}`")


class Rows(list[Any]):
    """A list of an answer; where an object is expected, it comes from something else."""

    def __init__(self, rows: list[Any], client: Client) -> None:
        """Keep what is said if a field is asked of it."""
        super().__init__(rows)
        self._client = client

    @override
    def __getitem__(self, key: Any) -> Any:
        """Return a row; end with a sentence if a field is asked for."""
        return self._client.not_ours("its answer is a list") if isinstance(key, str) else super().__getitem__(key)


class Client:
    """The API with a token from BORGFLEET_TOKEN, BORGFLEET_TOKEN_FILE, `borgfleet login`, or this machine's own."""

    def __init__(self, token: str = "") -> None:
        """Read URL and token from the environment; a token that is given counts instead."""
        url = _url()
        token = token or _token(url)
        try:
            self._http = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=_SECONDS)
        except (ValueError, httpx2.InvalidURL, OSError, ImportError) as error:
            remedy = "correct HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR, or unset them"
            fail(f"the environment's proxy or certificates cannot be used: {error}", remedy, EXIT_NO_API)

    def get(self, path: str, **query: Any) -> Any:
        """GET; return the answer's JSON."""
        return self._call("GET", path, params={k: v for k, v in query.items() if v is not None})

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """POST; return the answer's JSON."""
        return self._call("POST", path, json=body)

    def put(self, path: str, body: dict[str, Any], version: int | None = None) -> Any:
        """PUT, refused if there is another version by now than the one that is given; return the answer's JSON."""
        return self._call("PUT", path, json=body, headers=_only_if(version))

    def patch(self, path: str, body: dict[str, Any], version: int | None = None) -> Any:
        """PATCH, refused if there is another version by now than the one that is given; return the answer's JSON."""
        return self._call("PATCH", path, json=body, headers=_only_if(version))

    def delete(self, path: str) -> Any:
        """DELETE; return the answer's JSON, if any."""
        return self._call("DELETE", path)

    def every(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield every item of a list, page by page."""
        after: str | None = None
        while True:
            page: dict[str, Any] = self.get(path, after=after, **query)
            if not isinstance(page, dict) or not isinstance(page.get("items"), list):  # pyright: ignore[reportUnnecessaryIsInstance] - whatever answers there
                self.not_ours()
            for item in page["items"]:
                if not isinstance(item, dict):
                    self.not_ours()
                yield item
            after = page.get("next")
            if after is None:
                return

    def named(self, path: str, name: str, what: str) -> dict[str, Any]:
        """Find an item by its name or id."""
        found = next((item for item in self.every(path) if name in (item["name"], item["id"])), None)
        return found or fail(f"there is no {what} named {name}", f"`borgfleet {what} list` shows what there is")

    def download(self, path: str) -> Iterator[bytes]:
        """Yield the bytes behind a link; end with a sentence where they end before their end."""
        waiting = httpx2.Timeout(_SECONDS, read=_DOWNLOAD_SECONDS)
        try:
            with self._http.stream("GET", path, timeout=waiting) as answer:
                if answer.status_code >= _FIRST_ERROR:
                    answer.read()
                    _problem(answer)
                if answer.status_code >= _REDIRECT:
                    self.not_ours()
                yield from answer.iter_raw()
        except httpx2.HTTPError as error:
            said = str(error) or type(error).__name__
            fail(
                f"the download broke off, and is not whole: {said}", "download it again; the backup node's log says why"
            )

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._http.request(method, path, **options)
        except httpx2.HTTPError as error:
            said = str(error) or type(error).__name__
            fail(f"the API at {self._http.base_url} does not answer: {said}", "set BORGFLEET_URL", EXIT_NO_API)
        except (ValueError, httpx2.InvalidURL) as error:
            fail(f"this cannot be sent to the API: {error}", "correct the arguments: text is UTF-8, numbers are finite")
        if answer.status_code >= _FIRST_ERROR:
            _problem(answer)
        if answer.status_code >= _REDIRECT:
            self.not_ours()
        try:
            body: object = answer.json(object_hook=self._object) if answer.content else None
        except (ValueError, RecursionError):
            self.not_ours()
        if isinstance(body, list):
            return Rows(cast("list[Any]", body), self)
        if body is not None and not isinstance(body, Answer):
            self.not_ours()
        if answer.status_code == _ACCEPTED and answer.headers.get("location", "").startswith(_APPROVALS):
            _waits(body or Answer({}, self))
        return body

    def _object(self, pairs: dict[str, Any]) -> Answer:
        return Answer(pairs, self)

    def not_ours(self, why: str = "") -> NoReturn:
        """End: whatever answers there, it is not the API of this version."""
        remedy = "set BORGFLEET_URL to where `borgfleet run api` or `borgfleet up` listens"
        fail(f"what answers at {self._http.base_url} is not Borgfleet's API{why and f': {why}'}", remedy, EXIT_NO_API)


def _waits(approval: Answer) -> NoReturn:
    """End: nothing was done, another person has to agree. A new secret is shown, for it is shown this once."""
    if approval.get("secret"):
        typer.echo(str(approval["secret"]))
    message = f"not done yet: another person has to agree, it waits as approval {approval['id']}"
    fail(message, "an administrator agrees on the web page; `borgfleet approval list` shows what waits", EXIT_WAITS)


def _problem(answer: httpx2.Response) -> NoReturn:
    problem: dict[str, Any] | None = None
    with contextlib.suppress(ValueError, RecursionError):
        problem = answer.json()
    if not isinstance(problem, dict):
        remedy = "see whether BORGFLEET_URL is right, and what stands between (a proxy)"
        fail(f"the API answered {answer.status_code} without an explanation", remedy)
    unauthenticated = answer.status_code == _UNAUTHENTICATED
    detail, remedy = str(problem.get("detail") or "refused"), str(problem.get("remedy") or "")
    fail(detail, remedy, EXIT_NO_API if unauthenticated else EXIT_FAILED)


def segment(text: str) -> str:
    """Return one part of a path as a URL holds it, whatever a person typed."""
    return quote(text, safe="", errors="surrogateescape")


def _url() -> str:
    given = os.environ.get("BORGFLEET_URL", "").strip() or _DEFAULT_URL
    try:
        url = httpx2.URL(given)
        usable = url.scheme in ("http", "https") and bool(url.host) and url.port != 0
    except (httpx2.InvalidURL, ValueError):
        usable = False
    if not usable:
        fail("BORGFLEET_URL is no URL of an API", "write it as http://127.0.0.1:8080 or http://[::1]:8080", EXIT_NO_API)
    return given


def token_file() -> Path:
    """Return where `borgfleet login` keeps the token."""
    try:
        return Path.home() / ".config/borgfleet/token"
    except RuntimeError:
        fail("there is no home directory for the API token", "set HOME, or BORGFLEET_TOKEN", EXIT_NO_API)


def check_token(token: str, where: str) -> str:
    """Return a token that can be sent: an HTTP library repeats a header that it refuses."""
    if not _TOKEN.fullmatch(token):
        remedy = "copy it again: a token is one word of letters, digits, '-' and '_', as bf_..."
        fail(f"what stands in {where} is no API token", remedy, EXIT_NO_API)
    return token


def _token(url: str) -> str:
    where, token = "BORGFLEET_TOKEN", os.environ.get("BORGFLEET_TOKEN", "").strip()
    if not token:
        where, token = _token_in_file(url)
    return check_token(token, where)


def _token_in_file(url: str) -> tuple[str, str]:
    given = os.environ.get("BORGFLEET_TOKEN_FILE", "").strip()
    file = Path(given) if given else token_file()
    try:
        if not given and not file.exists() and (own := _own_token_file(url)) is not None:
            file = own
        return str(file), file.read_text().strip()
    except FileNotFoundError as error:
        remedy = f"run `borgfleet login`, put it into {error.filename} (mode 600), or into BORGFLEET_TOKEN"
        fail("no API token", remedy, EXIT_NO_API)
    except OSError as error:
        said = f"{error.strerror or error}: {error.filename or given}"
        fail(
            f"the API token cannot be read: {said}", "see BORGFLEET_TOKEN_FILE, and who may read that file", EXIT_NO_API
        )
    except ValueError:
        fail("the API token's file cannot be read as text", "see BORGFLEET_TOKEN_FILE and HOME", EXIT_NO_API)


def _only_if(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}


def _own_token_file(url: str) -> Path | None:
    """Return the token that `borgfleet up` keeps on its machine; it is sent to no other machine."""
    if httpx2.URL(url).host not in _OWN_HOSTS:
        return None
    file = Path(os.environ.get("BORGFLEET_DATA_DIR", "").strip() or _DATA_DIR) / "cli.token"
    return file if os.access(file, os.R_OK) else None
