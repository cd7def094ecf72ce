"""Messages: jobs, their messages and the services that work on them."""

from __future__ import annotations

from shared.domain.message import Message

JOB_TYPE_UNKNOWN = Message(
    "job_type_unknown",
    409,
    "this version of Borgfleet does not know jobs of the type {type}",
    "start the version that made it, and retry the job; or ask for the work anew",
)
JOB_NOT_RETRYABLE = Message(
    "job_not_retryable", 409, "{work}: jobs of this kind are not retried", "ask for the work anew"
)
LEASE_LOST = Message(
    "lease_lost", 409, "the lease {lease} passed to another worker", "nothing: the worker that took it over goes on"
)
JOB_PARAMS_INVALID = Message(
    "job_params_invalid", 400, "the parameters of this job make no sense: {wrong}", "ask for the work anew"
)
NOT_DUE = Message("not_due", 503, "job {job_id} is not due yet", "nothing: it begins by itself when it is due")
JOB_UNKNOWN = Message(
    "job_unknown", 400, "there is no job {job_id}", "publish without `job_id`: the job is made for the request"
)
NOT_CLAIMED = Message(
    "not_claimed", 503, "no job is claimed", "nothing: it is tried again by itself; report it if it stays"
)
UNEXPECTED_NOT_WRITTEN = Message(
    "unexpected",
    503,
    "the end of this run could not be written: {kind}",
    "look into the service's log; report it if it stays",
    "not_written",
)
UNEXPECTED_UNDECIDED = Message(
    "unexpected",
    400,
    "how this run ended could not be judged: {kind}",
    "look into the service's log; report it if it stays",
    "undecided",
)
JOB_CANCELLED = Message("cancelled", 400, "cancelled on request", "run it again if it is still wanted")
PERMANENT = Message("permanent", 400, "given up", "look into the service's log; report it if it stays")
LEASE_LOST_LEADER = Message(
    "lease_lost", 409, "another process leads {lease} now", "nothing: that process goes on with it", "leader"
)
TASK_ENDED = Message("task_ended", 400, "it ended by itself", "nothing: it is started again; report it if it stays")
JOB_ENDED = Message("job_ended", 409, "this job has ended already", "nothing to do")
JOB_NOT_RETRYABLE_STATE = Message(
    "job_not_retryable",
    409,
    "a job in state {state} cannot be retried",
    "only failed and cancelled jobs can; run it anew",
    "state",
)
LEASE_LOST_JOB = Message(
    "lease_lost",
    409,
    "job {job} passed to another worker",
    "nothing: the worker that took the job over goes on with it",
    "job",
)
WAITING = Message("waiting", 503, "waiting for {what}", "nothing: it goes on by itself as soon as that is free")
UNDECODABLE = Message(
    "undecodable", 400, "not a valid {event}: {wrong}", "see docs/events.md for the fields of this event"
)
UNPUBLISHABLE = Message(
    "unpublishable",
    400,
    "the event cannot be published: {kind}: {error}",
    "report it: an event that Borgfleet made itself is not valid",
)
UNEXPECTED = Message(
    "unexpected", 503, "an unexpected {kind}: {error}", "look into the service's log; report it if it stays"
)
GIVEN_UP_AFTER = Message("", 400, "{reason} (after {failures} attempts)", "", "given_up_after")
LOST_IN_RECOVERY = Message(
    "lost_in_recovery",
    400,
    "it had not ended when the backup of the database was made, at {made_at}, from which Borgfleet was recovered",
    "see whether it was done since; ask for the work anew if not",
)
