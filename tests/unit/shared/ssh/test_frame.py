"""What a command says is found between its marks, wherever blocks end and whatever others say around it."""

from __future__ import annotations

import itertools
import subprocess

from hypothesis import given
from hypothesis import strategies as st

from shared.ssh.frame import Answer, End, framed, new_token

TOKEN = "borgfleet-begin-0123456789abcdef"


def heard(data: bytes, cuts: list[int], limit: int = 10_000) -> Answer:
    answer, places = Answer(TOKEN, limit), sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(places):
        answer.feed(data[begin:end])
    return answer


@given(
    st.binary(max_size=60),
    st.binary(max_size=60),
    st.binary(max_size=60),
    st.integers(0, 255),
    st.lists(st.integers(0, 400)),
)
def test_neither_the_logins_noise_nor_what_children_say_later_is_taken_for_the_command(
    noise: bytes, output: bytes, late: bytes, status: int, cuts: list[int]
) -> None:
    marks = f"{TOKEN} 4711\n".encode(), f"\n{TOKEN} end {status} 1\n".encode()
    answer = heard(noise + marks[0] + output + marks[1] + late, cuts)
    assert (answer.output, answer.noise, answer.pid) == (output, noise, 4711)
    assert (answer.end, answer.dropped) == (End(status, left=True), 0)


def test_an_answer_that_is_too_long_is_bounded_and_its_end_is_seen_all_the_same() -> None:
    answer = heard(
        f"{TOKEN} 1\n".encode() + b"x" * 100_000 + f"\n{TOKEN} end 0 0\n".encode(), [7, 5000, 99_999], limit=1000
    )
    assert answer.end == End(0, left=False)
    assert answer.dropped == 100_000 + len(f"{TOKEN} 1\n") - 1000
    assert len(answer.output) < 1000


def test_what_never_began_has_no_output_and_is_all_noise() -> None:
    answer = heard(b"This account is currently not available.\n", [])
    assert (answer.output, answer.pid, answer.end) == (b"", None, None)
    assert answer.noise == b"This account is currently not available.\n"


def test_a_real_shell_frames_what_a_script_says_and_gives_its_status() -> None:
    token = new_token()
    assert token != new_token()
    for script, output, status in (("printf out; printf err >&2; exit 7", b"out", 7), ("exec cat", b"given\n", 0)):
        done = subprocess.run(["sh", "-c", framed(script), token], input=b"given\n", capture_output=True, check=False)
        answer = Answer(token, 1000)
        answer.feed(done.stdout)
        assert (answer.output, answer.end, done.returncode) == (output, End(status, left=False), status)
