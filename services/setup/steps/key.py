"""Prove the fleet's key: log in afresh with it alone, as the user and with the privilege that backups will use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.setup.ports import StepResult
from services.setup.refusal import ASK, why_refused
from shared.domain.lines import some_lines
from shared.domain.messages.servers import (
    KEY_MUTE,
    KEY_NOT_ROOT,
    KEY_REFUSED,
    KEY_REFUSED_WITHOUT_REASON,
    KEY_WITHOUT_BACKUP_KEY,
    PASSWORD_KEPT,
    PASSWORD_NOT_KEPT,
)
from shared.domain.text import clean
from shared.errors import Permanent

if TYPE_CHECKING:
    from services.setup.ports import Work
    from shared.domain.message import Said
    from shared.ssh.port import Completed

WHO = r"""
LC_ALL=C; export LC_ALL
echo "uid=$(id -u)"
test -r "$HOME/.ssh/borgfleet_ed25519" && echo "backup key=readable"
"""
_SAID = 300
_NOTHING_RUNS = ("no_shell", "sudo_refused")


async def prove_key(work: Work) -> StepResult:
    """Open a second connection with the key and nothing else; only then may the password be forgotten."""
    try:
        async with work.by_key() as login:
            connection = login.elevated() if work.facts.get("privilege") == "sudo" else login
            done = await connection.run(WHO)
    except Permanent as error:
        if error.code == "login_refused":
            raise await _refusal(work) from error
        if error.code in _NOTHING_RUNS:
            raise _mute(work, error.said) from error
        raise
    facts = dict(line.split("=", 1) for line in some_lines(done.stdout) if "=" in line)
    if facts.get("uid") != "0" or "backup key" not in facts:
        raise _powerless(work, done, facts)
    how = "sudo" if work.facts.get("privilege") == "sudo" else "root"
    return StepResult(changed=False, detail=f"{work.plan.username} logs in with it alone, as {how}")


async def _refusal(work: Work) -> Permanent:
    """Ask the server, over the connection that is still open, why its sshd refuses the key."""
    plan = work.plan
    home = (await work.login.run('printf "%s" "$HOME"')).stdout
    key = " ".join(plan.fleet_public_key.split()[:2])
    answer = await work.root.run(ASK, plan.username, home, key)
    causes = why_refused(answer.stdout, plan.username, home)
    password = _password(work)
    if not causes:
        return Permanent(KEY_REFUSED_WITHOUT_REASON(server=plan.name, user=plan.username, password=password))
    return Permanent(KEY_REFUSED(server=plan.name, user=plan.username, why="; ".join(causes), password=password))


def _powerless(work: Work, done: Completed, facts: dict[str, str]) -> Permanent:
    """The key is let in, and what runs then is not what backups need: a forced command, another user, no sudo."""
    plan = work.plan
    if "uid" not in facts:
        return _mute(work, clean((done.stderr or done.stdout).strip(), _SAID) or "nothing was said")
    if facts["uid"] != "0":
        uid = clean(facts["uid"], 20)
        return Permanent(KEY_NOT_ROOT(server=plan.name, uid=uid, password=_password(work)))
    return Permanent(KEY_WITHOUT_BACKUP_KEY(server=plan.name, password=_password(work)))


def _mute(work: Work, said: str | Said) -> Permanent:
    return Permanent(KEY_MUTE(server=work.plan.name, said=said, password=_password(work)))


def _password(work: Work) -> Said:
    plan = work.plan
    if plan.password is None:
        return PASSWORD_NOT_KEPT()
    return PASSWORD_KEPT(until=plan.password_until)
