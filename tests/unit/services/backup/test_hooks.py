from __future__ import annotations

from services.backup.hooks import BYTES, LINE_LENGTH, LINES, Tail


def test_what_a_hook_says_is_bounded_in_lines_length_and_bytes_and_the_last_words_stay() -> None:
    tail = Tail()
    for number in range(LINES + 50):
        tail.add(f"line {number}\r\n")
    assert len(tail.lines) == LINES + 1
    assert tail.lines[0] == "(50 lines before these were left out)"
    assert tail.last == f"line {LINES + 49}"
    for _ in range(20):
        tail.add("x" * 100_000)
    kept = tail.lines[1:]
    assert max(map(len, kept)) <= LINE_LENGTH
    assert sum(len(line.encode()) for line in kept) <= BYTES
    tail.add("wide ä" * LINE_LENGTH)
    assert sum(len(line.encode()) for line in tail.lines[1:]) <= BYTES


def test_the_last_words_are_the_last_that_say_anything_and_are_clean() -> None:
    tail = Tail()
    assert (tail.lines, tail.last) == ([], "")
    tail.add("caf\udce9 \x1b[31mred")
    tail.add("  ")
    assert tail.last == "caf\\xe9 \\x1b[31mred"
