"""`/api/job-kinds`: what kinds of jobs this version knows."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from services.api.kernel.guard import Allow, GuardedRoute
from services.api.kernel.schemas import Out
from shared.domain.job import JobType
from shared.domain.job_kinds import JOB_KINDS
from shared.domain.permissions import Permission

router = APIRouter(tags=["jobs"], route_class=GuardedRoute)


class PhaseOut(Out):
    """A part of a job; the `phase` of its progress begins with this name."""

    name: str
    unit: str = Field(description="What is counted in it; empty: nothing is.")


class JobKindOut(Out):
    """A kind of job."""

    type: JobType
    label: str = Field(description="For people.")
    subject: str = Field(description="Of the command that asks for it on the bus.")
    permission: Permission = Field(description="The right that asking for it needs.")
    node_bound: bool = Field(description="It runs on the backup node that holds the repository.")
    takes_turns: bool = Field(description="The limits of runs at once hold for it.")
    retryable: bool = Field(description="It may be queued again once it failed or was cancelled.")
    task: str | None = Field(description="Its name in a repository's schedules; null: it has none.")
    phases: list[PhaseOut] = Field(description="In their order; some runs leave some out.")


@router.get("/api/job-kinds", dependencies=[Allow(Permission.JOBS_READ)])
async def list_kinds() -> list[JobKindOut]:
    """List the kinds of jobs: what they are called, what they need, through which phases they go."""
    return [JobKindOut.model_validate(kind) for kind in JOB_KINDS]
