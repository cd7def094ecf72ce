"""`borgfleet audit`: who did what, and whether the log is as it was written."""

from __future__ import annotations

import json
from typing import Annotated, Any, cast

import typer

from borgfleet.cli.client import Client
from borgfleet.cli.download import STANDARD_OUTPUT, target
from borgfleet.cli.failing import fail
from borgfleet.cli.output import AsJson, console, show

app = typer.Typer(no_args_is_help=True)
_PATH = "/api/audit"
_LONGEST_END = 1000
_COLUMNS = (
    ("WHEN", "at"), ("WHO", "who"), ("DID", "action"), ("TO", "noun"), ("NAME", "target_name"), ("OUTCOME", "outcome"),
    ("FROM", "address"),
)  # fmt: skip
_SAID = {
    "row_changed": "a row is not as it was written",
    "rows_differ": "rows were added or taken away",
    "seal_changed": "a seal is not as it was written",
    "seal_missing": "a seal was taken away",
    "key_missing": "the master key that this was written with is not here",
}


@app.command("list")
def list_audit(
    actor: Annotated[str | None, typer.Option(help="What this user or token did.")] = None,
    action: Annotated[str | None, typer.Option(help="As delete_backup.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only what was refused.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500, help="The newest so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List who did what, newest first."""
    outcome = "refused" if refused else None
    page: Any = Client().get(_PATH, actor=actor, action=action, outcome=outcome, limit=limit)
    rows = [
        row | {"who": row["actor_name"] or row["actor_kind"], "outcome": row["code"] or row["outcome"]}
        for row in page["items"]
    ]
    show(rows, _COLUMNS, as_json=as_json)


@app.command()
def export(
    output: Annotated[str, typer.Option(help="A file that is not there yet; - is standard output.")] = STANDARD_OUTPUT,
    after: Annotated[int, typer.Option(min=0, help="Only what follows this seal.")] = 0,
) -> None:
    """Write the log as lines of JSON, each seal after its rows; the last line is of kind `end`."""
    last = b""
    with target(output) as (file, _):
        for part in Client().download(f"{_PATH}/export?after={after}"):
            file.write(part)
            last = (last + part)[-_LONGEST_END:]
        if not _is_end(last):
            fail("the export broke off, and is not whole", "export it again")


def _is_end(text: bytes) -> bool:
    """Tell whether an export ends as one that is whole does."""
    line = text.rpartition(b"\n")[0].rpartition(b"\n")[2]
    try:
        said: Any = json.loads(line)
    except ValueError:
        return False
    return text.endswith(b"\n") and isinstance(said, dict) and cast("dict[str, Any]", said).get("kind") == "end"


@app.command()
def verify() -> None:
    """Verify each row and seal; the command fails where one was changed, taken away or added."""
    client, seals, rows, after = Client(), 0, 0, 0
    while True:
        part: Any = client.get(f"{_PATH}/verify", after=after)
        seals, rows = seals + part["seals"], rows + part["rows"]
        if part["broken"] is not None:
            broken = part["broken"]
            where = f"seal {broken['seal']}" if broken["seal"] is not None else "not sealed yet"
            row = f", row {broken['entry']}" if broken["entry"] else ""
            console.print(f"broken: {_SAID[broken['what']]} ({where}{row})", soft_wrap=True)
            raise typer.Exit(1)
        if part["next"] is None:
            break
        after = part["next"]
    console.print(f"whole: {rows} rows under {seals} seals", soft_wrap=True)
