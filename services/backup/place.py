"""Where a repository lies, whose it is, and what opens it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from shared.borg.environment import relocated, unencrypted
from shared.domain.importing import UNENCRYPTED

if TYPE_CHECKING:
    import uuid

    from services.backup.node.pools import PoolPlace


@dataclass(frozen=True, slots=True)
class RepositoryPlace:
    """A repository: where it lies, and what opens it."""

    id: uuid.UUID
    server_id: uuid.UUID
    path: str
    encryption: str
    passphrase: str
    label: str
    compact_threshold: int = 10
    """Percent of a segment that have to be free for it to be rewritten."""
    to_server: bool = True
    """Its server may write to it meanwhile; never while something is deleted or compacted."""
    quota: int | None = None
    """How many bytes it may take: a server's session that goes beyond is ended."""
    pool: PoolPlace | None = None
    borg_id: str | None = None
    """Which one borg made; None until it is known."""
    made: bool = False
    """It was made once, so it is never made again."""
    base_dir: str | None = None
    """Where borg remembers what it meets of a view; None: of repositories, with all that the node knows."""
    imported: bool = False
    """Plain borg made it, so that it may lie anywhere."""
    read_only: bool = False
    """Nothing is ever written to it."""
    key: str = ""
    """The text of its key file, where its key is not in itself."""
    relocated: bool = False
    """It is expected that this node's borg knows it by another place."""
    taken_over: bool = False
    """No run of ours has written to it yet: its server may know it by another place."""

    def __repr__(self) -> str:
        """Show no passphrase."""
        return f"RepositoryPlace({self.label})"

    @property
    def unencrypted(self) -> bool:
        """It hides nothing, and a person knows: else borg asks."""
        return self.encryption in UNENCRYPTED or not self.passphrase

    @property
    def expected(self) -> tuple[tuple[str, str], ...]:
        """What this node's borg does not ask about it, as variables."""
        known = (unencrypted() if self.unencrypted else {}) | (relocated() if self.relocated else {})
        return tuple(known.items())

    @property
    def home(self) -> str:
        """Its pool's directory."""
        return self.pool.path if self.pool else str(PurePosixPath(self.path).parent.parent)

    @property
    def disk(self) -> str:
        """The directory on whose disk it lies: its pool, or where it was imported from."""
        inside = not self.imported or self.path.startswith(f"{self.home}/")
        return self.home if inside else str(PurePosixPath(self.path).parent)

    @property
    def lease(self) -> str:
        """The name of the lease that makes one writer."""
        return f"repository:{self.id.hex}"
