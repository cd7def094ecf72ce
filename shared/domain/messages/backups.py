"""Messages: backup jobs and their runs."""

from __future__ import annotations

from shared.domain.message import Message

CLOCKS_DISAGREE = Message(
    "clocks_disagree",
    400,
    "nothing was pruned: the database's clock says {clock}, this node's is {hours:.0f} hours off that",
    "set both clocks right (chrony, systemd-timesyncd), and prune again",
)
WRONG_REPOSITORY = Message(
    "wrong_repository", 422, "this repository belongs to another server", "choose one of the server's own repositories"
)
BACKUP_JOB_DISABLED = Message(
    "backup_job_disabled", 409, "the backup job {backup_job} is switched off", "switch it on with POST .../toggle"
)
SOURCE_IS_OURS = Message(
    "source_is_ours",
    422,
    "the source {source} lies in the storage pool {pool}: a backup of it would hold itself",
    "take it out of the sources",
)
ARCHIVE_HELD = Message(
    "archive_held", 409, "this backup is held: {reason}", "release it first: DELETE /api/backups/{{id}}/hold"
)
ARCHIVE_LEAVING = Message(
    "archive_leaving",
    409,
    "the backup {archive} is being deleted",
    "if its deletion fails, try again after the next run",
)
CONFIRM_NEEDED = Message(
    "confirm_needed",
    409,
    "mode `{mode}` changes what is on the server, and asks for a preview first",
    "POST .../restores/preview with the same body, look at its result, and give its id as `confirm`",
)
CONFIRM_STALE = Message(
    "confirm_stale",
    409,
    "the preview {confirm} is none of this restore, or is older than {minutes} minutes",
    "look at a new preview",
)
POST_HOOK_OWED = Message(
    "post_hook_owed",
    400,
    "the post-hook of this backup job has not succeeded since a run that needed it",
    "see that what was prepared on the server is undone (a frozen database, a snapshot); the next run of this "
    "backup job runs the post-hook first of all",
)
