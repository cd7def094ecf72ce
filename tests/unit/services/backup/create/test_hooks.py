from __future__ import annotations

import os
import time

import pytest

from services.backup.create.hooks import BYTES, LINE_LENGTH, LINES, HookOutput


def bounded(heard: HookOutput) -> list[str]:
    """Return the lines that were kept, and see that they are not too many."""
    kept = [line for line in heard.lines if "lines before these were left out" not in line]
    assert len(kept) <= LINES
    assert max(map(len, kept), default=0) <= LINE_LENGTH
    assert sum(len(line.encode()) for line in kept) <= BYTES
    return kept


def test_what_a_hook_says_is_bounded_in_lines_length_and_bytes_and_the_last_words_stay() -> None:
    heard = HookOutput()
    for number in range(LINES + 50):
        heard.add(b"line %d\r\n" % number, error=False)
    assert heard.lines[0] == "(50 lines before these were left out)"
    assert bounded(heard)[-1] == f"line {LINES + 49}"
    for _ in range(20):
        heard.add(b"x" * 100_000, error=False)
    assert len(bounded(heard)) > 2
    heard.add(("wide ä" * LINE_LENGTH).encode(), error=False)
    assert bounded(heard)[-1].endswith("…")


def test_a_long_line_is_cut_between_two_characters() -> None:
    for shift in range(4):
        heard = HookOutput()
        heard.add(b"-" * shift + "😀".encode() * LINE_LENGTH, error=True)
        assert set(heard.complaint) == {"😀", "…"} | ({"-"} if shift else set())


def test_the_last_words_are_the_last_that_say_anything_and_are_clean() -> None:
    heard = HookOutput()
    assert (heard.lines, heard.complaint) == ([], "")
    heard.add(b"caf\xe9 \x1b[31mred", error=True)
    heard.add(b"  ", error=True)
    assert heard.complaint == "caf\\xe9 \\x1b[31mred"


def test_binary_output_is_bounded_as_it_is_shown_and_costs_little() -> None:
    """Each of its bytes is shown as four characters; cleaning all of 50 MB took minutes."""
    heard, block = HookOutput(), os.urandom(1 << 20)
    before = time.process_time()
    for line in block.split(b"\n") * 5:
        heard.add(line, error=False)
    assert time.process_time() - before < 1  # 20,000 lines; cleaning each takes longer by far
    assert bounded(heard)
    assert "lines before these were left out" in heard.lines[0]


@pytest.mark.parametrize("flood", [b"x" * 100, os.urandom(256).replace(b"\n", b"."), b""])
@pytest.mark.parametrize("error", [False, True])
def test_what_one_output_says_late_does_not_push_out_the_last_words_of_the_other(flood: bytes, error: bool) -> None:
    heard = HookOutput()
    for number in range(3):
        heard.add(b"word %d" % number, error=error)
    for _ in range(10 * LINES):
        heard.add(flood, error=not error)
    kept = bounded(heard)
    assert kept[:3] == ["word 0", "word 1", "word 2"]
    assert len(kept) > LINES // 4
    for number in range(10 * LINES):
        heard.add(b"word %d" % number, error=error)
    assert bounded(heard)[-1] == f"word {10 * LINES - 1}"
    assert LINES // 2 <= sum(line.startswith("word ") for line in bounded(heard)) < LINES


def test_the_reason_is_what_the_hook_complained_of_and_not_what_is_said_about_it() -> None:
    heard = HookOutput()
    heard.add(b"mysqldump: Access denied", error=True)
    heard.add(b"bye", error=False)
    heard.add(b"Terminated", error=True, reason=False)
    heard.note("the command left a process running")
    assert heard.complaint == "mysqldump: Access denied"
    assert heard.lines == ["mysqldump: Access denied", "bye", "Terminated", "the command left a process running"]
