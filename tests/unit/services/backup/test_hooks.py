from __future__ import annotations

import os
import time

from services.backup.hooks import BYTES, LINE_LENGTH, LINES, HookOutput, Tail


def test_what_a_hook_says_is_bounded_in_lines_length_and_bytes_and_the_last_words_stay() -> None:
    tail = Tail()
    for number in range(LINES + 50):
        tail.add(b"line %d\r\n" % number)
    assert len(tail.lines) == LINES + 1
    assert tail.lines[0] == "(50 lines before these were left out)"
    assert tail.last == f"line {LINES + 49}"
    for _ in range(20):
        tail.add(b"x" * 100_000)
    kept = tail.lines[1:]
    assert max(map(len, kept)) <= LINE_LENGTH
    assert sum(len(line.encode()) for line in kept) <= BYTES
    tail.add(("wide ä" * LINE_LENGTH).encode())
    assert sum(len(line.encode()) for line in tail.lines[1:]) <= BYTES
    assert tail.last.endswith("…")


def test_a_long_line_is_cut_between_two_characters() -> None:
    for shift in range(4):
        tail = Tail()
        tail.add(b"-" * shift + "😀".encode() * LINE_LENGTH)
        assert set(tail.last) == {"😀", "…"} | ({"-"} if shift else set())


def test_the_last_words_are_the_last_that_say_anything_and_are_clean() -> None:
    tail = Tail()
    assert (tail.lines, tail.last) == ([], "")
    tail.add(b"caf\xe9 \x1b[31mred")
    tail.add(b"  ")
    assert tail.last == "caf\\xe9 \\x1b[31mred"


def test_binary_output_is_bounded_as_it_is_shown_and_costs_little() -> None:
    """Each of its bytes is shown as four characters; cleaning all of 50 MB took minutes."""
    tail, block = Tail(), os.urandom(1 << 20)
    before = time.process_time()
    for line in block.split(b"\n") * 5:
        tail.add(line)
    assert time.process_time() - before < 1  # 20,000 lines; cleaning each takes longer by far
    assert 1 < len(tail.lines) <= LINES + 1
    assert sum(len(line.encode()) for line in tail.lines[1:]) <= BYTES
    assert "lines before these were left out" in tail.lines[0]


def test_the_reason_is_what_the_hook_complained_of_and_not_what_is_said_about_it() -> None:
    heard = HookOutput()
    heard.add(b"mysqldump: Access denied", complaint=True)
    heard.add(b"bye", complaint=False)
    heard.note("the command left a process running")
    assert heard.complaint == "mysqldump: Access denied"
    assert heard.lines == ["mysqldump: Access denied", "bye", "the command left a process running"]
