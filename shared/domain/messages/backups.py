"""Messages: backup jobs and their runs."""

from __future__ import annotations

from shared.domain.message import Message

CLOCKS_DISAGREE = Message(
    "clocks_disagree",
    400,
    "nothing was pruned: the database's clock says {clock:moment}, this node's is {hours:.0f} hours off that",
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
SOURCE_IS_OURS_BELOW = Message(
    "source_is_ours",
    400,
    "the source {source} lies in {place}, which is {what}",
    "take it out of the backup job's sources: a backup of it would hold itself",
    "below",
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
UNDO_NO_SWAP = Message(
    "undo_no_swap",
    409,
    "this job is no restore with mode `swap`: there is nothing to put back",
    "see its result; a merge that replaced names the directory that holds what was there",
)
UNDO_NOTHING = Message(
    "undo_nothing",
    409,
    "this restore has put nothing in the place of anything, or left no note of it",
    "see its result; names that end with `.before-restore-` and a time can be renamed back by hand",
)
UNDO_DONE = Message("undo_done", 409, "this restore is undone already, by job {job}", "nothing to do")
UNDO_BUSY = Message(
    "undo_busy",
    409,
    "on {server} a restore or an undo is at work: job {job}",
    "wait until it has ended, or cancel it; then ask again",
)
UNDO_SERVER_GONE = Message(
    "undo_server_gone",
    409,
    "the server that this was restored to was removed",
    "rename on that machine by hand: names that end with `.before-restore-` and a time are what was there",
)
_UNDO_BY_HAND = "see what stands there, and put it back as the restore left it; or rename both names by hand"
UNDO_GONE = Message(
    "undo_moved",
    409,
    "{path} on {server} is not there any more[; {more} others are not as the restore left them]: nothing was renamed",
    _UNDO_BY_HAND,
    "gone",
)
UNDO_OTHER = Message(
    "undo_moved",
    409,
    "{path} on {server} is something else than the restore left there"
    "[; {more} others are not as the restore left them]: nothing was renamed",
    _UNDO_BY_HAND,
    "other",
)
UNDO_CHANGED = Message(
    "undo_moved",
    409,
    "{path} on {server} was changed since the restore set it aside"
    "[; {more} others are not as the restore left them]: nothing was renamed",
    _UNDO_BY_HAND,
    "changed",
)
UNDO_TAKEN = Message(
    "undo_moved",
    409,
    "{path} on {server} is there already: what was restored was to get that name"
    "[; {more} others are not as the restore left them]: nothing was renamed",
    "rename or remove what has that name, and ask again",
    "taken",
)
UNDO_PARENT = Message(
    "undo_moved",
    409,
    "the directory of {path} on {server} is gone, or a symbolic link stands on the way to it"
    "[; {more} others are not as the restore left them]: nothing was renamed",
    _UNDO_BY_HAND,
    "parent",
)
UNDO_TOO_LONG = Message(
    "undo_moved",
    409,
    "{path} on {server} has so long a name that what was restored cannot get a new one beside it"
    "[; {more} others are not as the restore left them]: nothing was renamed",
    "rename by hand",
    "too_long",
)
UNDO_REFUSED = Message(
    "undo_refused",
    409,
    "not put back, as it changed meanwhile or may not be moved: {paths}",
    "see what stands there, and undo the restore again",
)
PLACING_FULL = Message(
    "target_full",
    400,
    "{server}: the file system of {path} is full; what was placed until then stays",
    "make room, then start this restore again: it goes on with what is left",
    "placing",
)
PLACED_UNREADABLE = Message(
    "placed_unreadable",
    400,
    "{server}: what an earlier attempt noted in {path} cannot be read",
    "look what was placed, put back by hand what is set aside (names that end with `.before-restore-` and a time), "
    "then remove that directory, and ask for a new restore",
)
POST_HOOK_OWED = Message(
    "post_hook_owed",
    400,
    "the post-hook of this backup job has not succeeded since a run that needed it",
    "see that what was prepared on the server is undone (a frozen database, a snapshot); the next run of this "
    "backup job runs the post-hook first of all",
)
