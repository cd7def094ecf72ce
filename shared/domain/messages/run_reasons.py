"""Messages: why a backup is not simply fine, by its archive as a whole, by borg and by the hooks."""

from __future__ import annotations

from shared.domain.message import Message

ARCHIVE_EMPTY = Message(
    "archive_empty",
    409,
    "the archive holds no file at all",
    "see why its sources gave none, or accept this backup if that is right",
)
FEWER_FILES = Message(
    "fewer_files",
    409,
    "the archive holds fewer files: {now}; a good one of this job holds {before}",
    "see what is missing, or accept this backup if that is right",
)
FEWER_FILES_THAN_DOUBTFUL = Message(
    "fewer_files",
    409,
    "the archive holds fewer files: {now}; an earlier one of this job holds {before}",
    "see what is missing, or accept this backup if that is right",
    "earlier",
)
FEWER_BYTES = Message(
    "fewer_bytes",
    409,
    "the archive holds less: {now}; a good one of this job holds {before}",
    "see what is missing, or accept this backup if that is right",
)
FEWER_BYTES_THAN_DOUBTFUL = Message(
    "fewer_bytes",
    409,
    "the archive holds less: {now}; an earlier one of this job holds {before}",
    "see what is missing, or accept this backup if that is right",
    "earlier",
)
REPORT_LOST = Message(
    "report_lost",
    409,
    "the report of the attempt that made this archive is lost: whether borg left anything out is unknown",
    "run the backup again, or accept this backup if that is right",
)
BORG_ERROR = Message(
    "borg_error",
    409,
    "borg told of {errors}[: {examples}][; and {more:,} more]",
    "see the run's log, or accept this backup if that is right",
)
UNREADABLE = Message(
    "unreadable",
    409,
    "borg could not read {entries}[: {examples}][; and {more:,} more]",
    "let borg's user read them, or leave them out; the run's log names them",
)
BORG_WARNING = Message(
    "borg_warning",
    409,
    "borg warned of something[: {examples}][; and {more:,} more]",
    "see the run's log, or accept this backup if that is right",
)
CHANGED_WHILE_READ = Message(
    "changed_while_read",
    409,
    "{files} changed while being read[: {examples}][; and {more:,} more]",
    "nothing, where they are logs; back up a database or a virtual machine from a dump or a snapshot",
)
VANISHED_WHILE_READ = Message(
    "vanished_while_read",
    409,
    "{files} vanished before being read[: {examples}][; and {more:,} more]",
    "nothing, where they are temporary files",
)
SOURCES_NOT_FOUND = Message(
    "source_missing",
    409,
    "borg did not find {sources}[: {examples}][; and {more:,} more]",
    "mount or create what is missing, or correct the backup job",
    "not_found",
)
STATUS_UNEXPLAINED = Message(
    "status_unexplained",
    409,
    "borg ended with status {status} and did not say why: something may be missing from the archive",
    "see the run's log, or accept this backup if that is right",
)
STATUS_GARBLED = Message(
    "status_unexplained",
    409,
    "borg ended with status {status}; {lines} of what was said cannot be read as its messages",
    "see the run's log, or accept this backup if that is right",
    "garbled",
)
POST_HOOK_FAILED = Message(
    "post_hook_failed",
    409,
    "{problem}",
    "see that what the pre-hook did is undone, and correct the post-hook; the next run runs it first of all",
)
POST_HOOK_FAILED_LATE = Message(
    "post_hook_failed",
    409,
    "the post-hook that an earlier run still owed failed: {problem}",
    "see that what the pre-hook did is undone, and correct the post-hook; the next run runs it first of all",
    "late",
)
POST_HOOK_UNKNOWN = Message(
    "post_hook_unknown",
    409,
    "it is not known whether the post-hook ran",
    "see that what the pre-hook did is undone",
)
PRE_HOOK_FAILED = Message(
    "pre_hook_failed",
    400,
    "nothing was backed up: {problem}",
    "correct the hook, or what it prepares; see the job's log",
)
PRE_HOOK = Message("", 409, "the pre-hook", "", "pre_hook")
POST_HOOK = Message("", 409, "the post-hook", "", "post_hook")
HOOK_ENDED = Message("", 409, "{hook} ended with status {status}[: {complaint}]", "", "hook_ended")
HOOK_STOPPED = Message("", 409, "{hook} was stopped after {seconds} seconds[: {complaint}]", "", "hook_stopped")
POST_HOOK_NOT_RUN = Message(
    "", 409, "the post-hook could not be run and is run first of all next time: {reason}", "", "post_hook_not_run"
)
CUT_BY_CANCELLING = Message(
    "cancelled",
    409,
    "the run was cancelled after borg had made the archive: what followed may have been cut short",
    "run the backup again, or accept this backup if that is right",
    "after_archive",
)
CUT_BY_TIME_LIMIT = Message(
    "time_limit",
    409,
    "the run's time limit passed after borg had made the archive: what followed may have been cut short",
    "raise the limit, and run the backup again; or accept this backup if that is right",
    "after_archive",
)
CUT_SHORT = Message(
    "cut_short",
    409,
    "the run was cut short: {why}",
    "run the backup again, or accept this backup if that is right",
)
FOUND_LATER = Message(
    "found_later",
    409,
    "the run that made this archive ended before it was on record; it was found in the repository later, and whether "
    "it is whole is unknown",
    "run the backup again, or accept this one if it is right",
)
FOUND_HOSTILE = Message(
    "hostile_client",
    409,
    "this archive was found in the repository later, and the server is taken for hostile ({why}): what it holds may "
    "be false",
    "accept it only when you know who did it",
    "found_later",
)
MORE_REASONS = Message("", 409, "and {more} more reasons", "see the run's log", "more_reasons")
ARCHIVE_NOT_IN_REPOSITORY = Message(
    "archive_not_in_repository",
    400,
    "borg reported archive {archive}, but the repository does not list it with id {id}",
    "treat the run as lost; check the repository",
)
SOURCES_MISSING = Message(
    "sources_missing",
    400,
    "none of the source paths exists on the server: {paths}",
    "correct the backup job's sources, or mount what is missing",
)
