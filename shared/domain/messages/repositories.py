"""Messages: repositories and storage pools."""

from __future__ import annotations

from shared.domain.message import Message

RETENTION_MISSING = Message(
    "retention_missing",
    409,
    "this repository has no retention: nothing says what to keep",
    "set one: PUT /api/repositories/{{id}}",
)
REPOSITORY_NOT_FROZEN = Message("repository_not_frozen", 409, "this repository is not frozen", "nothing to do")
REPOSITORY_NOT_RESTORED = Message(
    "repository_not_restored",
    409,
    "the database was not found older than this repository, or that was accepted already",
    "nothing to do",
)
PRUNE_AFTER_RESTORE = Message(
    "database_older",
    409,
    "nothing was pruned: the database was restored from a backup, and holds that were set since then are not known",
    "set them again, then `borgfleet repo accept-restored`; a prune that you ask for runs all the same",
    "prune",
)
