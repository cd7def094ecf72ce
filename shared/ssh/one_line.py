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

SHELL_RUNS = "borgfleet-asks-sudo"
"""Said on stderr before sudo is asked: what then keeps the command from its beginning is sudo, whatever it says."""
_BY_SUDO = f"""sh -c 'echo {SHELL_RUNS} >&2; exec sudo -n -H -- sh -c "$0" "$1"'"""
_SPECIAL = re.compile(r"[^A-Za-z0-9 ,./:;=@_+()|<>&{}\[\]*?#~^%\x80-\U0010ffff-]")


def one_line(script: str, token: str, args: Sequence[str], *, sudo: bool) -> str:
    """Return what runs a script of sh with its arguments, by sudo where told; `token` is its `$0`.

    Never with a line break: a csh would run what follows it as commands of its own, with variables of its own.
    """
    octal = _SPECIAL.sub(lambda one: f"\\0{ord(one[0]):03o}", f"set -- {shlex.join(args)}\n{script}")
    return f'{_BY_SUDO if sudo else "sh -c"} \'eval "$(printf %b "{octal}")"\' {token}'
