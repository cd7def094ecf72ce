"""Verbs that are loaded when they are used: `--help` and a worker need none of them, nor what they stand on."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from typer.core import TyperGroup
from typer.main import get_group_from_info
from typer.models import TyperInfo

if TYPE_CHECKING:
    from collections.abc import MutableMapping


def loaded_from(name: str, attribute: str = "app") -> type[TyperGroup]:
    """Return a group whose commands are those of a module of this package; it is imported when one is asked for."""

    class Loaded(TyperGroup):
        _found: MutableMapping[str, Any] | None = None

        @property
        def commands(self) -> MutableMapping[str, Any]:
            """The commands by name."""
            if self._found is None:
                module = import_module(f"borgfleet.cli.{name}")
                self._found = get_group_from_info(
                    TyperInfo(getattr(module, attribute)),
                    pretty_exceptions_short=True,
                    suggest_commands=True,
                    rich_markup_mode=self.rich_markup_mode,
                ).commands
            return self._found

        @commands.setter
        def commands(self, _none: MutableMapping[str, Any]) -> None:
            """Take what the table of verbs holds of them: nothing."""

    return Loaded
