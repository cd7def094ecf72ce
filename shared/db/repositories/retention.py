"""A retention's verdict on recorded archives: the same for a preview and for a prune."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from sqlalchemy import ColumnElement, and_, or_, select

from shared.db.tables.backup_job import BackupJob
from shared.db.tables.storage import Archive, is_held
from shared.domain import backup_state
from shared.domain.retention import Candidate, Policy, Verdict, apply

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.tables.storage import Repository


def good_archives() -> ColumnElement[bool]:
    """Select the archives that can be relied on: the table of `backup_state.is_good`, for the database."""
    return and_(_acceptable(), or_(Archive.trusted.is_(True), Archive.accepted_at.is_not(None)))


def doubtful_archives() -> ColumnElement[bool]:
    """Select the archives that a person's word would make good: the table of `backup_state.is_doubtful`."""
    return and_(_acceptable(), Archive.trusted.is_(False), Archive.accepted_at.is_(None))


def _acceptable() -> ColumnElement[bool]:
    return and_(
        Archive.state.in_([state.value for state in backup_state.MADE]),
        Archive.damage == "",
        Archive.leaving.is_(False),
        Archive.lost.is_(False),
    )


def is_good(archive: Archive) -> bool:
    """Tell whether an archive can be relied on."""
    return backup_state.is_good(deleting=archive.leaving, missing=archive.lost, **_evidence(archive))


def is_doubtful(archive: Archive) -> bool:
    """Tell whether a person's word would make an archive good."""
    return backup_state.is_doubtful(deleting=archive.leaving, missing=archive.lost, **_evidence(archive))


class _Evidence(TypedDict):
    state: str
    trusted: bool
    accepted: bool
    damage: str


def _evidence(archive: Archive) -> _Evidence:
    accepted = archive.accepted_at is not None
    return {"state": archive.state, "trusted": archive.trusted, "accepted": accepted, "damage": archive.damage}


@dataclass(frozen=True, slots=True)
class Policies:
    """What is kept of each backup job in a repository: its own policy's, or else the repository's; without one, all."""

    common: Policy | None = None
    own: Mapping[uuid.UUID, Policy] = field(default_factory=dict["uuid.UUID", Policy])

    def __bool__(self) -> bool:
        """Tell whether anything may ever go."""
        return self.common is not None or bool(self.own)

    def of(self, backup_job_id: uuid.UUID | None) -> Policy | None:
        """Return what holds for a backup job's archives."""
        return self.own.get(backup_job_id, self.common) if backup_job_id else self.common


async def load_policies(session: AsyncSession, repository: Repository) -> Policies:
    """Read what is kept in a repository."""
    query = select(BackupJob.id, BackupJob.retention).where(BackupJob.repository_id == repository.id)
    own = {key: Policy.model_validate(kept) for key, kept in await session.execute(query) if kept}
    return Policies(Policy.model_validate(repository.retention) if repository.retention else None, own)


def judge_archives(policies: Policies, archives: Iterable[Archive], now: datetime) -> list[Verdict]:
    """Apply to the archives of each backup job its policy; give only those that are there.

    What a deletion left half done, or was missing, is judged as what it is: it is there.
    """
    groups: defaultdict[uuid.UUID | None, list[Candidate]] = defaultdict(list)
    for archive in archives:
        good = backup_state.is_good(deleting=False, missing=False, **_evidence(archive))
        held = is_held(archive, now)
        groups[archive.backup_job_id].append(Candidate(archive.id, archive.created_at, good=good, held=held))
    return [_judge(policies.of(backup_job_id), group, now) for backup_job_id, group in groups.items()]


def _judge(policy: Policy | None, group: list[Candidate], now: datetime) -> Verdict:
    if policy is None:
        return Verdict({one.id: "no retention" for one in group}, (), braked=False)
    return apply(policy, group, now)
