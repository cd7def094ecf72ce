"""A retention's verdict on recorded archives: the same for a preview and for a prune."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict
from uuid import UUID

from sqlalchemy import ColumnElement, and_, or_, select

from shared.db.queries.latest import Latest
from shared.db.tables.backup_job import BackupJob
from shared.db.tables.base import db_now
from shared.db.tables.storage import Archive, is_held
from shared.domain import backup_state
from shared.domain.archive import CLOCK_TOLERANCE
from shared.domain.retention import Candidate, Mark, Policy, Verdict, apply, marked
from shared.errors import Conflict

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.db.tables.storage import Repository


def good_archives() -> ColumnElement[bool]:
    """Select the archives that can be relied on: the table of `backup_state.is_good`, for the database."""
    return and_(_acceptable(), or_(Archive.trusted.is_(True), Archive.accepted_at.is_not(None)))


def doubtful_archives() -> ColumnElement[bool]:
    """Select the archives that a person's word would make good: the table of `backup_state.is_doubtful`."""
    return and_(_acceptable(), Archive.trusted.is_(False), Archive.accepted_at.is_(None))


async def last_good(session: AsyncSession, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, datetime]:
    """Return when the last good archive of each of these backup jobs was made, where there is one.

    One from the future tells nothing of when.
    """
    return {key: rows[0].at for key, rows in (await _LAST_GOOD.of(session, ids)).items()}


def is_past() -> ColumnElement[bool]:
    """Select the archives whose time is none of the future."""
    return Archive.created_at <= db_now(CLOCK_TOLERANCE.total_seconds())


def latest_good(columns: Sequence[Any], count: int) -> Latest:
    """Return what reads the newest good archives of backup jobs."""
    return Latest(Archive.backup_job_id, Archive.created_at, columns, and_(good_archives(), is_past()), count)


def _acceptable() -> ColumnElement[bool]:
    return and_(
        Archive.state.in_([state.value for state in backup_state.MADE]),
        Archive.damage == "",
        Archive.deleting.is_(False),
        Archive.missing.is_(False),
    )


_LAST_GOOD = latest_good((), 1)


def is_good(archive: Archive) -> bool:
    """Tell whether an archive can be relied on."""
    return backup_state.is_good(deleting=archive.deleting, missing=archive.missing, **_evidence(archive))


def is_doubtful(archive: Archive) -> bool:
    """Tell whether a person's word would make an archive good."""
    return backup_state.is_doubtful(deleting=archive.deleting, missing=archive.missing, **_evidence(archive))


def refuse_to_accept(archive: Archive) -> None:
    """Raise if a person's word cannot make an archive good, or if it needs none."""
    why = (
        (archive.damage, "archive_damaged", f"it cannot be read whole: {archive.damage}"),
        (archive.missing, "archive_missing", "it is missing from its repository"),
        (archive.deleting, "archive_leaving", "it is being deleted"),
        (archive.state not in backup_state.MADE, "archive_failed", "its run failed: it does not hold what it should"),
        (archive.trusted, "archive_not_doubtful", "there is no doubt about it"),
    )
    for holds, code, sentence in why:
        if holds:
            message = f"the backup {archive.name} cannot be accepted: {sentence}"
            raise Conflict(message, code=code, remedy=_REMEDIES[code])


_REMEDIES = {
    "archive_damaged": "make a new backup; docs/operations/verification.md says what can be done about damage",
    "archive_missing": "docs/operations/schedules.md says how to get back what is missing without our doing",
    "archive_leaving": "if its deletion fails, try again after the next run",
    "archive_failed": "remove the cause that the run names, and make a new backup",
    "archive_not_doubtful": "nothing to do",
}


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
    marks: Mapping[uuid.UUID | None, Mark] = field(default_factory=dict["uuid.UUID | None", Mark])
    """What earlier prunes left of each backup job."""
    keeps_imported: bool = False
    """Nobody has said yet that what plain borg made may go."""

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
    common = Policy.model_validate(repository.retention) if repository.retention else None
    return Policies(common, own, _marks(repository), repository.keeps_imported)


def mark_pruned(
    repository: Repository, before: Iterable[Archive], deleted: Collection[uuid.UUID], now: datetime
) -> None:
    """Record what a prune took of each backup job, for the later ones; give all that was there before."""
    groups: defaultdict[uuid.UUID | None, list[Archive]] = defaultdict(list)
    for archive in before:
        if backup_state.is_good(deleting=False, missing=False, **_evidence(archive)):
            groups[archive.backup_job_id].append(archive)
    marks = _marks(repository)
    for key, group in groups.items():
        dropped = sum(archive.id in deleted for archive in group)
        marks[key] = marked(marks.get(key), [archive.created_at for archive in group], dropped, now)
    repository.prune_marks = {str(key or ""): _stored(mark) for key, mark in marks.items() if key in groups}


def _marks(repository: Repository) -> dict[uuid.UUID | None, Mark]:
    return {
        UUID(key) if key else None: Mark(
            datetime.fromisoformat(mark["since"]), mark["taken"], datetime.fromisoformat(mark["pruned_at"])
        )
        for key, mark in (repository.prune_marks or {}).items()
    }


def _stored(mark: Mark) -> dict[str, Any]:
    return {"since": mark.since.isoformat(), "taken": mark.taken, "pruned_at": mark.pruned_at.isoformat()}


def judge_archives(policies: Policies, archives: Iterable[Archive], now: datetime) -> list[Verdict]:
    """Apply to the archives of each backup job its policy; give only those that are there.

    What a deletion left half done, or was missing, is judged as what it is: it is there.
    """
    groups: defaultdict[uuid.UUID | None, list[Candidate]] = defaultdict(list)
    for archive in archives:
        good = backup_state.is_good(deleting=False, missing=False, **_evidence(archive))
        held = is_held(archive, now) or (policies.keeps_imported and archive.imported)
        doubtful = backup_state.is_doubtful(deleting=False, missing=False, **_evidence(archive))
        candidate = Candidate(archive.id, archive.created_at, good=good, held=held, doubtful=doubtful)
        groups[archive.backup_job_id].append(candidate)
    return [_judge(policies, backup_job_id, group, now) for backup_job_id, group in groups.items()]


def _judge(policies: Policies, backup_job_id: uuid.UUID | None, group: list[Candidate], now: datetime) -> Verdict:
    policy = policies.of(backup_job_id)
    if policy is None:
        return Verdict({one.id: "no retention" for one in group}, (), deletion_limit_reached=False)
    return apply(policy, group, now, policies.marks.get(backup_job_id))
