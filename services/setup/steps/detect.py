"""Find out system, package manager, privilege and borg: one round trip, no root, no Python, no locale."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from services.setup.ports import StepResult
from services.setup.sudo import why_no_sudo
from shared.domain.messages.servers import NO_PRIVILEGE
from shared.domain.text import clean
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
# As everything later is run: a rule may allow `true` and nothing else.
if [ "$(id -u)" = 0 ]; then echo privilege=root
elif said=$(sudo -n -H -- sh -c : 2>&1 </dev/null); then echo privilege=sudo
else
    echo "sudo_said=$(printf '%s' "$said" | tr '\n' ' ' | cut -c 1-300)"
    echo privilege=none
fi
"""
KEPT = frozenset(
    {"os_id", "os_like", "os_name", "os_version", "kernel", "architecture", "hostname", "package_manager", "privilege"}
)
"""What the script tells and the server's row keeps; a server that says more is not believed."""
_FACT_LENGTH = 200
_SUDO_SAID = "sudo_said"
_TOLD = re.compile(f"^({'|'.join(sorted(KEPT))}|{_SUDO_SAID})=(.*)$", re.MULTILINE)
"""Found in one go: of a server that sends millions of lines, one after the other would hold the event loop."""


async def detect(work: Work) -> StepResult:
    """Record the facts; without root or password-free sudo nothing else can work."""
    done = await work.login.run(PROBE)
    facts, sudo_said = _read(done.stdout)
    work.facts.update(facts)
    match facts.get("privilege"):
        case "root":
            work.root = work.login
        case "sudo":
            work.root = work.login.elevated()
        case _:
            user = work.plan.username
            fix = why_no_sudo(sudo_said, user)
            raise Permanent(NO_PRIVILEGE(user=user, server=work.plan.name, said=sudo_said, fix=fix))
    system = f"{facts.get('os_name', 'unknown')}, {facts.get('architecture', '?')}, {facts['privilege']}"
    return StepResult(changed=False, detail=system)


def _read(answer: str) -> tuple[dict[str, str], str]:
    """Return the facts of an answer, each once, bounded and clean, and what sudo said of its refusal."""
    found = dict(_TOLD.findall(answer))
    said = clean(found.pop(_SUDO_SAID, ""), 2 * _FACT_LENGTH).strip()
    return {name: clean(value, _FACT_LENGTH) for name, value in found.items()}, said
