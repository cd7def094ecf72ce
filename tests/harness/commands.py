"""A command that a test needs: what it said is shown when it fails, and kept from the screen when it does not."""

from __future__ import annotations

import subprocess


class CommandFailedError(Exception):
    """A command ended badly; holds its status and the end of what it said."""


def said(argv: list[str], *, given: str = "") -> str:
    """Run a command to its end and return its output; CommandFailedError tells both outputs."""
    done = subprocess.run(argv, input=given, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise CommandFailedError(f"{argv}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout
