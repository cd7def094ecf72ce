"""Put the fleet's public key into the login user's authorized_keys, so that the password is never needed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.setup.alone import ALONE
from services.setup.ports import StepResult
from shared.domain.messages.servers import AUTHORIZED_KEYS_NOT_WRITTEN
from shared.errors import Permanent

if TYPE_CHECKING:
    from services.setup.ports import Work

INSTALL = rf"""
{ALONE}
file=$dir/authorized_keys
if [ -f "$file" ] && grep -v '^[[:space:]]*#' "$file" | grep -qF -e "$1"; then echo present; exit 0; fi
if [ -s "$file" ] && [ -n "$(tail -c 1 "$file")" ]; then echo >>"$file"; fi
printf '%s\n' "$2" >>"$file" || exit 1
# A directory that we made has the label of its parent, with which SELinux keeps sshd from reading it.
if command -v restorecon >/dev/null 2>&1; then restorecon -R "$dir" >/dev/null 2>&1; fi
echo added
"""


async def authorize(work: Work) -> StepResult:
    """Add the key once, whatever its comment says there."""
    key = work.plan.fleet_public_key
    done = await work.login.run(INSTALL, " ".join(key.split()[:2]), key)
    if not done.ok:
        raise Permanent(AUTHORIZED_KEYS_NOT_WRITTEN(user=work.plan.username, said=done.stderr.strip()[:300]))
    added = "added" in done.stdout
    return StepResult(changed=added, detail="added" if added else "already there")
