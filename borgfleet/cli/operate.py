"""The verbs that run Borgfleet: up, run, migrate, doctor."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib import import_module
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import typer

from borgfleet.cli.failing import fail
from shared.errors import Permanent, Transient

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import ModuleType

    from shared.config.settings import Settings

T = TypeVar("T")
_SETTINGS_REMEDY = "correct the variable BORGFLEET_... or the TOML file that BORGFLEET_CONFIG names"
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Default: /var/lib/borgfleet.")]
BreakGlass = Annotated[
    str, typer.Option("--break-glass", help="Where four eyes are on: why no second person is asked; it is kept.")
]


def register(app: typer.Typer) -> None:
    """Add these verbs at the top level."""
    for command in (up, run, migrate, wait, health, doctor, nats_keys, setup_link):
        app.command()(command)


def up(data_dir: DataDir = None) -> None:
    """Run everything in one process: all services, nats-server, SQLite, the storage sshd."""
    from borgfleet.standalone import up as stand_up  # noqa: PLC0415 - the services load only where they run

    settings = _settings(data_dir)
    execute(stand_up(settings, _announce))


def run(
    service: Annotated[str, typer.Argument(help="api, backup, scheduler, setup or stats")],
    data_dir: DataDir = None,
    with_endpoint: Annotated[bool, typer.Option("--with-endpoint", help="backup: run its storage sshd too.")] = False,
) -> None:
    """Run one service against NATS and MariaDB."""
    from borgfleet.bootstrap import run as run_services  # noqa: PLC0415 - loads only where it runs
    from borgfleet.registry import SERVICES  # noqa: PLC0415 - loads only where it runs

    if service not in SERVICES:
        fail(f"there is no service named {service}", f"choose one of {', '.join(SERVICES)}", status=2)
    if with_endpoint:
        from borgfleet.endpoint import run_with_endpoint  # noqa: PLC0415 - loads only where it runs

        if service != "backup":
            fail(f"{service} has no storage endpoint", "give --with-endpoint to backup alone", status=2)
        execute(run_with_endpoint(_settings(data_dir), [service]))
        return
    execute(run_services(_settings(data_dir), [service]))


def migrate(data_dir: DataDir = None) -> None:
    """Create or update the schema, the streams, the fleet's key and the first API token."""
    from borgfleet.people import setup_url  # noqa: PLC0415 - loads only where it runs
    from borgfleet.preparation import prepare  # noqa: PLC0415 - loads only where it runs

    settings = _settings(data_dir)

    async def prepared() -> None:
        made = await prepare(settings)
        _announce_first(made.token, setup_url(settings, made.link) if made.link else None)

    execute(prepared())
    typer.echo("schema, streams and keys are in place")


def wait(
    *,
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="How long; then it ends with status 75.")] = 600.0,
    data_dir: DataDir = None,
) -> None:
    """Wait until `borgfleet migrate` has made this version's schema and the streams: before a service starts."""
    from borgfleet.wait import wait_until_prepared  # noqa: PLC0415 - loads only where it runs

    try:
        execute(wait_until_prepared(_settings(data_dir), seconds))
    except Transient as error:
        fail(error.message, error.remedy, status=os.EX_TEMPFAIL)


def health(*, ready: Annotated[bool, typer.Option("--ready", help="Whether it can do its work.")] = False) -> None:
    """Ask the service of this machine or container whether it lives: for healthchecks."""
    from borgfleet.health import main as ask  # noqa: PLC0415 - __main__ comes here only for its help

    raise typer.Exit(ask(["--ready"] if ready else []))


def doctor(data_dir: DataDir = None) -> None:
    """Print the settings without their secrets, and check everything they point at."""
    from borgfleet.doctor import examine  # noqa: PLC0415 - loads only where it runs

    settings = _settings(data_dir)
    raise typer.Exit(0 if execute(examine(settings, typer.echo)) else 1)


def nats_keys(directory: Annotated[Path, typer.Argument(help="Where the seeds are to lie.")]) -> None:
    """Make a seed for each service to log in to nats-server with, and the list of public keys for it."""
    from borgfleet.seeds import KEYS, make_seeds  # noqa: PLC0415 - loads only where it runs

    try:
        for file in make_seeds(directory):
            typer.echo(f"made {file}")
    except Permanent as error:
        fail(error.message, error.remedy)
    typer.echo(f"public keys for nats-server: {directory / KEYS}")


def setup_link(data_dir: DataDir = None) -> None:
    """Print a new link for the first administrator; earlier ones work no longer."""
    from borgfleet.people import new_setup_link  # noqa: PLC0415 - loads only where it runs

    link = execute(new_setup_link(local_settings(data_dir)))
    if link is None:
        fail("this fleet has an administrator already", "log in; who is locked out has `borgfleet user reset-password`")
    typer.echo(link)


def any_settings(data_dir: Path | None) -> Settings:
    """Return the settings of a machine that may have no database yet, or none any more."""
    return _settings(data_dir)


def local_settings(data_dir: Path | None) -> Settings:
    """Return the settings of a machine that reaches the database of a fleet that exists."""
    settings = _settings(data_dir)
    _require_database(settings)
    return settings


def _require_database(settings: Settings) -> None:
    """Refuse where nothing was ever installed: SQLite would wait a minute for a file that nobody is going to make."""
    file = settings.data_dir / "borgfleet.db"
    if not settings.database.url.get_secret_value() and not file.is_file():
        fail(f"there is no database at {file}", "name the --data-dir of `borgfleet up`, or set BORGFLEET_DATABASE__URL")


def _settings(data_dir: Path | None) -> Settings:
    _spare_rich()  # before anything that loads structlog
    # `--help` and the verbs that use the API do without all of this: it is most of a second of processor time.
    from pydantic import ValidationError  # noqa: PLC0415 - see above
    from pydantic_settings import SettingsError  # noqa: PLC0415 - see above

    from shared.config.settings import Settings  # noqa: PLC0415 - see above
    from shared.db.door import URL_REMEDY, translated  # noqa: PLC0415 - see above
    from shared.telemetry.logging import configure_logging  # noqa: PLC0415 - see above

    config = os.environ.get("BORGFLEET_CONFIG")
    if config is not None and not Path(config).is_file():
        fail(f"BORGFLEET_CONFIG names {config}, and that is no file", "name the TOML file, or unset it", status=2)
    try:
        settings = Settings(data_dir=data_dir) if data_dir else Settings()
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        fail(f"the settings are wrong: {problems}", _SETTINGS_REMEDY, status=2)
    except (SettingsError, TOMLDecodeError, UnicodeError, RecursionError) as error:
        fail(f"the settings cannot be read: {error}", _SETTINGS_REMEDY, status=2)
    try:
        with translated():
            settings.database_url()
    except Permanent as error:
        fail(error.message, error.remedy, status=2)
    except ValueError:  # no number for a port; its text may hold the password
        fail("the database's URL is none", URL_REMEDY, status=2)
    configure_logging(settings.log)
    return settings


def _spare_rich() -> None:
    """Let structlog load without rich: it takes it where it finds it, 8 MB in each worker, and ours print without."""
    if "rich" in sys.modules:
        return
    absent: dict[str, ModuleType | None] = {"rich": None}
    sys.modules.update(cast("dict[str, ModuleType]", absent))
    try:
        import_module("structlog")
    finally:
        del sys.modules["rich"]


def execute(work: Coroutine[None, None, T]) -> T:
    """Run it to its end; Ctrl-C ends it with the status of one that was interrupted."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _announce(url: str, token: str | None, link: str | None) -> None:
    typer.echo(f"Borgfleet is at {url} (web UI; API description: {url}/api/openapi.json)")
    _announce_first(token, link)
    if token is not None:
        typer.echo("`borgfleet` on this machine uses it by itself.")


def _announce_first(token: str | None, link: str | None) -> None:
    if link is not None:
        typer.echo(
            "Nobody can log in to it yet. Open this link in a browser to become its first administrator; "
            "it works once, for 24 hours:"
        )
        typer.echo(f"  {link}")
    if token is not None:
        typer.echo("The first API token, shown this once; keep it safe:")
        typer.echo(f"  {token}")
