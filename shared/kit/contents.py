"""What a recovery kit holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class KitRepository:
    """One repository: where it is, and what opens it."""

    id: str
    """Ours."""
    server: str
    name: str
    node: str
    path: str
    borg_id: str
    """64 hexadecimal digits."""
    encryption: str
    passphrase: str = field(repr=False)
    key: str = field(default="", repr=False)
    """As `borg key export` writes it; empty of a repository whose key lies elsewhere, or that has none."""
    problem: str = ""
    """Why this may not open it; empty if nothing speaks against it."""
    own: bool = False
    """It holds the backups of Borgfleet itself."""

    @property
    def label(self) -> str:
        """What people call it."""
        return f"{self.server} - {self.name}"


@dataclass(frozen=True, slots=True)
class Kit:
    """A whole kit."""

    made_at: str
    """ISO 8601, UTC."""
    version: str
    """Of Borgfleet."""
    repositories: tuple[KitRepository, ...]
    master_key: str = field(repr=False)
    """The content of the master key file."""
    settings: dict[str, Any]
    """Of the machine that made it, without passwords."""
    fingerprints: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    """Of what was read for each repository, by our id; see `shared/kit/cover.py`. Not part of the file."""

    @property
    def own(self) -> tuple[KitRepository, ...]:
        """The repositories that hold the backups of Borgfleet itself."""
        return tuple(one for one in self.repositories if one.own)

    @property
    def problems(self) -> tuple[str, ...]:
        """What people have to know before they rely on it, a line each."""
        return tuple(f"{one.label}: {one.problem}" for one in self.repositories if one.problem)
