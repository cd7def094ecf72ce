"""The verbs that run Borgfleet: up, run, migrate, doctor, recovery-kit."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from borgfleet.cli.client import fail
from shared.config.settings import Settings
from shared.errors import Permanent
from shared.telemetry.logging import configure_logging

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")
_SETTINGS_REMEDY = "correct the variable BORGFLEET_... or the TOML file that BORGFLEET_CONFIG names"
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Default: /var/lib/borgfleet.")]


def register(app: typer.Typer) -> None:
    """Add these verbs at the top level."""
    for command in (up, run, migrate, health, doctor, recovery_kit):
        app.command()(command)


def up(data_dir: DataDir = None) -> None:
    """Run everything in one process: all services, nats-server, SQLite, the storage sshd."""
    from borgfleet.standalone import up as stand_up  # noqa: PLC0415 - the services load only where they run

    settings = _settings(data_dir)
    _execute(stand_up(settings, _announce))


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
        _execute(run_with_endpoint(_settings(data_dir), [service]))
        return
    _execute(run_services(_settings(data_dir), [service]))


def migrate(data_dir: DataDir = None) -> None:
    """Create or update the schema, the streams, the fleet's key and the first API token."""
    from borgfleet.preparation import prepare  # noqa: PLC0415 - loads only where it runs

    settings = _settings(data_dir)

    async def prepared() -> None:
        _announce_token(await prepare(settings))

    _execute(prepared())
    typer.echo("schema, streams and keys are in place")


def health(*, ready: Annotated[bool, typer.Option("--ready", help="Whether it can do its work.")] = False) -> None:
    """Ask the service of this machine or container whether it lives: for healthchecks."""
    from borgfleet.health import main as ask  # noqa: PLC0415 - __main__ comes here only for its help

    raise typer.Exit(ask(["--ready"] if ready else []))


def doctor(data_dir: DataDir = None) -> None:
    """Print the settings without their secrets, and check everything they point at."""
    from borgfleet.doctor import examine  # noqa: PLC0415 - loads only where it runs

    settings = _settings(data_dir)
    raise typer.Exit(0 if _execute(examine(settings, typer.echo)) else 1)


def recovery_kit(
    data_dir: DataDir = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Print every repository's path and passphrase, to keep in a safe place: with them plain borg restores all."""
    from borgfleet.recovery import kit, kit_as_text  # noqa: PLC0415 - loads only where it runs

    settings = _settings(data_dir)
    _require_database(settings)
    repositories = _execute(kit(settings))
    typer.echo(json.dumps(repositories) if as_json else kit_as_text(repositories))


def _require_database(settings: Settings) -> None:
    """Refuse where nothing was ever installed: SQLite would wait a minute for a file that nobody is going to make."""
    file = settings.data_dir / "borgfleet.db"
    if not settings.database.url.get_secret_value() and not file.is_file():
        fail(f"there is no database at {file}", "name the --data-dir of `borgfleet up`, or set BORGFLEET_DATABASE__URL")


def _settings(data_dir: Path | None) -> Settings:
    config = os.environ.get("BORGFLEET_CONFIG")
    if config is not None and not Path(config).is_file():
        fail(f"BORGFLEET_CONFIG names {config}, and that is no file", "name the TOML file, or unset it", status=2)
    try:
        settings = Settings(data_dir=data_dir) if data_dir else Settings()
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        fail(f"the settings are wrong: {problems}", _SETTINGS_REMEDY, status=2)
    except (SettingsError, TOMLDecodeError, UnicodeError) as error:
        fail(f"the settings cannot be read: {error}", _SETTINGS_REMEDY, status=2)
    from shared.db.door import URL_REMEDY, translated  # noqa: PLC0415 - loads only where it runs

    try:
        with translated():
            settings.database_url()
    except Permanent as error:
        fail(error.message, error.remedy, status=2)
    except ValueError:  # no number for a port; its text may hold the password
        fail("the database's URL is none", URL_REMEDY, status=2)
    configure_logging(settings.log)
    return settings


def _execute(work: Coroutine[None, None, T]) -> T:
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _announce(url: str, token: str | None) -> None:
    typer.echo(f"Borgfleet is at {url} (API description: {url}/api/openapi.json)")
    _announce_token(token)


def _announce_token(token: str | None) -> None:
    if token is not None:
        typer.echo("The first API token, shown this once; keep it safe:")
        typer.echo(f"  {token}")
