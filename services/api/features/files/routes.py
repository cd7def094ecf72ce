"""`/api/backups/{id}/files`: what is inside a backup, as its backup node tells."""

from __future__ import annotations

import base64
import uuid
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Query
from pydantic import AfterValidator, StringConstraints

from services.api.features.files.asking import archive_at, ask, from_base64, path_of
from services.api.features.files.schemas import FilesOut, UsageOut, UsageRow, base64_of, text_of, to_schema
from services.api.kernel.dependencies import Parts
from services.api.kernel.guard import Allow, GuardedRoute
from shared.domain.files import (
    CATALOGUE_SECONDS,
    LIST,
    LIST_SECONDS,
    LONGEST_PATH,
    MOST_ROWS,
    USAGE,
    ListAnswer,
    ListAsked,
    UsageAnswer,
    UsageAsked,
)
from shared.domain.messages.requests import BAD_CURSOR
from shared.domain.permissions import Permission
from shared.domain.values import check_clean
from shared.errors import Invalid

router = APIRouter(tags=["files"], route_class=GuardedRoute)
Path: TypeAlias = Annotated[
    str, AfterValidator(check_clean), Query(max_length=LONGEST_PATH, description="As `/srv/data`.")
]
Base64Text: TypeAlias = Annotated[str, StringConstraints(max_length=2 * LONGEST_PATH, pattern=r"^[A-Za-z0-9+/_=-]*$")]
PathB64: TypeAlias = Annotated[
    Base64Text | None, Query(description="Its bytes, where they are no UTF-8, or hold control characters.")
]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=MOST_ROWS)]


@router.get("/api/backups/{backup_id}/files", dependencies=[Allow(Permission.FILES_READ)])
async def list_files(
    backup_id: uuid.UUID,
    parts: Parts,
    path: Path = "/",
    path_b64: PathB64 = None,
    limit: Limit = 200,
    after: Annotated[Base64Text | None, Query(description="`next` of the page before.")] = None,
) -> FilesOut:
    """List a directory of a backup, by name. One that is not indexed yet is read by borg, which may take seconds."""
    raw = path_of(path, path_b64)
    last = None if after is None else from_base64(after)
    if after is not None and last is None:
        raise Invalid(BAD_CURSOR())
    async with parts.db.read() as session:
        at = await archive_at(session, backup_id)
    asked = ListAsked(archive_id=backup_id, path=raw, after=last, limit=limit)
    answer = await ask(parts, LIST, at.node, asked, ListAnswer, LIST_SECONDS)
    following = base64.urlsafe_b64encode(answer.rows[-1].name).decode() if answer.more and answer.rows else None
    return FilesOut.model_validate(
        {"items": [to_schema(row) for row in answer.rows], "next": following, "source": answer.source}
    )


@router.get("/api/backups/{backup_id}/usage", dependencies=[Allow(Permission.FILES_READ)])
async def usage(
    backup_id: uuid.UUID, parts: Parts, path: Path = "/", path_b64: PathB64 = None, limit: Limit = 200
) -> UsageOut:
    """Say how much stands below each name of a directory of a backup, the largest first."""
    raw = path_of(path, path_b64)
    async with parts.db.read() as session:
        at = await archive_at(session, backup_id)
    asked = UsageAsked(repository_id=at.repository_id, borg_id=at.borg_id, path=raw, limit=limit)
    answer = await ask(parts, USAGE, at.node, asked, UsageAnswer, CATALOGUE_SECONDS)
    rows = [
        UsageRow(name=text_of(row.name), name_b64=base64_of(row.name), files=row.files, size=row.size)
        for row in answer.rows
    ]
    return UsageOut(items=rows, files=answer.files, size=answer.size, more=answer.more, partial=answer.partial)
