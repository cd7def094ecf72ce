"""The verbs of the recovery kit: export it as one encrypted file, print it, take passphrases back from it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from borgfleet.cli.failing import EXIT_FAILED, fail
from borgfleet.cli.operate import BreakGlass, DataDir, any_settings, execute, local_settings
from shared.errors import AppError, Invalid

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.kit.contents import Kit

app = typer.Typer(
    help="What opens every repository without Borgfleet: keep it in a safe place.", invoke_without_command=True
)
Identity = Annotated[
    Path | None, typer.Option("--identity", "-i", help="The file of the private key that opens the kit.")
]
PassphraseFile = Annotated[Path | None, typer.Option("--passphrase-file", help="A file that holds the passphrase.")]


@app.callback()
def recovery_kit(
    ctx: typer.Context,
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    taken_from: Annotated[
        str, typer.Option("--import", help="A kit's file, or - for standard input: take its passphrases back.")
    ] = "",
    break_glass: BreakGlass = "",
) -> None:
    """Print every repository's path and passphrase, or, with a further verb, make and test a file of them."""
    from borgfleet.recovery import kit, kit_as_text  # noqa: PLC0415 - loads only where it runs

    if ctx.invoked_subcommand is not None:
        return
    settings = local_settings(data_dir)
    if taken_from:
        _import_kit(settings, taken_from)
        return
    repositories = execute(kit(settings, break_glass))
    typer.echo(json.dumps(repositories) if as_json else kit_as_text(repositories))


@app.command("export")
def export_kit(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to make.")],
    recipients: Annotated[
        list[str] | None, typer.Option("--recipient", "-r", help="A public key, age1...; may be given several times.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    plain: Annotated[bool, typer.Option("--plain", help="Do not encrypt it.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    break_glass: BreakGlass = "",
    data_dir: DataDir = None,
) -> None:
    """Make a kit as one file: encrypted for public keys of age, or with a passphrase."""
    from borgfleet.kit_files import refuse_existing, write_whole  # noqa: PLC0415 - loads only where it runs
    from borgfleet.recovery import export  # noqa: PLC0415 - loads only where it runs
    from shared.kit.packed import packed  # noqa: PLC0415 - loads only where it runs
    from shared.secret_files import read_secret_text  # noqa: PLC0415 - loads only where it runs
    from shared.secrets.age import sealed_for, sealed_with  # noqa: PLC0415 - loads only where it runs

    if [bool(recipients), passphrase_file is not None, plain].count(True) != 1:
        fail("say how the kit is encrypted", "give --recipient, or --passphrase-file, or --plain: one of them", 2)
    settings = local_settings(data_dir)
    refuse_existing(output, overwrite=overwrite)
    passphrase = read_secret_text(passphrase_file, "passphrase file") if passphrase_file else ""

    def write(kit: Kit) -> None:
        data = packed(kit)
        if not plain:
            data = sealed_for(data, recipients) if recipients else sealed_with(data, passphrase)
        write_whole(output, data, overwrite=overwrite)

    made = execute(export(settings, write, break_glass))
    _tell(made, output, plain=plain)


@app.command("test")
def try_file(
    file: Annotated[Path, typer.Argument(help="The kit.")],
    identity: Identity = None,
    passphrase_file: PassphraseFile = None,
    data_dir: DataDir = None,
) -> None:
    """Try whether a kit opens each repository on this node; nothing in a repository is changed."""
    from borgfleet.kit_files import read_kit_file  # noqa: PLC0415 - loads only where it runs
    from borgfleet.kit_trial import try_kit, what_it_lacks  # noqa: PLC0415 - loads only where it runs
    from borgfleet.standalone import own_borg  # noqa: PLC0415 - loads only where it runs

    settings = any_settings(data_dir)
    kit = read_kit_file(file, identity, passphrase_file)
    typer.echo(f"{file}: made {kit.made_at} by Borgfleet {kit.version}, {len(kit.repositories)} repositories")
    tried: list[bool | None] = []
    for one in try_kit(kit, settings.backup.node, own_borg(settings.backup.borg)):
        tried.append(one.opened)
        word = {True: "ok      ", False: "PROBLEM ", None: "elsewhere"}[one.opened]
        typer.echo(f"{word} {one.label}: {one.text}")
    complete = True
    try:
        lacking = execute(what_it_lacks(kit, settings))
    except AppError as error:
        typer.echo(f"note: whether it holds all repositories could not be seen: {error.message}", err=True)
    else:
        complete = not lacking
        for where in lacking:
            typer.echo(f"PROBLEM  {where}: this kit has not what opens it now: export a new one")
    if True not in tried:
        typer.echo("none of its repositories could be tried on this node")
    raise typer.Exit(0 if complete and True in tried and False not in tried else EXIT_FAILED)


def _tell(made: Kit, output: Path, *, plain: bool) -> None:
    typer.echo(f"{output} opens {len(made.repositories)} repositories; keep it away from this machine, and test it")
    if plain:
        typer.echo("warning: it is not encrypted. Whoever reads it can read all backups.", err=True)
    if not made.own:
        typer.echo("note: it knows of no backup of Borgfleet's own database; none has been made yet", err=True)
    if made.problems:
        for problem in made.problems:
            typer.echo(f"PROBLEM  {problem}: keep an older kit that opens it", err=True)
        raise typer.Exit(EXIT_FAILED)


def _import_kit(settings: Settings, source: str) -> None:
    """Take passphrases back from a kit; say of each repository what became of it, and never a passphrase."""
    from borgfleet.kit_import import read_kit, take_back  # noqa: PLC0415 - loads only where it runs

    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text()
        entries = read_kit(text)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"the recovery kit cannot be read: {error}", "name the file that holds it, or - for standard input")
    except Invalid as error:
        fail(error.message, error.remedy)
    taken = execute(take_back(settings, entries))
    for one in taken:
        typer.echo(f"{one.entry.server} - {one.entry.repository}: {one.text}")
    raise typer.Exit(0 if all(one.done for one in taken) else 1)
