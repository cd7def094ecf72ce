"""Messages: restore tests, and what they prove."""

from __future__ import annotations

from shared.domain.message import Message

TEST_DAMAGED = Message(
    "archive_damaged",
    409,
    "{count} of {chosen} tested files cannot be read from the backups any more ({archives}): {files}",
    "nothing was repaired: look at the disk, run a check of depth data, then see docs/operations/verification.md",
    "tested",
)
TEST_FAILED = Message(
    "restore_test_failed",
    409,
    "only {read} of {chosen} chosen files were read and are as they were recorded[; {missing} are missing]"
    "[; {differing} differ][; {unread} were not reached][: {files}]",
    "test again; if it stays, run a check of depth data",
)
TEST_NOTHING = Message(
    "restore_test_nothing",
    409,
    "{repository} holds no file that could be tested: nothing is proven",
    "make a backup; if there are some, see what they hold, and the limits of the test",
)
TEST_TOO_LARGE = Message(
    "restore_test_too_large",
    409,
    "what is to be tested holds {size} bytes, and {most} are allowed",
    "raise `max_bytes`, name less, or test a sample",
)
SOURCE_DIFFERS = Message(
    "source_differs",
    409,
    "{count} files of the server have another content than their backup, under the same size and time: {files}",
    "find out which one is right: the file may have been changed and its time put back, or a disk may be failing",
)
TAR_CUT = Message(
    "restore_partial",
    409,
    "borg ended before the end of what it wrote",
    "restore or test again; if it stays, check the repository",
    "cut",
)
