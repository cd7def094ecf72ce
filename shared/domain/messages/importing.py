"""Messages: repositories that plain borg made, imported and taken over."""

from __future__ import annotations

from shared.domain.message import Message

REPOSITORY_READ_ONLY = Message(
    "repository_read_only",
    409,
    "the repository {repository} is read only: it was imported, and nobody has said yet that Borgfleet may write to it",
    "take it over: `borgfleet repo manage`, or POST /api/repositories/{{id}}/manage",
)
REPOSITORY_KNOWN = Message(
    "repository_known",
    409,
    "this repository is known already, as {repository}",
    "nothing to do; `borgfleet repo refresh` looks at it again",
)
REPOSITORY_KNOWN_NAME = Message(
    "repository_known",
    409,
    "{server} has a repository named {name} already",
    "give another name for the import",
    variant="name",
)
PATH_REFUSED = Message(
    "import_path_refused",
    403,
    "{path} is in no directory from which this node may import",
    "move it below {pool}, or add its directory to `backup.import_roots` in the node's settings",
)
PATH_LEADS_OUT = Message(
    "import_path_refused",
    403,
    "{path} leads by a symbolic link to {target}, from where this node may not import",
    "give the real path; it has to be below the storage pool or one of `backup.import_roots`",
    variant="link",
)
PATH_OURS = Message(
    "import_path_refused",
    403,
    "{path} belongs to Borgfleet itself",
    "give the path of the repository, not that of a view or of something that was set aside",
    variant="ours",
)
PATH_INSIDE = Message(
    "import_path_inside",
    409,
    "{path} is inside another repository, {outer}",
    "import {outer}, or move this one out of it",
)
REPOSITORY_INVALID = Message(
    "repository_invalid",
    409,
    "{path} is no borg repository: {why}",
    "give the directory that holds the files `config` and `README` and the directory `data`",
)
REPOSITORY_UNREADABLE = Message(
    "repository_unreadable",
    409,
    "{path} cannot be read: {why}",
    "let the user of the backup service read the directory and all that is in it",
)
REPOSITORY_VERSION = Message(
    "repository_version",
    409,
    "{path} is a repository of version {version}, as borg 2 makes them",
    "only repositories of borg 1 can be imported; keep this one with the borg that made it",
)
REPOSITORY_ATTIC = Message(
    "repository_attic",
    409,
    "{path} was made by attic, and not by borg",
    "convert a copy with `borg upgrade` of borg 1.1, then import that",
)
PASSPHRASE_WRONG = Message(
    "passphrase_wrong",
    409,
    "the passphrase that was given does not open {path}",
    "import it again with the right one; try it with `borg list {path}`",
    variant="import",
)
KEY_NEEDED = Message(
    "key_needed",
    409,
    "the key of {path} is not in the repository",
    "import it again with its key file: `borg key export` makes one where plain borg opens it",
)
KEYFILE_WRONG = Message(
    "keyfile_wrong",
    409,
    "the key file that was given is not the one of {path}",
    "its first line names the repository's id, {id}; export the right one with `borg key export`",
)
REPOSITORY_UNENCRYPTED = Message(
    "repository_unencrypted",
    409,
    "{path} is not encrypted: whoever can read its files can read every backup in it",
    "if that is meant, import it again and say so: `--unencrypted`, or `unencrypted: true`",
)
UPGRADE_NEEDED = Message(
    "repository_upgrade_needed",
    409,
    "the list of archives of {path} does not prove who wrote it, as an old borg left it",
    "run `borg upgrade --tam {path}` with plain borg (docs/operations/importing.md), then import it again",
)
ARCHIVES_UNSIGNED = Message(
    "archives_unsigned",
    409,
    "{count} of {of} archives do not prove who wrote them: borg before 1.2.5 made them",
    "they can be restored; `borg upgrade --archives-tam` of borg 1.2.5 or newer adds the proof, if you trust them",
)
ARCHIVES_FORGED = Message(
    "archives_forged",
    409,
    "the proof of who wrote them is wrong in {count} archives: {names}[ and {more} more]",
    "they are listed and cannot be read; if an old borg did it, see BORG_WORKAROUNDS in docs/operations/importing.md",
)
ARCHIVES_LOST = Message(
    "archives_lost",
    409,
    "the repository lists {count} archives of which it holds nothing",
    "they are left out; `borg check` of plain borg says more",
)
ARCHIVE_FORGED = Message(
    "archive_forged",
    409,
    "its proof of who wrote it is wrong",
    "see BORG_WORKAROUNDS in docs/operations/importing.md",
)
ARCHIVE_IMPORTED = Message(
    "archive_imported",
    409,
    "plain borg made this backup: Borgfleet did not watch its run",
    "restore some files to see that it holds what it should; confirming the retention accepts it",
)
NOT_IMPORTED = Message(
    "repository_not_imported", 409, "{repository} was made by Borgfleet and not imported", "nothing to do"
)
MANAGED_ALREADY = Message("repository_managed", 409, "{repository} is Borgfleet's to write to already", "nothing to do")
MANAGE_KEYFILE = Message(
    "manage_needs_repokey",
    409,
    "the key of {repository} is not in the repository, so its server could not write to it",
    "run `borg key change-location repokey` with plain borg (1.2 or newer), look at it again, then take it over",
)
MANAGE_PATH = Message(
    "manage_path",
    409,
    "{path} has characters that a server cannot name",
    "rename its directories to letters, digits, `.`, `_` and `-`, and import it again",
)
MANAGE_BY_PERSON = Message(
    "manage_needs_person",
    403,
    "only a person takes over a repository, by the API",
    "`borgfleet repo manage`, or POST /api/repositories/{{id}}/manage",
)
REPOSITORY_NOT_WRITABLE = Message(
    "repository_not_writable",
    409,
    "nothing can be written to {path}: {why}",
    "mount it writable and give it to the user of the backup service; until then it stays read only",
)
IN_USE = Message(
    "repository_locked",
    503,
    "another borg works on {path}: process {pid} on this node",
    "let it end, and take plain borg's own jobs away; the takeover goes on then",
    variant="takeover",
)
LOCKED_ELSEWHERE = Message(
    "repository_locked",
    409,
    "{path} is on a network disk and is locked by {holder}, of which this node cannot see whether it lives",
    "see that no borg works on it there, run `borg break-lock {path}`, then take it over again",
    variant="elsewhere",
)
NOTHING_IMPORTED = Message(
    "retention_nothing_imported",
    409,
    "no imported backups wait for a word on their retention",
    "nothing to do",
)
IMPORT_ORPHANED = Message(
    "import_orphaned",
    409,
    "the server or the storage pool was removed while this import was queued",
    "ask for the import anew",
)
READER_MUTE = Message(
    "borg_garbled",
    409,
    "what stands in the repository could not be listed: {said}",
    "see the job's log; report it with these words",
    variant="import",
)
JOB_MISSING = Message(
    "job_missing",
    409,
    "a message for a backup node names its job",
    "publish without the node: `repository.import` with `repository_id`",
    variant="import",
)
