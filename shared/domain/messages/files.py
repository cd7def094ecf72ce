"""Messages: the files inside backups."""

from __future__ import annotations

from shared.domain.message import Message

PATH_NOT_IN_ARCHIVE = Message(
    "path_not_in_archive", 422, "the backup holds nothing at {path}", "choose a path that the directory above it lists"
)
PATH_IS_NO_DIRECTORY = Message(
    "path_no_directory", 422, "{path} is no directory in this backup", "list the directory that holds it"
)
BAD_PATH = Message(
    "bad_path", 422, "a path inside a backup has no `..`, no NUL and {most} bytes at most", "give it as it is listed"
)
REPOSITORY_BUSY = Message(
    "repository_busy",
    503,
    "{repository} cannot be read now: something deletes, compacts or checks",
    "try again when that is done; GET /api/jobs shows it",
)
VIEW_IMPOSSIBLE = Message(
    "catalogue_missing",
    409,
    "{repository} lies in a storage pool without hard links, so that it cannot be browsed beside its backups",
    "use a file system with hard links for the pool",
)
PATH_NOT_IN_CATALOGUE = Message(
    "path_not_in_archive", 422, "no backup of this repository holds {path}", "search for its name", "catalogue"
)
OTHER_REPOSITORY = Message(
    "other_repository", 422, "the two backups are in different repositories", "choose two of one repository"
)
BAD_SEARCH = Message(
    "bad_search",
    422,
    "this search looks for no name",
    "give a part of the name, and if you like `ext:pdf`, `in:/srv`, `size>10M`, `size<1G`, `deleted:yes`",
)
CATALOGUE_MISSING = Message(
    "catalogue_missing",
    409,
    "the files of this repository's backups are not indexed yet",
    "wait for its job `archive_index`, or ask for one: POST /api/repositories/{{id}}/catalogue/rebuild",
    "none",
)
CATALOGUE_BUILDING = Message(
    "catalogue_building",
    409,
    "the files of this backup are not indexed yet",
    "wait for the repository's job `archive_index`; its directories can be listed meanwhile",
)
CATALOGUE_SLOW = Message(
    "catalogue_slow",
    504,
    "the catalogue gave no answer within {seconds:.0f} seconds",
    "ask for less: a longer word, a smaller directory",
)
CATALOGUE_MISMATCH = Message(
    "catalogue_mismatch",
    409,
    "borg lists {listed} files in {archive}, and its run recorded {recorded}: it was left out of the catalogue",
    "run a check of the repository; browsing reads the backup itself meanwhile",
)
CATALOGUE_UNWRITABLE = Message(
    "catalogue_unwritable",
    500,
    "the catalogue could not be written: {reason}",
    "look at the backup node's disk; the catalogue is built again once it can be written",
)
INDEXER_DIED = Message(
    "indexer_died", 503, "the process that writes the catalogue ended without an answer", "it is tried again"
)
REPOSITORY_FORGOTTEN = Message(
    "repository_missing", 409, "the repository was forgotten while this job was queued", "nothing to do", "indexing"
)
NODE_AWAY = Message(
    "node_away", 503, "the backup node {node} does not answer", "start it, or see whether it reaches NATS"
)
NODE_SLOW = Message(
    "node_slow",
    504,
    "the backup node {node} gave no answer within {seconds:.0f} seconds",
    "ask for a smaller directory, or try again",
)
BACKUP_UNNAMED = Message(
    "archive_missing", 409, "the backup is not in its repository any more", "choose another backup", "browsed"
)
