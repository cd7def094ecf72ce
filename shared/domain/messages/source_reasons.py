"""Messages: why a backup is not simply fine, by its sources and the mounts below them."""

from __future__ import annotations

from shared.domain.message import Message

NOT_LOOKED = Message(
    "not_looked",
    409,
    "nobody looked what the source {path} is",
    "see the run's log for why, and run the backup again",
)
NOT_LOOKED_AFTERWARDS = Message(
    "not_looked",
    409,
    "nobody looked what became of the source {path} while it was read",
    "see the run's log for why, and run the backup again",
    "afterwards",
)
NOT_COUNTED = Message(
    "not_counted",
    409,
    "it is not known what the source {path} gave to the archive",
    "see the run's log for why, and run the backup again",
)
CONTENT_MISSING = Message(
    "content_missing",
    409,
    "of the source {path}, {files} cannot be restored from this archive: borg on the server took content for stored "
    "that is not in the repository",
    "delete the archives that say so, then borg's cache on the server, and run the backup job again",
)
SOURCE_MISSING = Message(
    "source_missing",
    409,
    "the source {path} does not exist on the server[; last time it held {held}]",
    "mount or create it, or correct the backup job, or accept this backup if that is right",
)
SOURCE_MISSING_MEANWHILE = Message(
    "source_missing",
    409,
    "the source {path} was there at first, and did not exist any more when borg came to it[; last time it held {held}]",
    "see what removes it, or accept this backup if that is right",
    "meanwhile",
)
SOURCE_HANGS = Message(
    "source_hangs",
    409,
    "the source {path} does not answer and was left out: the server works, but looking at it comes to no end"
    "[; last time it held {held}]",
    "see what it is mounted from, or accept this backup if that is right",
)
SOURCE_IS_LINK = Message(
    "source_is_link",
    409,
    "the source {path} is a link[ to {target}]; borg stores the link alone[; last time it held {held}]",
    "make what it points to the backup job's source, or accept this backup if that is right",
)
SOURCE_NO_DIRECTORY = Message(
    "source_no_directory",
    409,
    "the source {path} is neither a directory nor a file[; last time it held {held}]",
    "correct the backup job's sources, or accept this backup if that is right",
)
SOURCE_UNREADABLE = Message(
    "source_unreadable",
    409,
    "borg could not read the source {path}[; last time it held {held}]",
    "see the run's log for why, or accept this backup if that is right",
)
SOURCE_NOT_MOUNTED = Message(
    "source_not_mounted",
    409,
    "the source {path} is not mounted: {how}[; last time it held {held}]",
    "mount it, or accept this backup if that is right",
)
WAS_MOUNT_POINT = Message("", 409, "it was a mount point and is none now", "", "was_mount_point")
IS_ON_UNKNOWN = Message(
    "",
    409,
    "it was on {holder}, where {filesystem} was mounted, and nobody knows on what it is now",
    "",
    "is_on_unknown",
)
IS_ON_OTHER = Message(
    "", 409, "it was on {holder}, where {filesystem} was mounted, and is on {now} now", "", "is_on_other"
)
SOURCE_EMPTY = Message(
    "source_empty",
    409,
    "the source {path} is empty[; last time it held {held}]",
    "mount or fill it, or accept this backup if that is right",
)
SOURCE_EMPTIED = Message(
    "source_empty",
    409,
    "the source {path} is empty and was not before",
    "see what emptied it, or accept this backup if that is right",
    "emptied",
)
SOURCE_CACHE_TAG = Message(
    "source_cache_tag",
    409,
    "the source {path} is left out: CACHEDIR.TAG lies in it[; last time it held {held}]",
    "remove that file, or let caches be backed up, or accept this backup if that is right",
)
SOURCE_EXCLUDED = Message(
    "source_excluded",
    409,
    "the source {path} is left out by the rule {rule}[; last time it held {held}]",
    "correct the rule, or accept this backup if that is right",
)
SOURCE_WITHOUT_FILES = Message(
    "source_without_files",
    409,
    "the source {path} gave no file: it holds nothing but directories or links[; last time it held {held}]",
    "look at it, or accept this backup if that is right",
)
SOURCE_WITHOUT_FILES_BY_RULES = Message(
    "source_without_files",
    409,
    "the source {path} gave no file that its rules let through: it holds nothing but directories or links"
    "[; last time it held {held}]",
    "look at it and at the rules, or accept this backup if that is right",
    "rules",
)
AS_BEFORE = Message(
    "",
    409,
    "{reason}, as in the backup before",
    "nothing, as long as that is right: a backup like this was accepted before",
    "as_before",
)
SOURCE_CHANGED_KIND = Message(
    "source_changed_kind",
    409,
    "the source {path} was {before} and is {now} now",
    "see what changed it, or accept this backup if that is right",
)
A_DIRECTORY = Message("", 409, "a directory", "", "directory")
A_FILE = Message("", 409, "a file", "", "file")
A_LINK = Message("", 409, "a link", "", "link")
SOMETHING_ELSE = Message("", 409, "neither a directory nor a file", "", "something_else")
NOT_THERE = Message("", 409, "not there", "", "not_there")
NOT_ANSWERING = Message("", 409, "not answering", "", "not_answering")
SOURCE_WITHOUT_BYTES = Message(
    "source_without_bytes",
    409,
    "the source {path} gave {files} and not one byte",
    "see what writes it, or accept this backup if that is right",
)
SOURCE_EMPTY_FILE = Message(
    "source_without_bytes",
    409,
    "the source {path} is an empty file",
    "see what writes it, or accept this backup if that is right",
    "file",
)
SOURCE_FEWER_FILES = Message(
    "source_fewer_files",
    409,
    "the source {path} gave fewer files: {now}; it gave {before} before",
    "see what is missing, or accept this backup if that is right",
)
SOURCE_FEWER_BYTES = Message(
    "source_fewer_bytes",
    409,
    "the source {path} gave less: {now}; it gave {before} before",
    "see what is missing, or accept this backup if that is right",
)
SOURCE_VANISHED = Message(
    "source_vanished",
    409,
    "the source {path} was there before borg read it, and was not afterwards: the archive may lack parts",
    "see what removes or unmounts it, as hooks may, or accept this backup if that is right",
)
SOURCE_VANISHED_KIND = Message(
    "source_vanished",
    409,
    "the source {path} was {before} before borg read it, and was {now} afterwards: the archive may lack parts",
    "see what changes it, as hooks may, or accept this backup if that is right",
    "kind",
)
SOURCE_VANISHED_UNMOUNTED = Message(
    "source_vanished",
    409,
    "the source {path} was unmounted while borg read it: {how}; the archive may lack parts",
    "see what unmounts it, as hooks may, or accept this backup if that is right",
    "unmounted",
)
SOURCE_VANISHED_MOUNTS = Message(
    "source_vanished",
    409,
    "mounts below the source {path} were unmounted while borg read it: {mounts}; the archive may lack parts",
    "see what unmounts them, as hooks may, or accept this backup if that is right",
    "mounts",
)
SOURCE_VANISHED_EMPTIED = Message(
    "source_vanished",
    409,
    "the source {path} was empty after borg had read it, and was not before: the archive may lack parts",
    "see what empties it, as hooks may, or accept this backup if that is right",
    "emptied",
)
SOURCE_REMOVED = Message(
    "source_removed",
    409,
    "the source {path} was taken out of the backup job[; it gave {files}]",
    "nothing, if that was meant; else put it back",
)
ONE_FILE_SYSTEM = Message(
    "one_file_system",
    409,
    "other file systems are left out, as the backup job says (one file system): {paths}[ and {more} more]",
    "nothing, if that is right; else make them sources of the backup job",
)
OWN_PLACE_LEFT_OUT = Message(
    "own_place_left_out",
    409,
    "{path} is left out: it is {what}, and a backup of it would grow with each run",
    "nothing: it is left out by itself",
)
THE_POOL = Message("", 409, "the storage pool {pool}", "", "the_pool")
NODE_DATA = Message("", 409, "Borgfleet's own data on the backup node {node}", "", "node_data")
BORG_CACHE = Message("", 409, "borg's cache", "", "borg_cache")
MOUNT_BELOW_GONE = Message(
    "mount_below_gone",
    409,
    "{path} was mounted below the source {source} and is not mounted now; it gave {files} before",
    "mount it, or accept this backup if that is right",
)
MOUNT_BELOW_LEFT_OUT = Message(
    "mount_below_left_out",
    409,
    "{path} below the source {source} is left out, as the backup job says (one file system); it gave {files} before",
    "make it a source, or accept this backup if that is right",
)
MOUNT_BELOW_FEWER_FILES = Message(
    "mount_below_fewer_files",
    409,
    "{path}, a mount below the source {source}, gave fewer files: {now}; it gave {before} before",
    "see what is missing, or accept this backup if that is right",
)
MOUNT_BELOW_FEWER_BYTES = Message(
    "mount_below_fewer_bytes",
    409,
    "{path}, a mount below the source {source}, gave less: {now}; it gave {before} before",
    "see what is missing, or accept this backup if that is right",
)
