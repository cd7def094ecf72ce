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
