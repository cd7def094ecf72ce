"""The command line's table of verbs."""

from __future__ import annotations

import typer

from borgfleet.cli import login, operate, recovery_kit
from borgfleet.cli.guard import GuardedGroup
from borgfleet.cli.lazy import loaded_from
from borgfleet.cli.recover import recover
from borgfleet.cli.restore import restore

app = typer.Typer(
    name="borgfleet",
    cls=GuardedGroup,
    help="Back up fleets of Linux servers with BorgBackup.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
operate.register(app)
app.add_typer(recovery_kit.app, name="recovery-kit")
app.command()(recover)
app.command()(restore)
login.register(app)
for _name, _help, _where in (
    ("server", "Managed servers.", ("server",)),
    ("tag", "Tags of servers.", ("tag",)),
    ("group", "Groups: servers selected by their tags.", ("group",)),
    ("pool", "Storage pools.", ("pool",)),
    ("repo", "Repositories.", ("repository",)),
    ("job", "Backup jobs: what is backed up, and how.", ("job",)),
    ("schedule", "When backup jobs run by themselves.", ("schedule",)),
    ("backup", "Backups (archives).", ("backup",)),
    ("proof", "Restore tests, and what they prove.", ("proof",)),
    ("alert", "What is wrong, and what was.", ("alert",)),
    ("threshold", "Where alerts begin.", ("alert", "thresholds")),
    ("maintenance", "Times in which no alert begins.", ("maintenance",)),
    ("channel", "Who is told of alerts.", ("channel",)),
    ("user", "People and services, and their roles.", ("user",)),
    ("token", "API tokens of programs.", ("token",)),
    ("approval", "What waits for a second person.", ("approval",)),
    ("audit", "Who did what, and whether that log is as it was written.", ("audit",)),
    ("task", "Tasks: queued, running and ended work.", ("task",)),
):
    app.add_typer(typer.Typer(no_args_is_help=True), cls=loaded_from(*_where), name=_name, help=_help)
app.add_typer(
    typer.Typer(no_args_is_help=True), cls=loaded_from("repository"), name="repository", help="The same as `repo`.",
    hidden=True,
)  # fmt: skip
app.add_typer(
    typer.Typer(no_args_is_help=True),
    cls=loaded_from("repository_maintenance"),
    name="upkeep",
    help="The former name of `repo maintenance`.",
    hidden=True,
)
