"""Make an ed25519 key pair on the server; its private half never leaves it. Register the public half."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.setup.ports import StepResult
from shared.errors import Permanent
from shared.ssh.port import fingerprint

if TYPE_CHECKING:
    from services.setup.ports import Work

MAKE = r"""
umask 077
key=$HOME/.ssh/borgfleet_ed25519
if [ -f "$key" ] && ssh-keygen -y -P '' -f "$key" >"$key.check" 2>/dev/null; then
    rm -f "$key.check"; echo present
else
    rm -f "$key" "$key.pub" "$key.check"
    mkdir -p "$HOME/.ssh" && ssh-keygen -q -t ed25519 -N '' -C borgfleet -f "$key" && echo made
fi
ssh-keygen -y -P '' -f "$key"
"""


async def keypair(work: Work) -> StepResult:
    """Make the key where none is; the endpoint's authorized_keys follows from the database."""
    done = await work.root.run(MAKE)
    lines = done.stdout.splitlines()
    if not done.ok or not lines or not lines[-1].startswith("ssh-ed25519 "):
        message = f"no key pair could be made on {work.plan.name}: {done.stderr.strip()[:300]}"
        raise Permanent(message, code="key_not_made", remedy="check that root's ~/.ssh can be written there")
    public = " ".join(lines[-1].split()[:2])
    registered = await work.register(public)
    return StepResult(changed="made" in lines or registered, detail=fingerprint(public))
