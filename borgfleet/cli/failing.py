"""How a verb ends that cannot do what it was asked: one sentence, what to do about it, and a status."""

from __future__ import annotations

from typing import NoReturn

import typer

from shared.domain.text import clean

EXIT_FAILED = 1
EXIT_WARNING = 3
EXIT_NO_API = 4
EXIT_WAITS = 8
"""It was asked for, and another person has to agree."""
LONGEST = 2000
"""Of a sentence, whatever a server or a variable made of it."""


def fail(message: str, remedy: str = "", status: int = EXIT_FAILED) -> NoReturn:
    """End with a message and what to do about it."""
    # Loaded for a failure alone: each worker has this module, and has no use for them.
    from rich.text import Text  # noqa: PLC0415 - see above

    from borgfleet.cli.terminal import Plain  # noqa: PLC0415 - see above

    errors = Plain(stderr=True)
    errors.print(Text.assemble(("error:", "bold red"), " ", clean(message, LONGEST)), soft_wrap=True)
    if remedy:
        errors.print(Text.assemble("  ", ("→", "dim"), " ", clean(remedy, LONGEST)), soft_wrap=True)
    raise typer.Exit(status)
