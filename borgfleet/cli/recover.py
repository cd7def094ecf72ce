"""`borgfleet recover`: Borgfleet itself comes back, from its recovery kit and its own backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from borgfleet.cli.operate import DataDir, any_settings, execute
from borgfleet.cli.recovery_kit import Identity, PassphraseFile


def recover(
    kit: Annotated[Path, typer.Option("--kit", help="The recovery kit.")],
    repository: Annotated[Path, typer.Option("--repository", help="The repository of Borgfleet's own backups.")],
    identity: Identity = None,
    passphrase_file: PassphraseFile = None,
    archive: Annotated[str, typer.Option("--archive", help="The name of a backup; default: the newest.")] = "",
    data_dir: DataDir = None,
) -> None:
    """Make the database and the master key of a lost installation anew; where there is one, nothing is touched."""
    from borgfleet.comeback import recover as come_back  # noqa: PLC0415 - loads only where it runs
    from borgfleet.kit_files import read_kit_file  # noqa: PLC0415 - loads only where it runs
    from borgfleet.standalone import own_borg  # noqa: PLC0415 - loads only where it runs

    settings = any_settings(data_dir)
    read = read_kit_file(kit, identity, passphrase_file)
    borg = own_borg(settings.backup.borg)
    made = execute(come_back(settings, read, repository.absolute(), archive, borg, typer.echo))
    typer.echo(f"recovered from {made.archive}, made {made.made_at}")
    typer.echo(f"{made.jobs} jobs had not ended then, and are marked as lost")
    typer.echo(f"{made.repositories} repositories are frozen until their next backup has compared them")
    typer.echo("start the services now; then look at docs/operations/restoring.md, Restore Borgfleet itself")
