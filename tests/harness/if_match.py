"""What clients send as the header If-Match."""

from __future__ import annotations

IF_MATCH: dict[str, tuple[list[str], int]] = {
    "the version": (['"1"'], 200),
    "any": (["*"], 200),
    "any, with space": (["  * "], 200),
    "one of a list": (['"7", "1"'], 200),
    "one of several lines": (['"7"', '"1"'], 200),
    "empty elements": ([', "1",,'], 200),
    "a weak one never matches": (['W/"1"'], 412),
    "a weak one beside another": (['W/"1", "7"'], 412),
    "another version": (['"2"'], 412),
    "not as we write it": (['"01"'], 412),
    "no version": (['"abc"'], 412),
    "a comma within": (['"1,2"'], 412),
    "an empty tag": (['""'], 412),
    "bare": (["1"], 400),
    "no end": (['"1'], 400),
    "other quotes": (["'1'"], 400),
    "empty": ([""], 400),
    "commas alone": ([",,"], 400),
    "any beside a version": (['*, "1"'], 400),
    "any twice": (["*", "*"], 400),
    "no comma between": (['"1" "2"'], 400),
    "small w": (['w/"1"'], 400),
    "long, and no list": (["," * 900 + "x"], 400),
}


"""Lines of the header, and the answer to a change of something in its first version."""
