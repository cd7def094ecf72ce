"""Borgfleet itself."""

from __future__ import annotations

from typing import ClassVar

from shared.events.base import Command


class SelfBackup(Command):
    """Back up the database, the settings and the host keys of Borgfleet into its own repository."""

    subject: ClassVar[str] = "self.backup"
