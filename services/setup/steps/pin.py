"""Pin the storage endpoints' host keys on the server, in a file of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.setup.alone import ALONE
from services.setup.ports import StepResult
from shared.domain.messages.servers import KNOWN_HOSTS_NOT_WRITTEN
from shared.errors import Permanent

if TYPE_CHECKING:
    from services.setup.ports import Work

WRITE = rf"""
{ALONE}
file=$dir/borgfleet_known_hosts
if [ -f "$file" ] && [ "$(cat "$file")" = "$1" ]; then echo present; exit 0; fi
printf '%s\n' "$1" >"$file.$$" && mv "$file.$$" "$file" && echo written
"""


async def pin(work: Work) -> StepResult:
    """Write one line per endpoint, under the node's name: an address may change, a key may not."""
    endpoints = work.plan.endpoints
    lines = "\n".join(f"{pinned.endpoint.alias} {pinned.host_key}" for pinned in endpoints)
    done = await work.root.run(WRITE, lines)
    if not done.ok:
        raise Permanent(KNOWN_HOSTS_NOT_WRITTEN(server=work.plan.name, said=done.stderr.strip()[:300]))
    return StepResult(changed="written" in done.stdout, detail=f"{len(endpoints)} endpoints")
