"""The command line's table of verbs."""

from __future__ import annotations

import typer

from borgfleet.cli import (
    alert,
    backup,
    channel,
    job,
    maintenance,
    operate,
    pool,
    repository,
    schedule,
    server,
    task,
    upkeep,
)
from borgfleet.cli.guard import GuardedGroup

app = typer.Typer(
    name="borgfleet",
    cls=GuardedGroup,
    help="Back up fleets of Linux servers with BorgBackup.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
operate.register(app)
app.add_typer(server.app, name="server", help="Managed servers.")
app.add_typer(pool.app, name="pool", help="Storage pools.")
app.add_typer(repository.app, name="repo", help="Repositories.")
app.add_typer(job.app, name="job", help="Backup jobs: what is backed up, and how.")
app.add_typer(schedule.app, name="schedule", help="When backup jobs run by themselves.")
app.add_typer(upkeep.app, name="upkeep", help="When repositories are pruned, compacted and checked by themselves.")
app.add_typer(backup.app, name="backup", help="Backups (archives).")
app.add_typer(alert.app, name="alert", help="What is wrong, and what was.")
app.add_typer(alert.thresholds, name="threshold", help="Where alerts begin.")
app.add_typer(maintenance.app, name="maintenance", help="Times in which no alert begins.")
app.add_typer(channel.app, name="channel", help="Who is told of alerts.")
app.add_typer(task.app, name="task", help="Tasks: queued, running and ended work.")
