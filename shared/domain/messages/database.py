"""Messages: the database."""

from __future__ import annotations

from shared.domain.message import Message

INTERNAL_DATABASE = Message(
    "internal",
    500,
    "the database refused a statement of ours",
    "look into this service's log for the whole error; report it if it stays",
    "database",
)
DATABASE_SILENT = Message(
    "database_silent",
    503,
    "the database did not answer in time",
    "nothing if it passes; if it stays, see that the database runs and what its log says",
)
DATABASE_URL_INVALID = Message(
    "database_url_invalid",
    400,
    "the database's URL is none, or names no driver that is known",
    "write it as mariadb+aiomysql://user@host/name, or leave it out",
)
MIGRATION_RUNNING = Message(
    "migration_running",
    503,
    "another process, such as another `borgfleet migrate`, has kept this database for {minutes} minutes",
    "wait until it has ended, then run this again",
)
SCHEMA_MISSING = Message(
    "schema_missing", 400, "the database holds no schema of Borgfleet", "run `borgfleet migrate` first"
)
DATABASE_UNSURE = Message(
    "database_unsure",
    503,
    "the database was lost while it was being saved: it may be done, or not",
    "look whether it is there before you repeat it",
)
INTERNAL_VALUE = Message(
    "internal",
    500,
    "the database cannot keep a value that was given",
    "look into this service's log for the whole error; report it if it stays",
    "value",
)
MIGRATION_UNFINISHED = Message(
    "migration_unfinished",
    400,
    "the {direction} of the database's schema by revision {revision} was cut short",
    "run `borgfleet migrate` of the version that began it: it goes on where it stopped",
)
SCHEMA_NEWER = Message(
    "schema_newer",
    400,
    "the database's schema is of a newer version of Borgfleet: it has the revision {found}, and this version "
    "knows none after {newest}",
    "run `borgfleet migrate` of the newest version that has ever worked on this database",
)
SCHEMA_OLDER = Message(
    "schema_older",
    400,
    "the database's schema is of an older version of Borgfleet: it has the revision {found}, and this version "
    "needs {needed}",
    "run `borgfleet migrate` first",
)
