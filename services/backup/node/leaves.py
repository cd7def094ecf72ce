"""The leaves to work on repositories, extended and ended where no heartbeat waits for the state directory's disk.

A leave that cannot be extended runs out by itself, and guard.sh and the fence end what works under it. What was asked
for before a disk hung is worth no more when it answers again: see ADR 51.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from services.backup.node.apart import apart, start

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable
    from concurrent.futures import Future

    from services.backup.ports import RepositoryPlace, Storage
    from shared.borg.node import BorgNode, Grant
    from shared.runtime.context import Context

_log = structlog.get_logger()
_NOT_RENEWED = (
    "The leave to work on the repository could not be renewed on the backup node, and what works there ends with it; "
    "look at the disk of the node's state directory"
)


def extending(ctx: Context, storage: Storage, place: RepositoryPlace) -> Callable[[int], None]:
    """Return what each heartbeat does for a leave; where that has failed for long, the job says so."""

    def extend(epoch: int) -> None:
        if problem := storage.permit(place, epoch):
            ctx.warn("grant_not_renewed", f"{_NOT_RENEWED}: {problem}")

    return extend


class Leaves:
    """Renews each leave in a thread; of each repository at most one waits for the disk."""

    def __init__(self, node: BorgNode) -> None:
        """Take whose grants these are."""
        self._node = node
        self._renewing: dict[uuid.UUID, Future[None]] = {}
        self._well_at: dict[uuid.UUID, float] = {}

    def renew(self, grant: Grant, seconds: float) -> str:
        """Let a grant's processes live for so many seconds from now, unless it has ended.

        Returns what people should know: why it has not been renewed for half of that time. Less costs nothing.
        """
        now = time.monotonic()
        before, well_at = self._renewing.get(grant.repository_id), self._well_at.setdefault(grant.repository_id, now)
        problem = _problem(before)
        if problem:
            _log.warning("grant_not_renewed", repository=grant.path, reason=problem)
        else:
            self._well_at[grant.repository_id] = well_at = now
        if (before is None or before.done()) and not self._node.has_ended(grant):
            asked = time.time()
            self._renewing[grant.repository_id] = start(
                lambda: self._node.permit(grant, seconds, asked), f"grant:{grant.repository_id}"
            )
        return problem if now - well_at >= seconds / 2 else ""

    async def revoke(self, grant: Grant, seconds: float) -> None:
        """End a grant at once for who would renew it, and remove its file.

        A disk that hangs undoes nothing of what the run came to: the thread removes it as soon as the disk answers.
        """
        self._node.end(grant)
        self._renewing.pop(grant.repository_id, None)
        self._well_at.pop(grant.repository_id, None)
        try:
            await apart(lambda: self._node.revoke(grant), seconds, f"revoke:{grant.repository_id}")
        except (TimeoutError, OSError) as error:
            _log.warning("grant_not_revoked", repository=grant.path, reason=str(error) or "no answer", until="it ends")


def _problem(before: Future[None] | None) -> str:
    """Return why the last renewal did not come about, or has not yet."""
    if before is None:
        return ""
    if not before.done():
        return "the state directory does not answer"
    error = before.exception()
    return "" if error is None else str(error) or type(error).__name__
