"""A script as one command line that every login shell hands on unchanged: sh, bash, csh, fish.

sshd gives the line to the user's login shell. csh ends at a line break within quotes and replaces what follows `!`,
fish knows backslashes within quotes. So all but plain characters travel as octal numbers, and `sh` makes them what
they were.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLAIN = re.compile(rb"[^A-Za-z0-9 ,./:;=@_+()|<>&{}\[\]*?#~^%-]")


_LONGEST = 120_000
"""Linux takes 128 KiB as one argument, and the whole line is one of the login shell's."""


def one_line(script: str, token: str, args: Sequence[str], *, sudo: bool) -> str:
    """Return what runs a script of sh with its arguments, by sudo where told; `token` is its `$0`.

    What would be too long so goes in plain quotes: sh, bash and fish take it, and a csh could take neither.
    """
    before = ["sudo", "-n", "-H", "--"] if sudo else []
    octal = _PLAIN.sub(lambda one: b"\\0%03o" % one[0][0], f"set -- {shlex.join(args)}\n{script}".encode()).decode()
    line = " ".join([*before, f'sh -c \'eval "$(printf %b "{octal}")"\'', token])
    return line if len(line) <= _LONGEST else shlex.join([*before, "sh", "-c", script, token, *args])
