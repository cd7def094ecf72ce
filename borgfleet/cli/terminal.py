"""How texts reach a terminal: letter by letter, with their control characters shown."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from rich.console import Console
from typing_extensions import override

from borgfleet.cli.streams import EXIT_BROKEN_PIPE, leave
from shared.domain.text import clean

_LONGEST = 100_000


class Plain(Console):
    """Prints texts letter by letter: no `:x:` becomes an emoji, no `[bold]` a style; styles are given as such."""

    def __init__(self, *, stderr: bool = False) -> None:
        """Print to standard output, or to standard error."""
        stream = sys.stderr if stderr else sys.stdout
        terminal = stream is not None and not stream.closed and stream.isatty()  # pyright: ignore[reportUnnecessaryComparison] - None where the descriptor is closed
        # Into a pipe or a file no table is squeezed into 80 columns.
        width = None if terminal or stderr else 240
        super().__init__(stderr=stderr, width=width, emoji=False, markup=False, highlight=False)

    @override
    def print(self, *objects: Any, **options: Any) -> None:
        """Print; what comes from outside shows its control characters instead of sending them to the terminal."""
        super().print(*(clean(one, _LONGEST) if isinstance(one, str) else one for one in objects), **options)

    @override
    def on_broken_pipe(self) -> NoReturn:
        """End without a word, as with `| head`: nobody reads on."""
        self.quiet = True
        leave(EXIT_BROKEN_PIPE)
