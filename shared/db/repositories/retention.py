"""A retention's verdict on recorded archives: the same for a preview and for a prune."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import select

from shared.db.tables.backup_job import BackupJob
from shared.db.tables.storage import is_held
from shared.domain.job import JobState
from shared.domain.retention import Candidate, Policy, Verdict, apply

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.tables.storage import Archive, Repository

GOOD = (JobState.SUCCEEDED.value, JobState.WARNING.value)


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
    """Apply to the archives of each backup job its policy; give only those that are there."""
    groups: defaultdict[uuid.UUID | None, list[Candidate]] = defaultdict(list)
    for archive in archives:
        good, held = archive.state in GOOD and not archive.damage, is_held(archive)
        groups[archive.backup_job_id].append(Candidate(archive.id, archive.created_at, good=good, held=held))
    return [_judge(policies.of(backup_job_id), group, now) for backup_job_id, group in groups.items()]


def _judge(policy: Policy | None, group: list[Candidate], now: datetime) -> Verdict:
    if policy is None:
        return Verdict({one.id: "no retention" for one in group}, (), braked=False)
    return apply(policy, group, now)
