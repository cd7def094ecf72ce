"""The `borgfleet` command."""

from __future__ import annotations

import contextlib
import sys

from borgfleet.cli.streams import EXIT_BROKEN_PIPE, EXIT_INTERRUPTED, leave, open_streams


def main() -> None:
    """Run the command line; whatever becomes of its outputs, it ends with a status and without a traceback."""
    open_streams()
    try:
        try:
            if sys.argv[1:2] == ["health"] and "--help" not in sys.argv:
                from borgfleet.health import main as ask  # noqa: PLC0415 - light: none of what is below

                sys.exit(ask(sys.argv[2:]))
            from borgfleet.cli.app import app  # noqa: PLC0415 - --help stays fast, and Ctrl-C is heard while it loads

            app()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
    except KeyboardInterrupt:
        leave(EXIT_INTERRUPTED)
    except BrokenPipeError:
        leave(EXIT_BROKEN_PIPE)
    except OSError as error:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"error: the output cannot be written: {error.strerror}\n")
            sys.stderr.write("  see where it goes, and whether its disk is full\n")
        leave(1)


if __name__ == "__main__":
    main()
