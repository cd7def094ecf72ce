"""What becomes of a delivery: the one place that decides, and the one place that acknowledges."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from shared.domain.asked import Asked
from shared.domain.job import JobState, backoff
from shared.domain.messages.jobs import (
    GIVEN_UP_AFTER,
    JOB_CANCELLED,
    PERMANENT,
    UNEXPECTED,
    UNEXPECTED_NOT_WRITTEN,
    UNEXPECTED_UNDECIDED,
)
from shared.domain.text import clean
from shared.errors import AppError, Incident, LeaseLost, Permanent, Transient, Waiting
from shared.runtime.context import Abort
from shared.runtime.delivery import record_dead_letter, send_dead_letter
from shared.runtime.storable import cleaned

if TYPE_CHECKING:
    from shared.bus.port import Bus, Delivery
    from shared.db.unit_of_work import UnitOfWork
    from shared.runtime.context import Context
    from shared.runtime.service import OnFailure


_SEE_LOG = "look into the service's log; report it if it stays"
_RUN_AGAIN = "run it again if it is still wanted"
_UNFORESEEN = ("unexpected", "internal")
"""The codes of errors that nobody foresaw: ours here, and that of the database's door."""
_BREATH = 5.0
"""Seconds before a run begins anew that was stopped because database or bus did not answer."""


class Verdict(StrEnum):
    """The ends a delivery can have."""

    DONE = "done"
    WAIT = "wait"
    RETRY = "retry"
    FAIL = "fail"
    DEAD = "dead"
    CANCELLED = "cancelled"
    HAND_OVER = "hand_over"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, its cause, and the delay in seconds before the next delivery."""

    verdict: Verdict
    error: AppError | None = None
    delay: float = 0.0


def decide(  # noqa: PLR0911 - one return a rule, in the order of their weight
    error: BaseException | None, ctx: Context, *, max_failures: int
) -> Decision:
    """Turn how a handler ended into what becomes of its message and its job. Pure."""
    if ctx.heart_failed is not None and error is not None and not isinstance(error, LeaseLost):
        return _heartless(ctx.heart_failed, ctx, max_failures)
    if isinstance(error, LeaseLost) or ctx.abort is Abort.LEASE_LOST:
        return Decision(Verdict.LOST, error if isinstance(error, LeaseLost) else None)
    if error is None or (ctx.finished and ctx.abort):  # told to stop when its last word was written already
        return Decision(Verdict.DONE)
    if isinstance(error, Incident):
        return Decision(Verdict.FAIL if ctx.job else Verdict.DEAD, error)
    if ctx.abort is Abort.CANCELLED:
        return Decision(Verdict.CANCELLED, AppError(JOB_CANCELLED()))
    if ctx.abort is Abort.SHUTDOWN:
        return Decision(Verdict.HAND_OVER)
    if isinstance(error, Waiting):
        return Decision(Verdict.WAIT, error, error.retry_after or 1.0)
    if isinstance(error, Transient):
        return _again(error, ctx, max_failures)
    if isinstance(error, AppError) and not is_unforeseen(error):
        return Decision(Verdict.FAIL if ctx.job else Verdict.DEAD, error)
    return _again(_unexpected(error), ctx, max_failures)


async def dispose(
    decision: Decision, delivery: Delivery, ctx: Context, bus: Bus, on_failure: OnFailure | None = None
) -> None:
    """Bring the job's row in line first, then end the message: a crash between the two is a redelivery."""
    match decision.verdict:
        case Verdict.DONE:
            await delivery.ack()
        case Verdict.LOST:
            if await ctx.leave():
                await delivery.ack()
            else:
                await delivery.nak()
        case Verdict.WAIT | Verdict.RETRY | Verdict.HAND_OVER:
            if await _put_back(decision, ctx):
                await delivery.ack()
            else:
                await delivery.nak(decision.delay)
        case Verdict.FAIL | Verdict.CANCELLED:
            await _end_job(decision, ctx, on_failure)
            await delivery.ack()
        case Verdict.DEAD:
            error = decision.error or Permanent(PERMANENT())
            await ctx.run(partial(_bury, delivery, ctx, error))
            await send_dead_letter(ctx.db, bus, delivery, error)
            await delivery.term()


async def give_up(error: BaseException, delivery: Delivery, ctx: Context, bus: Bus, max_failures: int) -> None:
    """Dispose again, with nothing of what the run said: what cannot be written must not keep the job from its end."""
    ctx.forget()
    plain = Transient(UNEXPECTED_NOT_WRITTEN(kind=type(error).__name__))
    await dispose(_again(plain, ctx, max_failures), delivery, ctx, bus)


async def _bury(delivery: Delivery, ctx: Context, error: AppError, tx: UnitOfWork) -> None:
    """Record a dead letter; the job it speaks of, which nobody could take, ends with it, or it would come again."""
    await record_dead_letter(tx, delivery, error)
    if ctx.job_id is not None:
        await tx.jobs.fail_unclaimed(ctx.job_id, cleaned(error))
        await tx.jobs.leave(ctx.job_id)  # another run may hold it


def _heartless(error: BaseException, ctx: Context, max_failures: int) -> Decision:
    """Give back a run that could not renew its lease; if another worker took it meanwhile, the fence says so."""
    if isinstance(error, (Transient, TimeoutError)):
        return Decision(Verdict.HAND_OVER, delay=_BREATH)
    return _again(_unexpected(error), ctx, max_failures)


async def _end_job(decision: Decision, ctx: Context, on_failure: OnFailure | None) -> None:
    state = JobState.CANCELLED if decision.verdict is Verdict.CANCELLED else JobState.FAILED

    async def record(tx: UnitOfWork) -> None:
        fresh = await ctx.finish(tx, state, error=decision.error)
        if fresh and on_failure and ctx.job and decision.error and state is JobState.FAILED:
            await on_failure(tx, ctx.job, decision.error)

    await ctx.run(record)


async def _put_back(decision: Decision, ctx: Context) -> bool:
    """Return a claimed job to the queue; True if the message has done its work, and another one follows."""
    if ctx.job is None:
        return False
    failed = decision.verdict is Verdict.RETRY
    return await ctx.run(lambda tx: ctx.put_back(tx, delay=decision.delay, error=decision.error, failed=failed))


def _again(error: Transient, ctx: Context, max_failures: int) -> Decision:
    failures = (ctx.job.failures if ctx.job else ctx.failures) + 1
    asked = Asked.or_nothing(ctx.job.params) if ctx.job else Asked()
    counted = ctx.job is not None or error.code in _UNFORESEEN  # what passes by itself may take long to be claimed
    if counted and failures >= (asked.max_failures or max_failures):
        spent = Permanent(GIVEN_UP_AFTER(reason=error.said, failures=failures))
        return Decision(Verdict.FAIL if ctx.job else Verdict.DEAD, spent)
    delay = error.retry_after or backoff(failures, asked.retry_seconds)
    return Decision(Verdict.RETRY, error, delay)


def undecided(error: BaseException, ctx: Context) -> Decision:
    """Decide where nothing else could be decided: the job, or the message that asks for none, ends."""
    cause = Permanent(UNEXPECTED_UNDECIDED(kind=type(error).__name__))
    return Decision(Verdict.FAIL if ctx.job else Verdict.DEAD, cause)


def is_unforeseen(error: BaseException) -> bool:
    """Tell whether nobody foresaw an error: it may be a matter of the moment, so it is tried again and counted."""
    return not isinstance(error, AppError) or error.code in _UNFORESEEN


def _unexpected(error: BaseException) -> Transient:
    if isinstance(error, AppError):
        return Transient(error.said)
    return Transient(UNEXPECTED(kind=type(error).__name__, error=clean(str(error), 1000)))
