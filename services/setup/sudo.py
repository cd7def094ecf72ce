"""Why sudo refuses, as it says itself, and what a person is to do about it."""

from __future__ import annotations

import re

_WAYS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), remedy)
    for pattern, remedy in (
        (
            r"is (world|group) writable|is owned by [ug]id|should be (mode|owned)|bad permissions|unable to stat",
            "only root may write to files of sudo's rules: `chown root:root` and `chmod 0440` the one that it names",
        ),
        (
            r"(parse|syntax) error",
            "mend the rule that it names: `visudo -c` on the server shows each one",
        ),
        (
            r"must have a (tty|terminal)",
            "put `Defaults:{user} !requiretty` into /etc/sudoers.d/borgfleet, behind the line that demands a terminal",
        ),
        (
            r"\bsudo: (command )?not found",
            "install sudo there, or log in as root",
        ),
        (
            r"no new privileges|effective uid is not 0|must be setuid root|must be owned by uid 0",
            "sudo cannot become root where this login runs (a container, a mount without setuid): log in as root",
        ),
        (
            r"[Aa]ccount (or password )?(is |has )?expired|account validation failure",
            "see the account with `chage -l {user}` on the server",
        ),
    )
)
_RULE = (
    "log in as root, or put `{user} ALL=(root) NOPASSWD: ALL` into /etc/sudoers.d/borgfleet; if it is there, "
    "`sudo -l -U {user}` shows which later rule takes it back"
)


def why_no_sudo(said: str, user: str) -> str:
    """Return the remedy for what sudo said, which is empty where nobody asked it."""
    found = next((remedy for pattern, remedy in _WAYS if pattern.search(said)), _RULE)
    return found.format(user=user.replace("\\", "\\\\"))  # a shell and sudoers take one backslash away
