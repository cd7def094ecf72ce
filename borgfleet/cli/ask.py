"""The questions of the command line: every one is asked here, so that an end without an answer is told from a no."""

from __future__ import annotations

import sys

import typer


def secret(question: str) -> str:
    """Ask for a text without showing it; typer.Abort where there is no answer. Read from a pipe as it comes."""
    if sys.stdin.isatty():
        answer: str = typer.prompt(question, hide_input=True)
        return answer
    line = sys.stdin.readline()
    if not line.strip():
        raise typer.Abort
    return line.rstrip("\r\n")


def confirmed(question: str) -> bool:
    """Ask for a yes; typer.Abort where there is no answer."""
    try:
        return typer.confirm(question, default=False)
    except typer.Abort:
        typer.echo(err=True)  # the cursor stands behind the question
        raise
