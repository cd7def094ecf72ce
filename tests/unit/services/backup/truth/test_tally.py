"""borg's complaints are counted one by one, and none is taken for a lesser one because of a file's name."""

from __future__ import annotations

import tracemalloc

import pytest

from services.backup.truth.evidence import Trouble
from services.backup.truth.tally import KEPT, Tally, trouble_of
from shared.borg.output import LogLine

EVIL = "/x: [Errno 2] No such file or directory: 'x'"


@pytest.mark.parametrize(
    ("level", "message", "code", "trouble"),
    [
        ("info", "hello", "", None),
        ("debug", "[Errno 13]", "", None),
        ("error", "anything", "", Trouble.ERROR),
        ("critical", "anything", "", Trouble.ERROR),
        ("warning", "/f: file changed while we backed it up", "", Trouble.CHANGED),
        ("warning", "anything", "FileChangedWarning", Trouble.CHANGED),
        ("warning", "/f: file inode changed (race condition), skipping file", "", Trouble.CHANGED),
        ("warning", "/f: file type or inode changed while we backed it up (race condition, skipped file)", "",
         Trouble.CHANGED),
        ("warning", "/f: open: [Errno 2] No such file or directory: 'f'", "", Trouble.VANISHED),
        ("warning", "/src: stat: [Errno 2] No such file or directory: '/src'", "", Trouble.MISSING),
        ("warning", "/srcx: stat: [Errno 2] No such file or directory: '/srcx'", "", Trouble.VANISHED),
        ("warning", "/f: open: [Errno 13] Permission denied: 'f'", "", Trouble.UNREADABLE),
        ("warning", "/f: read: [Errno 5] Input/output error", "BackupIOError", Trouble.UNREADABLE),
        ("warning", f"{EVIL}: open: [Errno 13] Permission denied: '{EVIL}'", "", Trouble.UNREADABLE),
        ("warning", "/f: file changed while we backed it up: open: [Errno 13] Permission denied: 'f'", "",
         Trouble.UNREADABLE),
        ("warning", "Include pattern 'x' never matched.", "", Trouble.OTHER),
        ("warning", "", "", Trouble.OTHER),
        ("warning", "The files cache can't be read. [[Errno 2] No such file or directory: '/c/files.x']", "", None),
        ("warning", "Continuing without files cache - expect lower performance.", "", None),
        ("warning", "/x/The files cache : open: [Errno 13] Permission denied: 'x'", "", Trouble.UNREADABLE),
    ],
)  # fmt: skip
def test_what_a_line_is_about(level: str, message: str, code: str, trouble: Trouble | None) -> None:
    assert trouble_of(LogLine(level, message, code), ["/src"]) is trouble


def test_a_warning_among_a_million_lines_of_chatter_is_counted_and_memory_stays_small() -> None:
    tally = Tally(["/src"])
    tracemalloc.start()
    for number in range(100_000):
        tally(LogLine("info", f"chatter {number}"))
        if number in (700, 99_000):
            tally(LogLine("warning", f"/f{number}: open: [Errno 13] Permission denied"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    ended = tally.ended(1)
    assert ended.count(Trouble.UNREADABLE) == 2
    assert [line.message[:7] for line in ended.shown] == ["/f700: ", "/f99000"]
    assert peak < 1_000_000
    assert tally.lines[0].message == "chatter 0"
    assert tally.lines[-1].message == "chatter 99999"


def test_of_many_complaints_the_first_and_the_last_of_each_level_are_kept() -> None:
    tally = Tally([])
    for number in range(1000):
        tally(LogLine("warning", f"w{number}"))
    tally(LogLine("error", "why"))
    ended = tally.ended(2)
    assert (ended.count(Trouble.OTHER), ended.count(Trouble.ERROR)) == (1000, 1)
    words = [line.message for line in ended.shown]
    assert len(words) == 2 * KEPT + 1
    assert (words[0], words[KEPT - 1], words[KEPT], words[-2:]) == ("w0", "w99", "w900", ["w999", "why"])
    assert ended.examples(Trouble.OTHER, 2) == ["w0", "w1"]


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        (LogLine("info", "warning: /x: permission denied"), 1),
        (LogLine("info", "/x: open: [Errno 13] Permission denied: 'x'"), 1),
        (LogLine("info", "/x: read: Input/output error"), 1),
        (LogLine("info", "/x: file changed while we backed it up"), 1),
        (LogLine("info", "70 bytes of lines longer than 64 KiB were left out here"), 1),
        (LogLine("info", "bash: warning: setlocale: LC_ALL: cannot change locale (de_DE)"), 0),
        (LogLine("info", "** WARNING: connection is not using a post-quantum key exchange algorithm."), 0),
        (LogLine("info", "Creating archive at x"), 0),
        (LogLine("warning", "/x: open: [Errno 13] Permission denied: 'x'"), 0),
        (LogLine("debug", "[Errno 13]"), 0),
    ],
)
def test_a_complaint_in_plain_text_is_counted_as_one_that_nobody_understood(line: LogLine, plain: int) -> None:
    tally = Tally(["/src"])
    tally(line)
    assert tally.ended(1).plain == plain
