"""The jobs that ran or waited in a span of time, found by index however long the history is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, select, union_all

from shared.db.tables.base import db_now
from shared.db.tables.job import Job
from shared.domain.messages.requests import BAD_SPAN_OVERLAPS
from shared.domain.values import check_moment
from shared.errors import Invalid

LONGEST = timedelta(days=8)
"""A week, and a clock that was put back in it."""


@dataclass(frozen=True, slots=True)
class Span:
    """From a moment to another: the first belongs to it, the last does not."""

    begins: datetime
    ends: datetime


def read_span(text: str) -> Span:
    """Return the span that `from/to` says; Invalid for what is none, or is longer than a week and a day."""
    begins, found, ends = text.partition("/")
    if not found:
        raise Invalid(BAD_SPAN_OVERLAPS())
    try:
        span = Span(_moment(begins), _moment(ends))
    except (ValueError, OverflowError) as error:
        raise Invalid(BAD_SPAN_OVERLAPS()) from error
    if not timedelta(0) < span.ends - span.begins <= LONGEST:
        raise Invalid(BAD_SPAN_OVERLAPS())
    return span


def overlapping(query: Select[*tuple[Any, ...]], span: Span) -> Select[*tuple[Any, ...]]:
    """Narrow a query of jobs to those that ran or waited in a span; what has not ended goes on until now.

    Three parts, each down its own index: one condition with OR makes either database walk all jobs there ever were.
    """
    ids = query.with_only_columns(Job.id, maintain_column_froms=True)
    asked_before = Job.created_at < span.begins
    parts = (
        ids.where(Job.created_at >= span.begins, Job.created_at < span.ends),
        ids.where(Job.finished_at > span.begins, asked_before),
        ids.where(Job.finished_at.is_(None), asked_before, db_now() >= span.begins),
    )
    found = union_all(*parts).subquery()
    return select(Job).join(found, Job.id == found.c.id)


def _moment(text: str) -> datetime:
    return check_moment(datetime.fromisoformat(text))
