"""Install borg and an SSH client with the system's own package manager, and check the version."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from services.setup.ports import StepResult
from shared.domain.messages.servers import BORG_MISSING_INSTALLED, BORG_VERSION, INSTALL_FAILED, NO_PACKAGE_MANAGER
from shared.errors import Permanent, Transient

if TYPE_CHECKING:
    from services.setup.ports import Work

MINIMUM = (1, 2, 0)
ADVISED = (1, 2, 5)
_INSTALL_SECONDS = 600.0

VERSION = "command -v ssh-keygen >/dev/null && command -v ssh >/dev/null && borg --version"

_APT = (
    "export DEBIAN_FRONTEND=noninteractive; apt-get -qq -o DPkg::Lock::Timeout=300 update && "
    "apt-get -qq -y -o DPkg::Lock::Timeout=300 --no-install-recommends install borgbackup openssh-client"
)
_RPM = "{m} -q -y install epel-release || true; {m} -q -y install borgbackup openssh-clients"
COMMANDS: dict[str, str] = {
    "apt-get": _APT,
    "dnf": _RPM.format(m="dnf"),
    "yum": _RPM.format(m="yum"),
    "zypper": "zypper --non-interactive --quiet install borgbackup openssh-clients",
    "apk": "apk add --quiet borgbackup openssh-client",
    "pacman": "pacman -Sy --noconfirm --needed borg openssh",
}


async def install(work: Work) -> StepResult:
    """Do nothing where a good enough borg is there; a too old one is reported, not replaced."""
    version = await _version(work)
    changed = version is None
    if version is None:
        await _install(work)
        version = await _version(work)
    if version is None:
        raise Permanent(BORG_MISSING_INSTALLED(server=work.plan.name))
    shown = ".".join(map(str, version))
    work.facts["borg_version"] = shown
    if version < MINIMUM:
        raise Permanent(BORG_VERSION(shown=shown, server=work.plan.name))
    warning = None if version >= ADVISED else f"borg {shown} is older than 1.2.5 and open to CVE-2023-36811: update it"
    return StepResult(changed=changed, detail=f"borg {shown}", warning=warning)


async def _version(work: Work) -> tuple[int, ...] | None:
    done = await work.root.run(VERSION)
    found = re.search(r"borg (\d{1,6})\.(\d{1,6})\.(\d{1,6})", done.stdout)
    return tuple(int(part) for part in found.groups()) if found and done.ok else None


async def _install(work: Work) -> None:
    manager = work.facts.get("package_manager", "")
    command = COMMANDS.get(manager)
    if command is None:
        raise Permanent(NO_PACKAGE_MANAGER(server=work.plan.name))
    done = await work.root.run(command, seconds=_INSTALL_SECONDS)
    if not done.ok:
        said = (done.stderr.strip() or done.stdout.strip())[-500:]
        raise Transient(INSTALL_FAILED(manager=manager, server=work.plan.name, said=said), retry_after=10)
