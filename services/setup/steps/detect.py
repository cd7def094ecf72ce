"""Find out system, package manager, privilege and borg: one round trip, no root, no Python, no locale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.setup.ports import StepResult
from shared.errors import Permanent

if TYPE_CHECKING:
    from services.setup.ports import Work

PROBE = r"""
LC_ALL=C; export LC_ALL
[ -r /etc/os-release ] && . /etc/os-release
echo "os_id=${ID:-unknown}"
echo "os_like=${ID_LIKE:-}"
echo "os_name=${PRETTY_NAME:-unknown}"
echo "os_version=${VERSION_ID:-}"
echo "kernel=$(uname -r)"
echo "architecture=$(uname -m)"
echo "hostname=$(uname -n)"
for manager in apt-get dnf yum zypper apk pacman; do
    if command -v "$manager" >/dev/null 2>&1; then echo "package_manager=$manager"; break; fi
done
if [ "$(id -u)" = 0 ]; then echo privilege=root
elif sudo -n true 2>/dev/null; then echo privilege=sudo
else echo privilege=none
fi
"""


async def detect(work: Work) -> StepResult:
    """Record the facts; without root or password-free sudo nothing else can work."""
    done = await work.login.run(PROBE)
    facts = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    work.facts.update({key: value[:200] for key, value in facts.items()})
    match facts.get("privilege"):
        case "root":
            work.root = work.login
        case "sudo":
            work.root = work.login.elevated()
        case _:
            user = work.plan.username
            message = f"{user} on {work.plan.name} is neither root nor allowed to use sudo without a password"
            remedy = f"log in as root, or put `{user} ALL=(root) NOPASSWD: ALL` into /etc/sudoers.d/borgfleet"
            raise Permanent(message, code="no_privilege", remedy=remedy)
    system = f"{facts.get('os_name', 'unknown')}, {facts.get('architecture', '?')}, {facts['privilege']}"
    return StepResult(changed=False, detail=system)
