"""Messages: how many there are of something. Parts of other messages: one, and more, are said differently."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.domain.message import Message

if TYPE_CHECKING:
    from shared.domain.message import Said

NO_FILE = Message("", 409, "0 files", "", "no_file")
ONE_FILE = Message("", 409, "1 file", "", "one_file")
SOME_FILES = Message("", 409, "{count:,} files", "", "files")
NO_BYTE = Message("", 409, "0 bytes", "", "no_byte")
ONE_BYTE = Message("", 409, "1 byte", "", "one_byte")
SOME_BYTES = Message("", 409, "{count:,} bytes", "", "bytes")
ONE_ERROR = Message("", 409, "1 error", "", "one_error")
SOME_ERRORS = Message("", 409, "{count:,} errors", "", "errors")
ONE_ENTRY = Message("", 409, "1 entry", "", "one_entry")
SOME_ENTRIES = Message("", 409, "{count:,} entries", "", "entries")
ONE_SOURCE = Message("", 409, "1 source", "", "one_source")
SOME_SOURCES = Message("", 409, "{count:,} sources", "", "sources")
ONE_OBJECT = Message("", 409, "1 object", "", "one_object")
SOME_OBJECTS = Message("", 409, "{count:,} objects", "", "objects")
ONE_LINE = Message("", 409, "1 line", "", "one_line")
SOME_LINES = Message("", 409, "{count:,} lines", "", "lines")

FILES: Final = (NO_FILE, ONE_FILE, SOME_FILES)
BYTES: Final = (NO_BYTE, ONE_BYTE, SOME_BYTES)
ERRORS: Final = (SOME_ERRORS, ONE_ERROR, SOME_ERRORS)
ENTRIES: Final = (SOME_ENTRIES, ONE_ENTRY, SOME_ENTRIES)
SOURCES: Final = (SOME_SOURCES, ONE_SOURCE, SOME_SOURCES)
OBJECTS: Final = (SOME_OBJECTS, ONE_OBJECT, SOME_OBJECTS)
LINES: Final = (SOME_LINES, ONE_LINE, SOME_LINES)


def number(count: int, of: tuple[Message, Message, Message]) -> Said:
    """Return how many of something there are: `number(1204, FILES)` is `1,204 files`."""
    none, one, some = of
    return one() if count == 1 else none() if count == 0 and not none.params else some(count=count)
