"""Messages: why nothing is pruned or compacted in a repository until a person has looked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.domain.message import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.domain.message import Said

ARCHIVES_MISSING = Message(
    "archives_missing",
    400,
    "{count:,} recorded archives are missing without our doing: {names}[ and {more:,} more]"
    "[; it was last seen whole at {at:moment}, as of transaction {segment}]",
    "find out who deleted them; `borgfleet repo recover` says what can be brought back, and does it",
)
ARCHIVES_NOT_RECOVERED = Message(
    "archives_missing",
    400,
    "{count:,} archives could not be brought back, their data is gone: {names}[ and {more:,} more]",
    "restore what you need from other backups; `borgfleet repo unfreeze` lets maintenance go on",
    "not_recovered",
)
FORGED_LIST = Message(
    "manifest_forged",
    400,
    "the list of archives (borg's manifest) of {repository} is forged: {lies}",
    "treat the server as taken over (docs/operations/security.md); `borgfleet repo recover` puts the list right; all "
    "archives that were made before are intact, nothing is deleted until then",
    "list",
)
FORGED_ARCHIVE = Message(
    "manifest_forged",
    400,
    "borg on {repository} says that it made {archive}, which was there before",
    "treat the server as taken over (docs/operations/security.md); `borgfleet repo recover` puts the list right; all "
    "archives that were made before are intact, nothing is deleted until then",
    "archive",
)
HOSTILE_CLIENT = Message(
    "hostile_client",
    400,
    "{reason}",
    "treat the server as taken over: docs/operations/security.md says what it could do and what to do now; all "
    "archives that were made before are intact, and `borgfleet repo recover` puts right what was changed",
)
SEVERAL_NAMES = Message(
    "", 400, "it has several names for one archive: {names}[ and {more:,} more]", "", "several_names"
)
OTHER_NAMES = Message(
    "", 400, "it lists archives on record under other names: {names}[ and {more:,} more]", "", "other_names"
)
TAKEN_NAMES = Message(
    "", 400, "it gives the names of archives on record to others: {names}[ and {more:,} more]", "", "taken_names"
)
INNER_NAMES = Message(
    "",
    400,
    "its names are not those that the archives give themselves: {names}[ and {more:,} more]",
    "",
    "inner_names",
)
DEAD_NAMES = Message("", 400, "it names archives that are not there: {names}[ and {more:,} more]", "", "dead_names")
LISTING_WRONG = Message("", 400, '"{words}"', "", "listing_wrong")
SESSION_REFUSED = Message(
    "", 400, "a session on {repository} asked for what no honest client does: {summary}", "", "session_refused"
)
OTHER_CONTENT_HELD = Message(
    "", 400, "{repository} holds other content under the ids of {objects}", "", "other_content_held"
)
OTHER_CONTENT_SENT = Message(
    "", 400, "a session on {repository} sent other content under the ids of {objects}", "", "other_content_sent"
)
BOTH = Message("", 400, "{one}; {other}", "", "both")
GARBAGE_STORED = Message(
    "hostile_client",
    400,
    "the server stored objects that cannot be decrypted or belong to another id: {objects}[ and {more:,} more]",
    "treat the server as taken over, see docs/operations/security.md; then check this repository's data",
    "garbage",
)
SEGMENTS_MISSING = Message(
    "segments_damaged",
    400,
    "segments are gone that no compaction of ours took: {segments}[ and {more:,} more gaps]",
    "see who or what took them from the pool's disk; a check says what is hit, and a recovery mends what it can",
    "missing",
)
END_UNREADABLE = Message(
    "segments_damaged",
    400,
    "the repository ends at transaction {upto}; it ended at {before} when we left it: what follows is there and cannot "
    "be read as committed",
    "look at the disk, then run a check of this repository; see docs/operations/verification.md",
    "end_unreadable",
)
SEGMENTS_GONE = Message(
    "segments_damaged",
    400,
    "the repository has no transaction; it ended at {before} when we left it: its segments are gone",
    "look at the disk, then run a check of this repository; see docs/operations/verification.md",
    "gone",
)
OLDER_COPY = Message(
    "repository_rolled_back",
    400,
    "the repository ends at transaction {upto}; it ended at {before} when we left it",
    "an incident: somebody put an older copy in its place; see docs/operations/running.md",
    "older_copy",
)
WRITTEN_OUTSIDE = Message(
    "written_outside",
    400,
    "something was written to the repository outside of any run, after transaction {transaction}",
    "find out who wrote there; `borgfleet repo recover` undoes it, `borgfleet repo unfreeze` accepts it",
)
WRITTEN_OR_RESTORED = Message(
    "written_outside",
    400,
    "something was written to the repository outside of any run, after transaction {transaction}; or, if the database "
    "was restored from a backup, by runs and prunes of ours that it does not know: the node has no journal that tells",
    "see docs/operations/running.md; `borgfleet repo recover` undoes it, `borgfleet repo unfreeze` accepts it",
    "restored",
)
HISTORY_REWRITTEN = Message(
    "history_rewritten",
    400,
    "{objects} that were there before were deleted or replaced by the server, after transaction {transaction}",
    "treat the server as taken over (docs/operations/security.md); `borgfleet repo recover` puts them back",
)
KEY_CHANGED = Message(
    "repository_key_changed",
    400,
    "the repository's key was changed without our doing: its passphrase and recovery kit may open nothing",
    "find out who did it; `borgfleet repo recover` puts the recorded key back",
)


DATABASE_RECOVERED = Message(
    "database_recovered",
    400,
    "the database was recovered from a backup of {made_at}, and has not been compared with this repository since",
    "run a backup of it: if it finds every archive on record there, the repository is let go",
)


def all_of(said: Sequence[Said]) -> Said:
    """Return several things, one at least, as one that is said."""
    first, *others = said
    return BOTH(one=first, other=all_of(others)) if others else first
