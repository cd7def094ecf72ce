"""`borgfleet repo`."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from borgfleet.cli.ask import confirmed, secret
from borgfleet.cli.client import Client, fail
from borgfleet.cli.job import JOBS, change_job
from borgfleet.cli.lazy import loaded_from
from borgfleet.cli.output import AsJson, Follow, console, finish, show, show_one

_GIB = 1024**3
_CHANGEABLE = ("quota_bytes", "retention", "prune_after_backup", "compact_threshold_percent")
Quota = Annotated[float | None, typer.Option(help="How large it is meant to become, in GiB: an alert tells of it.")]
app = typer.Typer(no_args_is_help=True)
app.add_typer(
    typer.Typer(no_args_is_help=True),
    cls=loaded_from("repository_maintenance"),
    name="maintenance",
    help="When repositories are pruned, compacted and checked by themselves.",
)


@app.command()
def add(server: str, name: str, pool: str, quota: Quota = None, as_json: AsJson = False) -> None:
    """Add a repository for a server in a storage pool."""
    client = Client()
    body = {
        "name": name,
        "server_id": client.named("/api/servers", server, "server")["id"],
        "quota_bytes": _bytes(quota),
        "pool_id": client.named("/api/storage-pools", pool, "pool")["id"],
    }
    show_one(client.post("/api/repositories", body), as_json=as_json)


@app.command()
def quota(server: str, name: str, gib: Annotated[float, typer.Argument(help="In GiB; 0 takes it back.")]) -> None:
    """Set how large a repository may become: an alert tells of it, and a run that goes beyond it is ended."""
    client = Client()
    change(client, named(client, server, name), quota_bytes=_bytes(gib))
    console.print(f"{server}/{name}: {f'{gib:g} GiB' if gib else 'no quota'}")


def _bytes(gib: float | None) -> int | None:
    if gib is not None and not math.isfinite(gib):
        fail(f"a quota of {gib:g} GiB is no size", "give a number of GiB, or 0 for none")
    return round(gib * _GIB) if gib else None


Keep = Annotated[int, typer.Option()]


@app.command()
def retention(
    server: str, name: str, last: Keep = 0, within_hours: Keep = 0, hourly: Keep = 0, daily: Keep = 0, weekly: Keep = 0,
    monthly: Keep = 0, quarterly: Keep = 0, yearly: Keep = 0,
    zone: Annotated[str, typer.Option(help="Whose days and weeks.")] = "UTC",
    job: Annotated[str | None, typer.Option(help="For the backups of this backup job alone.")] = None,
    save: Annotated[bool, typer.Option(help="Without, only shown: nothing is changed.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show what a retention would keep, by which rule, and what would go; with --save, let prunes follow it."""
    client = Client()
    repository = named(client, server, name)
    policy: dict[str, Any] = {
        "keep_last": last, "keep_within_hours": within_hours, "keep_hourly": hourly, "keep_daily": daily,
        "keep_weekly": weekly, "keep_monthly": monthly, "keep_quarterly_3monthly": quarterly, "keep_yearly": yearly,
        "zone": zone,
    }  # fmt: skip
    definition = client.named(JOBS, job, "job") if job else None
    place = f"{JOBS}/{definition['id']}" if definition else f"/api/repositories/{repository['id']}"
    preview = client.post(f"{place}/retention/preview", policy)
    if save and definition:
        change_job(client, definition, retention=policy)
    elif save:
        change(client, repository, retention=policy)
    if as_json:
        show_one(preview, as_json=True)
        return
    columns = (("BACKUP", "name"), ("OBSERVED", "created_at"), ("SIZE", "original_size"), ("KEPT BY", "kept_by"))
    show(
        [row | {"kept_by": row["kept_by"] or "nothing: it goes"} for row in preview["backups"]], columns, as_json=False
    )
    limit = "; more than the deletion limit allows at once" if preview["deletion_limit_reached"] else ""
    console.print(f"{preview['kept']} stay, {preview['dropped']} go{limit}")


@app.command()
def prune(
    server: str, name: str, follow: Follow = True, as_json: AsJson = False,
    override_deletion_limit: Annotated[
        bool,
        typer.Option(
            "--override-deletion-limit",
            "--past-the-brake",
            help="Even if more would be deleted at once than the deletion limit allows.",
        ),
    ] = False,
) -> None:  # fmt: skip
    """Delete what a repository's retention does not keep, and compact."""
    client = Client()
    path = f"/api/repositories/{named(client, server, name)['id']}/prune"
    finish(
        client, client.post(path, {"override_deletion_limit": override_deletion_limit}), follow=follow, as_json=as_json
    )


@app.command()
def compact(server: str, name: str, follow: Follow = True, as_json: AsJson = False) -> None:
    """Free what deleted backups held."""
    client = Client()
    path = f"/api/repositories/{named(client, server, name)['id']}/compact"
    finish(client, client.post(path, {}), follow=follow, as_json=as_json)


@app.command()
def check(
    server: str, name: str, follow: Follow = True, as_json: AsJson = False,
    depth: Annotated[str, typer.Option(help="segments, archives, or data: all of it is read.")] = "archives",
    budget: Annotated[int | None, typer.Option(help="Seconds; the next check goes on where this one ended.")] = None,
) -> None:  # fmt: skip
    """Look whether what a repository holds is sound; nothing is repaired."""
    client = Client()
    path = f"/api/repositories/{named(client, server, name)['id']}/check"
    finish(client, client.post(path, {"depth": depth, "budget_seconds": budget}), follow=follow, as_json=as_json)


@app.command()
def unfreeze(server: str, name: str, reason: str, as_json: AsJson = False) -> None:
    """Let a frozen repository be pruned again; what is lost stays marked until it is seen. Who and why is kept."""
    client = Client()
    path = f"/api/repositories/{named(client, server, name)['id']}/unfreeze"
    show_one(client.post(path, {"reason": reason}), as_json=as_json)


@app.command("accept-restored")
def accept_restored(
    reason: Annotated[str, typer.Argument(help="Why: it is recorded.")],
    server: Annotated[str, typer.Argument(help="Of one repository; without it, of all that wait for it.")] = "",
    name: Annotated[str, typer.Argument(help="The repository's name on that server.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say that what people had set since the database's backup (holds, accepted backups, retention) is set again."""
    client = Client()
    if server:
        pending = [named(client, server, name)]
    else:
        every = client.every("/api/repositories")
        pending = [one for one in every if one["restored_at"] and not one["restored_accepted_at"]]
    path = "/api/repositories/{}/accept-restored"
    accepted = [client.post(path.format(one["id"]), {"reason": reason}) for one in pending]
    columns = (
        ("SERVER", "server"),
        ("NAME", "name"),
        ("RESTORED", "restored_at"),
        ("ACCEPTED", "restored_accepted_at"),
    )
    show(accepted, columns, as_json=as_json)


@app.command()
def recover(
    server: str, name: str,
    reason: Annotated[str, typer.Argument(help="Why: it is recorded.")] = "",
    follow: Follow = True, as_json: AsJson = False,
    preview: Annotated[bool, typer.Option(help="Only say what it would do: nothing is changed.")] = False,
) -> None:  # fmt: skip
    """Put back what was changed without our doing: the key, deleted data, every archive on record."""
    client = Client()
    path = f"/api/repositories/{named(client, server, name)['id']}/recover"
    if preview:
        show_one(client.get(path), as_json=as_json)
        return
    if not reason:
        fail("a recovery needs a reason: it is recorded", "borgfleet repo recover SERVER NAME 'why'")
    finish(client, client.post(path, {"reason": reason}), follow=follow, as_json=as_json)


@app.command("import")
def import_repository(
    server: str, pool: str,
    path: Annotated[str, typer.Argument(help="The repository's directory on the pool's node.")],
    name: Annotated[str | None, typer.Option(help="What it is called from now on; default: its directory's.")] = None,
    passphrase_file: Annotated[Path | None, typer.Option(help="Read the passphrase from a file.")] = None,
    passphrase_fd: Annotated[int | None, typer.Option(help="Read the passphrase from this descriptor.")] = None,
    keyfile: Annotated[Path | None, typer.Option(help="Its key file, if the key is not in the repository.")] = None,
    unencrypted: Annotated[bool, typer.Option("--unencrypted", help="It is meant to be unencrypted.")] = False,
    follow: Follow = True, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Import a repository that plain borg made; nothing in it is changed. The passphrase is asked for, or read."""
    client = Client()
    body: dict[str, Any] = {
        "server_id": client.named("/api/servers", server, "server")["id"],
        "pool_id": client.named("/api/storage-pools", pool, "pool")["id"],
        "path": path, "name": name, "unencrypted": unencrypted,
    }  # fmt: skip
    if keyfile is not None:
        body["keyfile"] = _text_of(keyfile)
    body["passphrase"] = _passphrase(passphrase_file, passphrase_fd, optional=unencrypted)
    finish(client, client.post("/api/repositories/import", body), follow=follow, as_json=as_json)


def _passphrase(file: Path | None, descriptor: int | None, *, optional: bool) -> str | None:
    """Return a passphrase that stands in no argument, which everybody on this machine could read."""
    if file is not None:
        return _text_of(file).rstrip("\r\n")
    if descriptor is not None:
        try:
            with os.fdopen(descriptor, "r", closefd=False) as stream:
                return stream.readline().rstrip("\r\n")
        except (OSError, ValueError) as error:
            fail(f"descriptor {descriptor} cannot be read: {error}", "open it for this command: 3< FILE")
    return None if optional else secret("Passphrase of the repository")


def _text_of(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file} cannot be read: {error}", "give a file with the text in it")


@app.command()
def refresh(server: str, name: str, follow: Follow = True, as_json: AsJson = False) -> None:
    """Look again at an imported repository that is read only: what plain borg has done there since is taken in."""
    client = Client()
    path = f"/api/repositories/{named(client, server, name)['id']}/refresh"
    finish(client, client.post(path, {}), follow=follow, as_json=as_json)


@app.command()
def manage(
    server: str, name: str, reason: Annotated[str, typer.Argument(help="Why: it is recorded.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    follow: Follow = True, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take over an imported repository: from now on Borgfleet writes to it. Switch plain borg's own jobs off before."""
    client = Client()
    repository = named(client, server, name)
    if not yes and not confirmed(f"Does no other borg write to {repository['path']} any more?"):
        raise typer.Exit(1)
    path = f"/api/repositories/{repository['id']}/manage"
    finish(client, client.post(path, {"reason": reason}), follow=follow, as_json=as_json)


@app.command("confirm-retention")
def confirm_retention(
    server: str, name: str, reason: Annotated[str, typer.Argument(help="Why: it is recorded.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Let prunes take what was imported, by the repository's retention; until then all of it stays."""
    client = Client()
    repository = named(client, server, name)
    question = f"May prunes delete imported backups of {server}/{name} that its retention does not keep?"
    if not yes and not confirmed(question):
        raise typer.Exit(1)
    show_one(
        client.post(f"/api/repositories/{repository['id']}/confirm-retention", {"reason": reason}), as_json=as_json
    )


@app.command("list")
def list_repositories(as_json: AsJson = False) -> None:
    """List the repositories."""
    columns = (
        ("SERVER", "server"), ("NAME", "name"), ("MODE", "mode"), ("ARCHIVES", "archive_count"),
        ("ORIGINAL", "original_size"), ("ON DISK", "deduplicated_size"), ("QUOTA", "quota_bytes"),
        ("PRUNED", "pruned_at"), ("COMPACTED", "compacted_at"), ("CHECKED", "checked_at"), ("RESTORED", "restored_at"),
        ("DAMAGE", "damage"), ("PATH", "path"),
    )  # fmt: skip
    show(Client().every("/api/repositories"), columns, as_json=as_json)


def change(client: Client, repository: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Change some of what can be changed of a repository, and leave the rest as it is."""
    kept = {name: repository[name] for name in _CHANGEABLE}
    changed: dict[str, Any] = client.put(f"/api/repositories/{repository['id']}", kept | changes, repository["version"])
    return changed


def named(client: Client, server: str, name: str) -> dict[str, Any]:
    """Return a repository by its server and name."""
    matching = (r for r in client.every("/api/repositories") if (r["server"], r["name"]) == (server, name))
    found = next(matching, None)
    return found or fail(f"{server} has no repository {name}", "`borgfleet repo list` shows what there is")
