"""What the command line says of a foreseeable mistake of its environment: one sentence and a status, no traceback."""

from __future__ import annotations

import io
import sys
from typing import Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from borgfleet.cli.failing import EXIT_FAILED, fail
from borgfleet.cli.streams import EXIT_BROKEN_PIPE, EXIT_INTERRUPTED, leave
from shared.errors import AppError


class GuardedGroup(TyperGroup):
    """The top of the command line: whatever a verb meets in its environment ends here."""

    @override
    def invoke(self, ctx: Any) -> Any:
        """Run a verb, and say in a sentence what of its environment is wrong."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a terminal without UTF-8 gets `\\u2192`, and no second error
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except AppError as error:
            fail(error.message, error.remedy)
        except typer.Abort as error:  # Ctrl-C, or the end of the input, at a question
            typer.echo("ended: the question was not answered", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from error
        except BrokenPipeError:
            leave(EXIT_BROKEN_PIPE)  # nobody reads on, as with `| head`: not worth a word
        except UnicodeError:
            fail("a file or an argument is not UTF-8", "convert it, or give another one")
        except OSError as error:
            place = f": {error.filename}" if error.filename else ""
            fail(f"{error.strerror or error}{place}", "see that it exists and that you may use it", EXIT_FAILED)
