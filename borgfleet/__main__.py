"""The `borgfleet` command."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from borgfleet.cli.app import app  # noqa: PLC0415 - --help stays fast

    app()


if __name__ == "__main__":
    main()
