"""Make an ed25519 key pair on the server; its private half never leaves it. Register the public half."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from services.setup.alone import ALONE
from services.setup.ports import StepResult
from shared.domain.messages.servers import KEY_NOT_MADE
from shared.errors import Permanent
from shared.ssh.port import fingerprint

if TYPE_CHECKING:
    from services.setup.ports import Work

_PUBLIC = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{68}(?: |$)")
"""A public key of this kind has one length: what else a server says goes into no authorized_keys."""

# Whole or not there: a set-up that is killed leaves no half of a key, and of two without `flock` the first one's stays.
# What cannot be read is moved aside, never deleted: it may be a key that somebody gave a passphrase.
MAKE = rf"""
{ALONE}
key=$dir/borgfleet_ed25519 new=$dir/.borgfleet_ed25519.$$
if [ -f "$key" ] && ssh-keygen -y -P '' -f "$key" >/dev/null 2>&1; then
    echo present
else
    rm -f "$new" "$new.pub"
    ssh-keygen -q -t ed25519 -N '' -C borgfleet -f "$new" || exit 1
    if [ -e "$key" ]; then mv -f "$key" "$key.unusable" || exit 1; fi
    if ln "$new" "$key" 2>/dev/null || {{ [ ! -e "$key" ] && mv "$new" "$key"; }}; then
        mv -f "$new.pub" "$key.pub" && echo made
    fi
    rm -f "$new" "$new.pub"
fi
ssh-keygen -y -P '' -f "$key"
"""


async def keypair(work: Work) -> StepResult:
    """Make the key where none is; the endpoint's authorized_keys follows from the database."""
    done = await work.root.run(MAKE)
    lines = done.stdout.splitlines()
    if not done.ok or not lines or not _PUBLIC.match(lines[-1]):
        raise Permanent(KEY_NOT_MADE(server=work.plan.name, said=done.stderr.strip()[:300]))
    public = " ".join(lines[-1].split()[:2])
    registered = await work.register(public)
    return StepResult(changed="made" in lines or registered, detail=fingerprint(public))
