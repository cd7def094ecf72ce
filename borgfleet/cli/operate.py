"""The verbs that run Borgfleet: up, run, migrate, doctor, recovery-kit."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from pydantic import ValidationError

from borgfleet.cli.client import fail
from shared.config.settings import Settings
from shared.errors import AppError
from shared.telemetry.logging import configure_logging

if TYPE_CHECKING:
    from collections.abc import Coroutine

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Default: /var/lib/borgfleet.")]


def register(app: typer.Typer) -> None:
    """Add these verbs at the top level."""
    for command in (up, run, migrate, doctor, recovery_kit):
        app.command()(command)


def up(data_dir: DataDir = None) -> None:
    """Run everything in one process: all services, nats-server, SQLite, the storage sshd."""
    from borgfleet.standalone import up as stand_up  # noqa: PLC0415 - the services load only where they run

    settings = _settings(data_dir)
    _execute(stand_up(settings, _announce))


def run(
    service: Annotated[str, typer.Argument(help="api, backup, scheduler, setup or stats")], data_dir: DataDir = None
) -> None:
    """Run one service against NATS and MariaDB."""
    from borgfleet.bootstrap import run as run_services  # noqa: PLC0415 - loads only where it runs
    from borgfleet.registry import SERVICES  # noqa: PLC0415 - loads only where it runs

    if service not in SERVICES:
        fail(f"there is no service named {service}", f"choose one of {', '.join(SERVICES)}", status=2)
    _execute(run_services(_settings(data_dir), [service]))


def migrate(data_dir: DataDir = None) -> None:
    """Create or update the schema, the streams, the fleet's key and the first API token."""
    from borgfleet.preparation import prepare  # noqa: PLC0415 - loads only where it runs

    settings = _settings(data_dir)

    async def prepared() -> None:
        _announce_token(await prepare(settings))

    _execute(prepared())
    typer.echo("schema, streams and keys are in place")


def doctor(data_dir: DataDir = None) -> None:
    """Print the settings without their secrets, and check everything they point at."""
    from borgfleet.doctor import examine  # noqa: PLC0415 - loads only where it runs

    settings = _settings(data_dir)
    healthy = asyncio.run(examine(settings, typer.echo))
    raise typer.Exit(0 if healthy else 1)


def recovery_kit(
    data_dir: DataDir = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Print every repository's path and passphrase, to keep in a safe place: with them plain borg restores all."""
    from borgfleet.recovery import kit, kit_as_text  # noqa: PLC0415 - loads only where it runs

    repositories = asyncio.run(kit(_settings(data_dir)))
    typer.echo(json.dumps(repositories) if as_json else kit_as_text(repositories))


def _settings(data_dir: Path | None) -> Settings:
    try:
        settings = Settings(data_dir=data_dir) if data_dir else Settings()
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        fail(f"the settings are wrong: {problems}", "correct BORGFLEET_... or the TOML file", status=2)
    configure_logging(settings.log)
    return settings


def _execute(work: Coroutine[None, None, None]) -> None:
    try:
        asyncio.run(work)
    except AppError as error:
        _refuse(error)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _refuse(error: AppError) -> NoReturn:
    fail(error.message, error.remedy)


def _announce(url: str, token: str | None) -> None:
    typer.echo(f"Borgfleet is at {url} (API description: {url}/api/openapi.json)")
    _announce_token(token)


def _announce_token(token: str | None) -> None:
    if token is not None:
        typer.echo("The first API token, shown this once; keep it safe:")
        typer.echo(f"  {token}")
