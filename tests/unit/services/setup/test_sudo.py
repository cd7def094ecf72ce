"""Each way in which sudo refuses has the remedy that helps, whatever else it says."""

from __future__ import annotations

import pytest

from services.setup.sudo import why_no_sudo


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("sudo: a password is required", "sudo -l -U DOM\\\\ada"),
        ("sudo: /etc/sudoers is group writable", "chmod 0440"),
        ("sudo: /etc/sudoers.d/x should be mode 0440", "chmod 0440"),
        ("sudo: you must have a terminal", "Defaults:DOM\\\\ada !requiretty"),
        ("bash: line 3: sudo: command not found", "install sudo"),
        ("sudo: sh: command not found", "sudo -l -U DOM\\\\ada"),
        ("sudo: effective uid is not 0, is sudo installed setuid root?", "log in as root"),
        ("sudo: Account expired", "chage -l DOM\\\\ada"),
    ],
)
def test_the_remedy_fits_what_sudo_said(said: str, remedy: str) -> None:
    assert remedy in why_no_sudo(said, "DOM\\ada")
