"""A real sshd with a user of its own, password and sudo included, in a mount namespace: this machine's users stay as they are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from shared.testing.sshd import PrivateSshd

USER, PASSWORD, UID = "bft-admin", "canary-first-password-1618033", 4242
_ENTER = """
set -e
mount --make-rprivate /
for name in passwd shadow sudoers.d; do mount --bind "$0/$name" "/etc/$name"; done
exec "$@"
"""


class UserSshd(PrivateSshd):
    """Lets `bft-admin` in by password; `options` are lines of its sshd_config."""

    def __init__(
        self, directory: Path, *options: str, strict: bool = True, address: str = "127.0.0.1", shell: str = "/bin/sh"
    ) -> None:
        if os.geteuid() != 0 or shutil.which("sudo") is None:
            pytest.skip("a server with users of its own needs root, mount namespaces and sudo")
        super().__init__(directory, address=address)
        self.options = options
        self.strict = strict
        self.shell = shell

    @property
    def account(self) -> Path:
        """The home of bft-admin."""
        return self.directory / "bft-admin"

    @property
    def root(self) -> Path:
        """The home of root there."""
        return self.directory / "root"

    @property
    def keys(self) -> Path:
        """Where the fleet's key is put."""
        return self.account / ".ssh/authorized_keys"

    def prepare(self) -> None:
        """Make the account."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        self.account.mkdir()
        (self.account / ".ssh").mkdir(mode=0o700)
        for path in (self.account, self.account / ".ssh"):
            os.chown(path, UID, UID)
        for name in ("passwd", "shadow"):
            shutil.copy(f"/etc/{name}", self.directory / name)
        shutil.copytree("/etc/sudoers.d", self.directory / "sudoers.d")
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True
        ).stdout
        self.root.mkdir(mode=0o700)
        passwd = self.directory / "passwd"
        passwd.write_text(re.sub(r"(?m)^(root:(?:[^:]*:){4})[^:]*", rf"\g<1>{self.root}", passwd.read_text()))
        with passwd.open("a") as file:
            file.write(f"{USER}:x:{UID}:{UID}::{self.account}:{self.shell}\n")
        with (self.directory / "shadow").open("a") as file:
            file.write(f"{USER}:{hashed.strip()}:19000:0:99999:7:::\n")
        rule = self.directory / "sudoers.d/bft"
        rule.write_text(f"{USER} ALL=(root) NOPASSWD: ALL\n")
        rule.chmod(0o440)

    def command(self, argv: list[str]) -> list[str]:
        config = self.directory / "own_config"
        config.write_text(
            "\n".join(
                (*self.options,
                 f"ListenAddress {self.address}", f"Port {self.port}", f"HostKey {self.directory}/host_key", "PidFile none",
                 "UsePAM no", "PasswordAuthentication yes", "KbdInteractiveAuthentication no", "LogLevel VERBOSE",
                 f"StrictModes {'yes' if self.strict else 'no'}", "")
            )
        )  # fmt: skip
        return ["unshare", "-m", "--", "sh", "-c", _ENTER, str(self.directory), argv[0], "-D", "-e", "-f", str(config)]
